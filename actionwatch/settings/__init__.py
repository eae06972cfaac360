"""The configuration: environment + YAML -> one frozen `Settings`, or every fault at once.

`keys.py` is the list of what may stand in the file: a new key is one line there. `load.py` reads, `expand.py` fills in the
environment, `faults.py` puts what pydantic found into plain words with line and column.
"""

from __future__ import annotations

from actionwatch.settings.keys import (
    Log,
    Receiver,
    Retention,
    Retry,
    RouteOptions,
    Settings,
    Source,
    Store,
    Web,
)
from actionwatch.settings.load import load_settings
from actionwatch.settings.silences import read_silences
from actionwatch.settings.words import Address

__all__ = [
    "Address",
    "Log",
    "Receiver",
    "Retention",
    "Retry",
    "RouteOptions",
    "Settings",
    "Source",
    "Store",
    "Web",
    "load_settings",
    "read_silences",
]
