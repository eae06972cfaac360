"""Durations as people write them: `10s`, `5m`, `2h`, `14d`."""

import re
from datetime import timedelta
from typing import Final

UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SPAN: Final = re.compile(r"(-?)(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)


class Span(timedelta):
    """A duration; its own type, as files write `10s` where msgspec would read `PT10S` into a plain `timedelta`."""


def read_span(form: type, value: object) -> object:
    """Read a duration for msgspec, which reports whatever this raises with the value's place."""
    if isinstance(value, Span):
        return value
    found = SPAN.fullmatch(value) if isinstance(value, str) else None
    if form is not Span or found is None:
        raise ValueError(f"{value!r} is not a duration such as 10s, 5m, 2h or 14d")
    sign, number, unit = found.groups()
    return Span(seconds=float(number) * UNITS[unit] * (-1 if sign else 1))


def write_span(span: timedelta) -> str:
    """Write a duration in the largest unit that leaves a whole number."""
    ms = span // timedelta(milliseconds=1)
    for unit, seconds in reversed(UNITS.items()):
        if ms % int(seconds * 1000) == 0 and ms:
            return f"{ms // int(seconds * 1000)}{unit}"
    return "0s"
