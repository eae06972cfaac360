"""Logs of tests: plain lines. By default structlog draws the variables of each frame of a traceback, up to a second of CPU."""

from __future__ import annotations

import structlog


def log_plainly() -> None:
    """Print logs as plain lines, as if no logs were set up."""
    structlog.reset_defaults()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ]
    )
