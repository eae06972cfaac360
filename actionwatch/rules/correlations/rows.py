"""The memory of correlations: the hits of groups, and the alerts that were found in them. A rule is known by its number.

The service remembers in its store (`matching/stored_rows.py`), tests of rules and backtests in memory (`memory_rows.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import CorrelatedAlert, Group, Hit, HitOrder, KeptRecord, Record
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.feed import GroupedHits
from actionwatch.rules.correlations.sources import Verified


class HitRows(Protocol):
    """The hits of all rules that run."""

    def add(self, hits: GroupedHits) -> None:
        """Add hits, each once: a record that may alert replaces the same action that another source read as backlog."""
        ...

    def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
        """Note that groups of a rule will be folded again from these times on, so that they can be read together."""
        ...

    def since(self, number: int, group: Group, at: datetime) -> Iterator[Hit]:
        """Yield the hits of a group from a time on, in order."""
        ...

    def before(
        self, number: int, group: Group, order: HitOrder, step: int | None = None, since: datetime = ALWAYS
    ) -> Hit | None:
        """Return the newest hit of a group before a place, and not before a time, of one step or of any."""
        ...

    def postpone(self, number: int, spans: Mapping[Group, Span]) -> None:
        """Remember in which groups hits were added, moved or removed, of a rule that is evaluated later."""
        ...


class AlertRows(Protocol):
    """The alerts of all rules that run. There is one object of each."""

    def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
        """Note that groups of a rule will be folded again from these times on, so that they can be read together."""
        ...

    def since(self, number: int, group: Group, at: datetime) -> Sequence[CorrelatedAlert]:
        """Return the alerts that fired in a group from a time on, and the last one before that is current."""
        ...

    def by_id(self, ids: Collection[str]) -> Mapping[str, CorrelatedAlert]:
        """Return those of the alerts that there are, by id."""
        ...

    def due(self, verified: Verified) -> Sequence[tuple[int, CorrelatedAlert]]:
        """Return the alerts that must be looked at, now that time is verified, with the number of their rule, by time."""
        ...

    def put(self, number: int, alerts: Iterable[CorrelatedAlert]) -> None:
        """Remember alerts that are new, or that a cached fold has."""
        ...

    def wait(self, known: CorrelatedAlert, at: datetime) -> None:
        """Note that an alert must be looked at again once a time is verified: its `pending_at`."""
        ...

    def drop(self, ids: Collection[str]) -> None:
        """Forget alerts that were never judged."""
        ...


class RecordRows(Protocol):
    """The records of hits and alerts."""

    def whole(self, kept: Sequence[KeptRecord]) -> Sequence[Record | None]:
        """Return records, in the same order; None for those that are no longer stored."""
        ...

    def held(self, keys: Collection[str]) -> set[tuple[str, str]]:
        """Return which alerts hold any of these records, as (id of the alert, key of the record)."""
        ...


class Rows(Protocol):
    """All that correlations remember."""

    @property
    def hits(self) -> HitRows:
        """The hits of groups."""
        ...

    @property
    def alerts(self) -> AlertRows:
        """What was found in groups."""
        ...

    @property
    def records(self) -> RecordRows:
        """What alerts consist of."""
        ...
