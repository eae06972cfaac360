"""The configuration: environment + YAML -> one frozen `Settings`, or every fault at once.

`keys.py` lists the accepted keys: a new key is one line there. `load.py` reads the file, `expand.py` expands variables, and
`faults.py` turns pydantic's errors into plain messages with line and column.
"""

from __future__ import annotations

from actionwatch.settings.keys import (
    Log,
    Receiver,
    Retention,
    RetryPolicy,
    RouteOptions,
    Settings,
    Source,
    Store,
    Web,
)
from actionwatch.settings.load import load_settings
from actionwatch.settings.silences import read_silences
from actionwatch.settings.validators import Address

__all__ = [
    "Address",
    "Log",
    "Receiver",
    "Retention",
    "RetryPolicy",
    "RouteOptions",
    "Settings",
    "Source",
    "Store",
    "Web",
    "load_settings",
    "read_silences",
]
