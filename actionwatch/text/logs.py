"""Structured logs on stderr: text for a terminal, JSON lines elsewhere, and never a secret in either.

Log events are past-tense names with fields (`alert_opened`, `delivery_failed`); what libraries log comes out in the same form.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Iterator, MutableMapping
from typing import Any, Literal
from urllib.parse import quote

import structlog
from pydantic import BaseModel, SecretStr

REDACTED = "**redacted**"
MIN_SECRET_CHARS = 4  # shorter ones would blank out half of every line, and are no secrets
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
NOISY = (
    "alembic",
    "apscheduler",
    "httpx",
    "httpcore",
    "slack_sdk",
    "uvicorn",
    "asyncio",
)  # only their errors are news


def set_up(level: str, form: Literal["auto", "text", "json"], secrets: Collection[str]) -> None:
    """Send every log line to stderr, at this level and in this form, with these secrets blanked out."""
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redactor(secrets),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if is_text:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=LEVELS[level], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)


def redactor(secrets: Collection[str]) -> structlog.typing.Processor:
    """Make a processor that blanks these secrets out of every value of a log line, however deep."""
    known = [text for text in secrets if len(text) >= MIN_SECRET_CHARS]
    # Errors repeat requests: a secret may stand there as it is spelled in JSON or in a URL.
    spellings = {form for text in known for form in (text, json.dumps(text)[1:-1], quote(text, safe=""))}
    hidden = sorted(spellings, key=len, reverse=True)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for text in hidden:
                value = value.replace(text, REDACTED)
            return value
        if isinstance(value, dict):
            return {clean(key): clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return value if isinstance(value, bool | int | float | None) else clean(str(value))

    def process(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in event.items():
            if not key.startswith("_"):  # structlog's own bookkeeping, gone before anything is printed
                event[key] = clean(value)
        return event

    return process


def secrets_in(value: Any) -> Iterator[str]:
    """Find every secret in a configuration."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item)
    elif isinstance(value, dict):
        yield from secrets_in(list(value.values()))
