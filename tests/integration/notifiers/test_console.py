"""Console: what it alone promises."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.model import Level, Rendered, Status
from actionwatch.notifiers import console
from tests.unit.render.messages import AT, HOSTILE, hostile_message, message


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the terminal that runs the tests is like."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def draw(stream: Any, *args: Any, **changes: Any) -> str:
    """Print one card and give what was printed."""
    console.build(console.Options(), receiver="screen", stream=stream).send(message(*args, **changes), Rendered(), None)
    text: str = stream.getvalue()
    return text


def test_a_card_says_who_what_where_when_and_what_to_do() -> None:
    """The face of the demo hides what matters."""
    first = AT - timedelta(minutes=2)
    assert draw(io.StringIO(), count=3, first_at=first, late_by=timedelta(hours=2)) == (
        "▌  CRITICAL  Cluster payments-prod deleted  ×3\n"
        "▌ eve@example.com · DELETE_CLUSTER · payments-prod in payments\n"
        "▌ 2026-11-25 09:00:43 UTC · since 08:58:43 · 2h late\n"
        "▌ cluster_deleted · opened\n"
        "▌ → Ask eve.\n"
        "\n"
    )


def test_a_state_is_shown_with_who_brought_it_about() -> None:
    """A person cannot see that somebody is on it, or that it is over."""
    assert "acknowledged by sam" in draw(io.StringIO(), "alert.updated", status=Status.ACKED, acked_by="sam")
    resolved = draw(io.StringIO(), "alert.resolved", resolved_by="sam")
    assert resolved.startswith("▌  RESOLVED  ")
    assert "resolved by sam" in resolved
    assert "→" not in resolved
    test = draw(io.StringIO(), "receiver.test", status=Status.RESOLVED, resolved_by="actionwatch")
    assert test.startswith("▌  TEST   CRITICAL  ")
    assert "RESOLVED" not in test


def test_an_alert_without_records_is_shown_all_the_same() -> None:
    """The service's own alerts, which have no records, break the card."""
    assert "cluster_deleted" in draw(io.StringIO(), records=[], runbook=None, body="")


@pytest.mark.parametrize("level", list(Level))
def test_a_terminal_gets_colour_and_a_pipe_none(level: Level) -> None:
    """A log file is full of escape sequences, or a terminal is grey."""
    assert "\x1b[" in draw(Terminal(), level=level)
    assert "\x1b" not in draw(io.StringIO(), level=level)


@pytest.mark.parametrize("width", [20, 34, 80, 200])
def test_a_card_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Lines break in the middle of the bar on a narrow terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    text = draw(Terminal(), title="A title that is much too long " * 5 + "x" * 100)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert all(len(line) <= width for line in lines)
    assert all(line.startswith("▌ ") for line in lines if line)


def test_lines_stay_whole_in_a_pipe() -> None:
    """A card cannot be found by grep."""
    assert "A title that is much too long " * 8 + "\n" in draw(
        io.StringIO(), title="A title that is much too long " * 8
    ).replace("long\n", "long \n")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_text_can_be_shown_in_any_encoding(name: str, encoding: str) -> None:
    """A name in another script costs an alert on an old terminal, or an escape sequence reaches it."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console.build(console.Options(), receiver="screen", stream=stream).send(
        hostile_message(HOSTILE[name]), Rendered(), None
    )
    stream.flush()
    shown = raw.getvalue().decode(encoding)
    assert "\x1b" not in shown
    assert len(shown) < 10_000
    stream.close()


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Cards go nowhere."""
    console.build(console.Options(), receiver="screen").send(message(), Rendered(), None)
    assert "Cluster payments-prod deleted" in capsys.readouterr().out
