"""Durations as people write and read them (`30s`, `15m`, `26h`, `7d`), for the configuration, rules and commands."""

from __future__ import annotations

import re
from datetime import timedelta

MAX_DURATION = timedelta(days=36_525)  # a century: longer durations overflow datetime arithmetic
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:s|m|h|d|w))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)", re.ASCII)


def parse_duration(text: object) -> timedelta:
    """Parse `30s`, `15m`, `26h`, `7d`, `2w` or a sequence of them (`1h30m`).

    Raises: ValueError, with what is accepted.
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not _DURATION.fullmatch(text.strip()):
        raise ValueError("not a duration: write a number with its unit, such as 30s, 15m, 26h or 7d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > MAX_DURATION.total_seconds():
        raise ValueError("a duration must not be longer than a century")
    return timedelta(seconds=seconds)


def spell_duration(span: timedelta) -> str:
    """Format a duration for people, in its two largest units: `1d2h`, `15m`, `3.5s`."""
    seconds = span.total_seconds()
    if abs(seconds) < 60:
        return f"{round(seconds, 1):g}s"
    parts: list[str] = []
    rest = int(abs(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        if rest >= size and len(parts) < 2:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return ("-" if seconds < 0 else "") + "".join(parts)


def spell_seconds(seconds: float) -> str:
    """Format a number of seconds as a duration for people, without parts of a second."""
    return spell_duration(timedelta(seconds=round(seconds)))
