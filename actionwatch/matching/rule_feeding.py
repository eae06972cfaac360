"""Which correlations are fed with each batch, and which still read older records: new ones, and those that have changed.

A rule that is fed again gets a new number: the hits of the old one are deleted later. It reads the records that its alerts
need, in portions beside normal work. Then each group that was touched is evaluated once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.base.model import Group, Record
from actionwatch.matching.source_progress import SourceProgress
from actionwatch.matching.stored_rows import StoredRows, StoredRules
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.order import lookback
from actionwatch.rules.model import Correlation
from actionwatch.store import correlations, hits, records
from actionwatch.store.correlations import CorrelationVersion

log = structlog.get_logger()


class RuleFeeding:
    """The progress of each rule, as it is stored. A rule is known by its place in `rules`."""

    def __init__(self, rules: Sequence[Correlation], keep: timedelta) -> None:
        """`keep`: how late a record may come before a rule reads older records again."""
        self.rules = rules
        self._keep = keep
        self.versions: list[CorrelationVersion] = []
        """By place."""
        self.judging: set[int] = set()
        """The places of the rules of which groups were touched that are not evaluated yet."""
        self.fed_count = 0
        """How many records rules were fed again since the start."""
        self.is_too_early = False
        """Whether a rule must read older records, from the next `align` on."""

    @property
    def numbers(self) -> list[int]:
        """The numbers of the rules in the store."""
        return [version.number for version in self.versions]

    @property
    def feeding(self) -> set[int]:
        """The places of the rules that read older records."""
        return {place for place, version in enumerate(self.versions) if version.fed_through is not None}

    def bounds(self, progress: Callable[[], SourceProgress]) -> StreamBounds:
        """Return from which times on groups of these rules know the stream, and may alert."""
        return bounds_of({rule.name.id: its for rule, its in zip(self.rules, self.versions, strict=True)}, progress)

    def stored(self) -> StoredRules:
        """Return these rules, as the store knows them."""
        return StoredRules.of(self.rules, self.numbers)

    def rows(self, connection: Connection, batch: Sequence[Record] = ()) -> StoredRows:
        """Return the rows of these rules in a transaction. The records of the `batch` are not read again."""
        return StoredRows(connection, self.stored(), batch)

    def align(self, connection: Connection, position: int, progress: SourceProgress) -> set[int]:
        """Read how far rules were fed, and let new and changed ones be fed. Return the places of these."""
        known = correlations.read_versions(connection)
        changed = {rule.name.id for rule in self.rules if not _is_as(known.get(rule.name.id), rule, progress)}
        # A rule that does not run gets no hits, and nothing of it is judged: when it is back, it is new.
        running = [rule.name.id for rule in self.rules]
        correlations.forget_versions(connection, running)
        correlations.forget_pending(connection, running)
        new = self._fed_again(connection, known, changed, position, progress)
        self.versions = [new.get(rule.name.id) or known[rule.name.id] for rule in self.rules]
        correlations.write_versions(connection, new)
        if changed:
            names = [rule.name.name for rule in self.rules if rule.name.id in changed]
            log.info("correlations_fed_again", count=len(names), rules=names[:10])
        self.is_too_early = False
        touched = hits.touched_rules(connection)
        self.judging = {place for place, number in enumerate(self.numbers) if number in touched}
        return {place for place, rule in enumerate(self.rules) if rule.name.id in changed}

    def note_too_early(self, connection: Connection, places: Mapping[int, datetime]) -> None:
        """Let rules be fed again at the next `align`, so that they are right from a time on: a record was late."""
        if not places:
            return
        self.is_too_early = True
        for place, at in places.items():
            self.versions[place] = replace(self.versions[place], digest=None, fed_from=at)
        correlations.write_versions(connection, {self.rules[place].name.id: self.versions[place] for place in places})

    def note_fed(self, connection: Connection, places: set[int], through: int | None, count: int) -> None:
        """Note that rules were fed with a count of records, and how far; None: as far as all others."""
        self.fed_count += count
        self.judging |= places
        for place in places:
            self.versions[place] = replace(self.versions[place], fed_through=through)
        fed = {self.rules[place].name.id: self.versions[place] for place in places}
        correlations.write_versions(connection, fed)

    def to_feed(self) -> tuple[set[int], int, int | None]:
        """Return the places of the rules to be fed next, after which record, and up to which one others were fed."""
        through = {place: self.versions[place].fed_through or 0 for place in self.feeding}
        first = min(through.values())
        return (
            {place for place, at in through.items() if at == first},
            first,
            min((at for at in through.values() if at > first), default=None),
        )

    def to_judge(self) -> int | None:
        """Return the place of the next rule whose groups can be evaluated."""
        return min(self.judging - self.feeding, default=None)

    def later(self) -> set[int]:
        """Return the places of the rules that are not evaluated with a batch, because they are not done."""
        return self.feeding | self.judging

    def _fed_again(
        self,
        connection: Connection,
        known: Mapping[str, CorrelationVersion],
        changed: set[str],
        position: int,
        progress: SourceProgress,
    ) -> dict[str, CorrelationVersion]:
        """Return versions for rules that are fed again."""
        if not changed:
            return {}
        numbers = (version.number for version in known.values())
        number = max(hits.newest_number(connection), *numbers, 0)
        starts = self._starts(connection, known, changed, position, progress)
        first = records.first_id_since(connection, min(starts.values())) if len(starts) == len(changed) else 1
        through = min((first or position + 1) - 1, position)
        found: dict[str, CorrelationVersion] = {}
        for rule in self.rules:
            name = rule.name.id
            if name in changed:
                number += 1
                before = known.get(name)
                floor = before.floor if before is not None and before.version == rule.version.matching else position
                found[name] = CorrelationVersion(
                    rule.version.matching,
                    floor,
                    number,
                    rule.version.rows,
                    starts.get(name),
                    through if through < position else None,
                    *_beginning(rule, progress),
                )
        return found

    def _starts(
        self,
        connection: Connection,
        known: Mapping[str, CorrelationVersion],
        changed: set[str],
        position: int,
        progress: SourceProgress,
    ) -> dict[str, datetime]:
        """Return by id from when on rules need the records. Those that need all are left out.

        A rule that expects groups and has not run yet looks for the last record of each group in all that is stored.
        """
        whole = {rule.name.id for rule in self.rules if rule.is_absence and rule.name.id not in known}
        late = (known[name].fed_from for name in changed if name in known and known[name].digest is None)
        verified = progress.oldest([rule for rule in self.rules if rule.name.id in changed])
        times = records.newest_time(connection, position), verified, *late
        moment = min((at for at in times if at is not None), default=None)
        if moment is None or verified is None or not position:
            return {}
        starts = {rule.name.id: moment - self._keep - lookback(rule) for rule in self.rules}
        begins = {rule.name.id: _beginning(rule, progress)[0] for rule in self.rules}
        return {
            name: start
            for name, start in starts.items()
            if name in changed and name not in whole and ((begin := begins[name]) is None or start > begin)
        }


def bounds_of(versions: Mapping[str, CorrelationVersion], progress: Callable[[], SourceProgress]) -> StreamBounds:
    """Return from which times on groups of rules know the stream, and may alert. `versions`: by the id of the rule.

    A rule that depends on all of its sources has the beginning with which it was fed.
    """

    def beginning(rule: Correlation, group: Group) -> tuple[datetime | None, datetime | None]:
        now, version = progress(), versions[rule.name.id]
        if now.names.keeps_apart(rule):
            return now.of_group(rule, group).beginning
        return version.begins_at, version.alerts_from

    return StreamBounds(
        begin=lambda rule, group: beginning(rule, group)[0],
        alerts_from=lambda rule, group: beginning(rule, group)[1],
        since=lambda rule: versions[rule.name.id].fed_from,
        floor=lambda rule: versions[rule.name.id].floor,
    )


def _is_as(version: CorrelationVersion | None, rule: Correlation, progress: SourceProgress) -> bool:
    """Return whether a rule was fed as it is now. While a source was never polled, the beginning is not known.

    Many rules do not depend on it: sources come every day, and their older records are late ones.
    """
    if version is None or version.digest != rule.version.rows:
        return False
    begins = _beginning(rule, progress)
    return not rule.needs_beginning or begins == (None, None) or begins == (version.begins_at, version.alerts_from)


def _beginning(rule: Correlation, progress: SourceProgress) -> tuple[datetime | None, datetime | None]:
    """Return since when all sources of a rule are read, and from when on it may alert; None if groups have their own."""
    return (None, None) if progress.names.keeps_apart(rule) else progress.of_rule(rule.name.id).beginning
