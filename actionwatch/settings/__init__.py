"""The configuration: environment + YAML -> one frozen `Settings`, or every fault at once.

`keys.py` lists the accepted keys, and `web_keys.py` and `stream_keys.py` those of the sections `web` and `streams`: a new key
is one line there. `load.py` reads the file, `expand.py` expands variables, and `faults.py` turns pydantic's errors into plain
messages with line and column. `sources.py` reads the sources, wherever they are.
"""

from __future__ import annotations

from actionwatch.settings.keys import (
    Receiver,
    Retention,
    RetryPolicy,
    Settings,
    Source,
    SourceFiles,
    Upstream,
)
from actionwatch.settings.load import Types, load_settings
from actionwatch.settings.stream_keys import Stream
from actionwatch.settings.web_keys import Web

__all__ = [
    "Receiver",
    "Retention",
    "RetryPolicy",
    "Settings",
    "Source",
    "SourceFiles",
    "Stream",
    "Types",
    "Upstream",
    "Web",
    "load_settings",
]
