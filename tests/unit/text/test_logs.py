"""Log lines contain no secrets, and are JSON or text."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, SecretStr

from actionwatch.text.logs import REDACTED, redactor, secrets_in, set_up
from tests.cases import in_one_test
from tests.plain_logs import log_plainly

SECRET = "hunter2-with-ünicode"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Restore the configuration of logging."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    log_plainly()


def lines_of(form: Any, act: Callable[[], object], secrets: tuple[str, ...] = (SECRET,), level: str = "debug") -> str:
    """Return the lines that a function logs."""
    with redirect_stderr(io.StringIO()) as out:
        set_up(level, form, secrets)
        act()
    return out.getvalue()


def fail(text: str) -> None:
    """Raise an error with a text."""
    raise ValueError(text)


def log_failure() -> None:
    """Log an exception with a cause."""
    try:
        try:
            fail(f"first {SECRET}")
        except ValueError as exc:
            raise RuntimeError(f"second {SECRET}") from exc
    except RuntimeError:
        structlog.get_logger().exception("step_failed", step="deliver")


def log_library_failure() -> None:
    """Log an exception as a library does."""
    try:
        fail(f"deep {SECRET}")
    except ValueError:
        logging.getLogger("some.library").exception("failed with %s", SECRET)


EVENTS: dict[str, Callable[[], object]] = {
    "value": lambda: structlog.get_logger().warning("asked", url=f"https://x/{SECRET}?a=1"),
    "event": lambda: structlog.get_logger().warning(f"asked {SECRET}"),
    "nested": lambda: structlog.get_logger().warning("asked", a={"b": [{"c": (SECRET,)}]}),
    "key": lambda: structlog.get_logger().warning("asked", a={SECRET: 1}),
    "object": lambda: structlog.get_logger().warning("asked", error=ValueError(SECRET), kind={SECRET}),
    "bytes": lambda: structlog.get_logger().warning("asked", body=b"token=plain-secret"),
    "bound": lambda: structlog.get_logger().bind(token=SECRET).warning("asked"),
    "exception": log_failure,
    "library": lambda: logging.getLogger("some.library").warning("asked %s", SECRET),
    "library, exception": log_library_failure,
    "library, stack": lambda: logging.getLogger("some.library").warning("at %s", SECRET, stack_info=True),
}


@in_one_test("form", ["text", "json"])
@in_one_test("name", EVENTS)
def test_lines_contain_no_secret(name: str, form: str) -> None:
    """No part of a line contains a secret, at any depth and from any logger."""
    printed = lines_of(form, EVENTS[name], (SECRET, "plain-secret"))
    assert printed.strip()
    assert SECRET not in printed
    assert "plain-secret" not in printed
    assert json.dumps(SECRET)[1:-1] not in printed
    assert REDACTED in printed


@pytest.mark.parametrize(
    ("secret", "printed"),
    [
        ("two\nlines-long", "two\\nlines-long"),
        ('with "quotes" and \\', 'with \\"quotes\\" and \\\\'),
        ("a b/c+d=", "a%20b%2Fc%2Bd%3D"),
    ],
)
def test_encoded_secrets_are_redacted(secret: str, printed: str) -> None:
    """A secret is redacted in the encodings of other layers: JSON and URLs."""
    clean = redactor([secret])
    assert clean(None, "", {"event": f"<{printed}>"}) == {"event": f"<{REDACTED}>"}


def test_longest_secret_is_redacted_first() -> None:
    """A secret that contains another one is redacted as a whole."""
    clean = redactor(["hunter", "hunter2-long"])
    assert clean(None, "", {"event": "hunter2-long"}) == {"event": REDACTED}


def test_short_texts_are_not_redacted() -> None:
    """Texts that are too short to be secrets are not redacted."""
    clean = redactor(["", "a", "abc"])
    assert clean(None, "", {"event": "abc a", "count": 3, "is_new": True, "none": None}) == {
        "event": "abc a",
        "count": 3,
        "is_new": True,
        "none": None,
    }


def test_json_is_one_object_per_line() -> None:
    """JSON is one object per line with event, level, time and fields, also for libraries."""

    def act() -> None:
        structlog.get_logger().info("page_stored", new=3, deep={"a": [1, None]})
        logging.getLogger("some.library").warning("odd %d", 7)

    ours, theirs = (json.loads(line) for line in lines_of("json", act).splitlines())
    assert {key: ours[key] for key in ("event", "level", "new", "deep")} == {
        "event": "page_stored",
        "level": "info",
        "new": 3,
        "deep": {"a": [1, None]},
    }
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["level"]) == ("odd 7", "warning")


def test_exception_is_one_line_of_json() -> None:
    """An exception in JSON is one line with its traceback."""
    (line,) = lines_of("json", log_failure).splitlines()
    assert "RuntimeError: second" in json.loads(line)["exception"]


def test_library_exception_is_one_line_of_json() -> None:
    """An exception of a library in JSON is one line too."""
    (line,) = lines_of("json", log_library_failure).splitlines()
    assert "ValueError: deep" in json.loads(line)["exception"]


def test_text_has_event_and_fields() -> None:
    """Text has the event and its fields, without colours if it is not on a terminal."""
    printed = lines_of("text", lambda: structlog.get_logger().warning("delivery_failed", receiver="hook"))
    assert "delivery_failed" in printed
    assert "receiver=hook" in printed
    assert "\x1b" not in printed


def test_lines_below_the_level_are_omitted() -> None:
    """Lines below the level are not printed. Of noisy libraries, only errors are."""

    def act() -> None:
        structlog.get_logger().info("page_stored")
        logging.getLogger("some.library").info("hello")
        for name in ("httpx", "websocket", "uvicorn.error", "apscheduler.scheduler"):
            logging.getLogger(name).warning("small talk")

    assert lines_of("auto", act, level="warning") == ""


def test_auto_is_json_without_a_terminal() -> None:
    """`auto` is JSON if it is not on a terminal."""
    assert json.loads(lines_of("auto", lambda: structlog.get_logger().info("hello")))["event"] == "hello"


class Inner(BaseModel):
    """A part of a configuration."""

    token: SecretStr
    name: str = "plain"


class Outer(BaseModel):
    """A configuration with secrets in every corner."""

    one: Inner
    many: tuple[Inner, ...]
    by_name: dict[str, Inner | SecretStr | None]
    nothing: SecretStr | None = None


def test_secrets_of_a_configuration_are_found() -> None:
    """Exactly the secrets of a configuration are found."""
    outer = Outer(
        one=Inner(token=SecretStr("a")),
        many=(Inner(token=SecretStr("b")), Inner(token=SecretStr("c"))),
        by_name={"x": Inner(token=SecretStr("d")), "y": SecretStr("e"), "z": None},
    )
    assert sorted(secrets_in(outer)) == ["a", "b", "c", "d", "e"]


def test_logs_go_only_to_stderr() -> None:
    """Logs go only to stderr, so that they do not mix with the output of commands."""
    before = sys.stdout
    with redirect_stderr(io.StringIO()) as err:
        set_up("info", "json", ())
        structlog.get_logger().info("hello")
    assert "hello" in err.getvalue()
    assert sys.stdout is before


def test_flood_of_a_library_is_logged_once() -> None:
    """A message that strangers can cause is logged once, other messages of the same library each, and ours always."""

    def flood() -> None:
        for number in range(100):
            logging.getLogger("asyncio").error("socket.accept() out of system resource")
            structlog.get_logger("actionwatch.web.connections").warning("web_connection_dropped", reason=str(number))
        logging.getLogger("uvicorn.error").error("another")
        for _ in range(2):
            structlog.get_logger("actionwatch.tail").warning("poll_failed")

    events = [json.loads(line)["event"] for line in lines_of("json", flood).splitlines()]
    assert events == [
        "socket.accept() out of system resource",
        "web_connection_dropped",
        "another",
        *["poll_failed"] * 2,
    ]


def test_the_automatic_level_is_quiet_on_a_terminal_only() -> None:
    """`auto` logs information, but on a terminal only warnings, in the local zone."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def act() -> None:
        structlog.get_logger().info("page_stored")
        structlog.get_logger().warning("clock_stepped", before="2026-11-25T09:00:43.000Z")

    assert [json.loads(line)["event"] for line in lines_of("auto", act, level="auto").splitlines()] == [
        "page_stored",
        "clock_stepped",
    ]
    with redirect_stderr(Terminal()) as out:
        set_up("auto", "auto", ())
        act()
    assert "page_stored" not in out.getvalue()
    assert "clock_stepped" in out.getvalue()
    assert "Z" not in out.getvalue()
