"""What the service gives to the console. This module alone is imported before the first request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from actionwatch.base.model import Stretch

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.rules.lists import Lists
    from actionwatch.rules.model import Rule
    from actionwatch.store.database import Database


@dataclass(frozen=True, slots=True)
class Destination:
    """A receiver of the configuration: its type, and how many messages per second it gets at most (None: no limit)."""

    name: str
    type: str
    rate_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the pages show beside the store.

    `unready` describes why the service does not see everything now, as `/readyz` does. `stretches` returns what of a source's
    time is proved since an instant. `rules` are those in use, and `lists` what their `expand` names.
    """

    database: Database
    clock: Callable[[], datetime]
    sources: Collection[str]
    receivers: Sequence[Destination]
    unready: Callable[[], Sequence[str]]
    stretches: Callable[[Connection, str, datetime], Sequence[Stretch]]
    rules: Callable[[], Sequence[Rule]]
    lists: Callable[[], Lists]
