"""Structured logs on stderr: text on a terminal, else JSON lines, without secrets.

Log events are past-tense names with fields (`alert_opened`, `delivery_failed`). Logs of libraries have the same form.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Collection, Iterator, MutableMapping
from typing import Any, Literal

import structlog
from pydantic import BaseModel, SecretStr

from actionwatch.text.escaping import one_line, visible
from actionwatch.text.log_writer import background_stderr
from actionwatch.text.redaction import Redaction
from actionwatch.text.times import local_times

REDACTED = "**redacted**"
# Log only their errors.
_QUIET_LIBRARIES = ("alembic", "apscheduler", "httpx", "httpcore", "websocket", "uvicorn", "asyncio")
# What strangers can cause is logged once in this time, for each message of these loggers.
_REPEAT_SECONDS = 60.0
_SELDOM = ("uvicorn", "asyncio", "actionwatch.web")
_MAX_MESSAGES = 200  # remembered; more than there are, unless a message contains what differs each time


def set_up(
    level: str, form: Literal["auto", "text", "json"], secrets: Collection[str], *, is_background: bool = False
) -> None:
    """Log to stderr at this level and in this format, and redact these secrets. On a terminal, `auto` is quiet text.

    `is_background`: lines are written by a thread, so that nobody waits for whatever reads them.
    """
    if level == "auto":
        level = "warning" if sys.stderr.isatty() else "info"
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redactor(secrets),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderers: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if form == "text" or (form == "auto" and sys.stderr.isatty()):
        printed = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        renderers = [*([_localise] if sys.stderr.isatty() else []), _escape, printed]
    handler = logging.StreamHandler(background_stderr() if is_background else sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    handler.addFilter(_Seldom())
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)


class _Seldom(logging.Filter):
    """Drops a message that one of the loggers `_SELDOM` repeats too soon: a flood of requests must not become one of lines."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not f"{record.name}.".startswith(tuple(f"{name}." for name in _SELDOM)):
            return True
        message: object = record.msg
        key = record.name, str(message.get("event") if isinstance(message, dict) else message)
        now = time.monotonic()
        if now - self._logged.get(key, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        if len(self._logged) >= _MAX_MESSAGES:
            self._logged.clear()
        self._logged[key] = now
        return True


def _localise(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Spell every time in the zone of the terminal."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = local_times(value)
    return event


def _escape(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make each value one line without control characters; JSON needs no such step. A traceback is indented below its line."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = visible(value).replace("\n", "\n  ") if key == "exception" else one_line(value)
    return event


def redactor(secrets: Collection[str]) -> structlog.typing.Processor:
    """Make a processor that redacts these secrets in all values of a log line, including nested ones."""
    redact = Redaction(secrets, REDACTED)  # errors may contain requests, with the secret as these encode it

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, dict):
            return {clean(key): clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return value if isinstance(value, bool | int | float | None) else clean(str(value))

    def process(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in event.items():
            if not key.startswith("_"):  # internal to structlog, and removed before printing
                event[key] = clean(value)
        return event

    return process


def secrets_in(value: Any) -> Iterator[str]:
    """Yield all secrets in a configuration."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel | dict):
        yield from secrets_in(list(dict(value).values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item)
