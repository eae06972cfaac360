"""Parse and format durations: `10s`, `5m`, `2h`, `14d`."""

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SPAN: Final = re.compile(r"(-?)(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)


class Duration(timedelta):
    """A duration. A separate type, because msgspec reads `PT10S`, and not `10s`, into a plain `timedelta`."""


def read_duration(form: type, value: object) -> object:
    """Parse a duration for msgspec, which adds the location to an exception."""
    if isinstance(value, Duration):
        return value
    found = SPAN.fullmatch(value) if isinstance(value, str) else None
    if form is not Duration or found is None:
        raise ValueError(f"{value!r} is not a duration such as 10s, 5m, 2h or 14d")
    sign, number, unit = found.groups()
    return Duration(seconds=float(number) * _UNITS[unit] * (-1 if sign else 1))


def format_duration(span: timedelta) -> str:
    """Format a duration in the largest unit that yields an integer."""
    ms = span // timedelta(milliseconds=1)
    for unit, seconds in reversed(_UNITS.items()):
        if ms % int(seconds * 1000) == 0 and ms:
            return f"{ms // int(seconds * 1000)}{unit}"
    return "0s"
