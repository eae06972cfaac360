"""Correlations and the store: rebuilds their state from it, and writes what they find into it.

`matcher.py` calls this in its transactions. If anything fails between taking records and the commit, the state is discarded and
rebuilt, because only the store knows what people were sent. That takes half a minute for a million records; plain rules go on
meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.grouping import open_alert
from actionwatch.base.ids import group_id, stable_id
from actionwatch.base.model import Alert, Record, Status
from actionwatch.matching import unexpected
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.unexpected import RESOLVED_BY
from actionwatch.rules.correlations.live.changes import Change, Past, Row, Told, What
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.description import Telling, highest_level, stand_in, tell, with_missing
from actionwatch.rules.correlations.live.order import in_feeding_order, rooms
from actionwatch.rules.engine import Failure
from actionwatch.rules.model import Correlation, Found, Rule
from actionwatch.store import alerts, correlations, marks, positions, records
from actionwatch.store.correlations import Correlated, Version
from actionwatch.store.database import Database
from actionwatch.store.positions import CORRELATED
from actionwatch.text.payloads import instant

KEEP = timedelta(days=1)  # how late a record may come before the state is rebuilt for it: beyond any usual delay
PAUSE_EVERY = 2000  # records of a rebuild: a tenth of a second, beside which a look at the store costs little

log = structlog.get_logger()


class Abandoned(Exception):
    """A rebuild is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Sight:
    """How far the sources see: since when all of them, how far all proved it, from when on records may alert."""

    begin: datetime | None = None
    verified: datetime | None = None
    alerts_from: datetime | None = None


@dataclass(slots=True)
class _Written:
    """What one transaction changes, each alert written once."""

    alerts: dict[str, tuple[Alert, Record]] = field(default_factory=dict)
    opened: dict[str, str] = field(default_factory=dict)
    """Those that are new, each with its grouping key."""
    joined: set[str] = field(default_factory=set)
    resolved: set[str] = field(default_factory=set)
    rows: dict[str, Correlated] = field(default_factory=dict)


class Correlating:
    """The correlations of one process. `sources` are those whose proof counts; None: all that were ever polled."""

    def __init__(
        self,
        rules: Sequence[Rule],
        addressing: Addressing,
        *,
        sources: Sequence[str] | None = None,
        keep: timedelta = KEEP,
    ) -> None:
        self._rules = rules
        self._addressing = addressing
        self._sources = sources
        self._keep = keep
        self._correlations = in_feeding_order([rule.correlation for rule in rules if rule.correlation is not None])
        self._correlator: Correlator | None = None
        self._sight = Sight()
        self._evicted = 0
        self._has_ended_unexpected = False

    @property
    def is_idle(self) -> bool:
        """Whether there is no correlation at all."""
        return not self._correlations

    @property
    def is_ready(self) -> bool:
        """Whether it can take records: the state is there, and nothing came too late for what is kept in it."""
        return self.is_idle or (self._correlator is not None and self._correlator.too_late is None)

    def look(self, connection: Connection) -> datetime | None:
        """Read how far the sources see, and give how far all proved it; where they begin elsewhere, the state is void."""
        before, self._sight = self._sight, self._see(connection)
        if (before.begin, before.alerts_from) != (self._sight.begin, self._sight.alerts_from):
            self.forget()
        return self._sight.verified

    def end_unexpected(self, database: Database, now: datetime) -> None:
        """End, once, the alerts about what is missing that these rules do not expect."""
        if self._has_ended_unexpected:
            return
        with database.read() as connection:
            is_wanted = bool(unexpected.read_unexpected(connection, self._rules))
        if is_wanted:
            with database.write() as connection:
                found = unexpected.read_unexpected(connection, self._rules)
                unexpected.end(connection, found, self._rules, self._addressing, now)
        self._has_ended_unexpected = True

    def rebuild(self, database: Database, meanwhile: Callable[[], None]) -> None:
        """Rebuild the state that belongs to the position of correlations; it is ready then.

        After a start, a failure, a change of the sources, or a hit that came too late for what was kept: then right from that
        one on. `meanwhile` is called now and then; whatever it raises ends this.
        """
        sight, target = self._sight, None if self._correlator is None else self._correlator.too_late
        with database.read() as connection:
            position = positions.read(connection, CORRELATED)
        floors, is_absence_new = self._versions(database, position)
        with database.read() as connection:
            starts = {} if is_absence_new else self._starts(connection, position, target)
            past = Past(
                begin=lambda _: sight.begin,
                since=lambda rule: starts.get(rule.name.id),
                floors=lambda rule: floors[rule.name.id],
                alerts_from=sight.alerts_from,
            )
            correlator = Correlator(self._rules, past, keep=self._keep)
            since = min(starts.values()) if len(starts) == len(self._correlations) else None
            rows = read_rows(connection, correlator.rules, starts)
            stored = records.stream_since(connection, since, position) if position else iter(())
            correlator.restore(rows, _with_pauses(stored, meanwhile))
        self._correlator, self._evicted = correlator, 0
        log.info("correlations_rebuilt", since=since, groups=correlator.count_groups(), hits=correlator.count_hits())

    def take(self, batch: Sequence[Record]) -> None:
        """Take the next records, backlog too, which is learned from; again after a rebuild, where it `is_ready` no more."""
        if self._correlator is not None:
            self._correlator.take(batch)

    def is_due(self, verified: datetime | None) -> bool:
        """Say whether `write` has anything to do."""
        return self._correlator is not None and self._correlator.is_due(verified)

    def write(self, connection: Connection, verified: datetime | None, now: datetime) -> list[Alert]:
        """Write what follows as of a verified time; give the alerts that were opened."""
        correlator = self._correlator
        if correlator is None:
            return []
        written = _Written()
        for change in correlator.changes(verified):
            self._apply(connection, written, change, now)
        correlations.write(connection, written.rows.values())
        opened = [written.alerts[name] for name in written.opened]
        alerts.insert_new(connection, [(alert, written.opened[alert.id]) for alert, _ in opened])
        self._addressing.open(connection, [[step] for step in opened], now)
        for name in (written.joined | written.resolved) - written.opened.keys():
            alerts.update(connection, written.alerts[name][0])
        for name in sorted(written.joined - written.opened.keys() - written.resolved):
            if written.alerts[name][0].status is not Status.RESOLVED:
                self._addressing.update(connection, [written.alerts[name]], now)
        for name in sorted(written.resolved):
            self._addressing.resolve(connection, written.alerts[name][0], now)
        return [alert for alert, _ in opened]

    def forget(self) -> None:
        """Throw the state away: a transaction did not commit."""
        self._correlator = None

    def take_failures(self) -> list[Failure]:
        """Give what went wrong with rules since the last call."""
        return [] if self._correlator is None else self._correlator.take_failures()

    def report_evictions(self) -> int:
        """Log how many groups were dropped for want of room since the last time, and give that number."""
        evicted = 0 if self._correlator is None else self._correlator.evicted
        dropped = max(evicted - self._evicted, 0)
        if dropped:
            log.warning("correlation_groups_dropped", count=dropped)
        self._evicted = evicted
        return dropped

    # -- the state -----------------------------------------------------------------------------------------------------

    def _see(self, connection: Connection) -> Sight:
        known = {} if self.is_idle else marks.read_all(connection)
        names = list(known) if self._sources is None else self._sources
        if not names or any(name not in known for name in names):
            return Sight()
        found = [known[name] for name in names]
        return Sight(
            max(each.begins_at for each in found),
            min(each.proved_through for each in found),
            max(each.alerts_from for each in found),
        )

    def _versions(self, database: Database, position: int) -> tuple[dict[str, int], bool]:
        """Give each rule's floor, writing down the versions that are new; say whether one of those awaits something."""
        with database.read() as connection:
            known = correlations.read_versions(connection)
        new = [
            rule
            for rule in self._correlations
            if rule.name.id not in known or known[rule.name.id].version != rule.version
        ]
        if new:
            with database.write() as connection:
                for rule in new:
                    known[rule.name.id] = Version(rule.version, position)
                    correlations.write_version(connection, rule.name.id, known[rule.name.id])
        floors = {rule.name.id: known[rule.name.id].floor for rule in self._correlations}
        return floors, any(rule.is_absence for rule in new)

    def _starts(self, connection: Connection, position: int, target: datetime | None) -> dict[str, datetime]:
        """Say by rule from when on it must see the records; a rule that must see all of them is left out."""
        sight, newest = self._sight, records.newest_time(connection, position)
        moments = [at for at in (newest, sight.verified, target) if at is not None]
        if not moments:
            return {}
        found = {name: min(moments) - room - self._keep for name, room in rooms(self._correlations).items()}
        return {name: start for name, start in found.items() if sight.begin is None or start > sight.begin}

    # -- what it finds -------------------------------------------------------------------------------------------------

    def _apply(self, connection: Connection, written: _Written, change: Change, now: datetime) -> None:
        told = change.told
        is_again = change.what is What.OPEN and change.rule.is_absence and _is_over(connection, told.public_id)
        if is_again:  # it was no longer expected, and is expected again: the same absence, another alert
            told.told_as = stable_id("alert", told.id, instant(now))
        written.rows[told.id] = _row(change)
        if change.what is What.LEARN:
            return
        name = told.public_id
        if name not in written.alerts:
            alert = alerts.read(connection, name)
            if alert is None:
                if change.what is What.OPEN and change.found is not None:
                    self._open(connection, written, change, change.found, now)
                return
            written.alerts[name] = (alert, _newest(change))
        if change.what is What.RESOLVE:
            _resolve(written, change)
        elif change.rule.is_absence and change.found is not None:
            self._join_missing(connection, written, change, change.found, now)
        else:
            _join(connection, written, change)

    def _join_missing(
        self, connection: Connection, written: _Written, change: Change, found: Found, now: datetime
    ) -> None:
        """Say of one more group that it is missing; where somebody has resolved the alert, in an alert of its own."""
        name, rule = change.told.public_id, change.rule
        alert, _ = written.alerts[name]
        if alert.status is Status.RESOLVED:
            change.told.told_as = None
            written.rows[change.told.id] = _row(change)
            self._open(connection, written, change, found, now)
            return
        told = tell(rule, change.group, found, (), lambda key, what: _log_failure(rule, key, what))
        joined = replace(
            alert,
            body=with_missing(alert.body, told.match.body),
            level=max(alert.level, told.match.level),
            last_at=max(alert.last_at, told.last_at),
        )
        written.alerts[name] = (joined, told.match.record)
        written.joined.add(name)

    def _open(self, connection: Connection, written: _Written, change: Change, found: Found, now: datetime) -> None:
        rule = change.rule
        told = tell(rule, change.group, found, change.records, lambda key, what: _log_failure(rule, key, what))
        alert = _alert(told, change, now)
        if not alert.source:
            alert = replace(alert, source=", ".join(self._sources or marks.read_all(connection)))
        written.opened[alert.id] = group_id(rule.name.id, rule.shown_group(change.group))
        written.alerts[alert.id] = (alert, told.match.record)
        alerts.join(connection, [(alert.id, record.id) for record in change.records])


def read_rows(connection: Connection, rules: Iterable[Correlation], starts: Mapping[str, datetime]) -> list[Row]:
    """Read what was found by each rule since its start."""
    found: list[Correlated] = []
    for rule in rules:
        start = starts.get(rule.name.id)
        if start is not None and rule.is_merging:
            start -= rule.realert  # what leads alerts that are told as one may have fired that much earlier
        found += correlations.read(connection, [rule.name.id], start)
    keys: dict[str, set[str]] = {}
    told_ids = [each.told_as or each.id for each in found if each.is_told]
    for alert_id, key in correlations.read_keys(connection, told_ids):
        keys.setdefault(alert_id, set()).add(key)
    return [
        Row(
            each.rule_id,
            tuple(json.loads(each.group_values)),
            Told(
                id=each.id,
                origin=each.origin,
                first_at=each.first_at,
                fired_at=each.fired_at,
                until=each.until,
                is_told=each.is_told,
                is_open=each.is_open,
                resolved_at=each.resolved_at,
                told_as=each.told_as,
                is_current=each.is_current,
                keys=keys.setdefault(each.told_as or each.id, set()),  # all that are told as one share it
            ),
        )
        for each in found
    ]


def _with_pauses(stored: Iterator[Record], pause: Callable[[], None]) -> Iterator[Record]:
    while portion := list(islice(stored, PAUSE_EVERY)):
        yield from portion
        pause()


def _join(connection: Connection, written: _Written, change: Change) -> None:
    name, new = change.told.public_id, change.records
    count = alerts.join(connection, [(name, record.id) for record in new])
    if not count:
        return
    alert, _ = written.alerts[name]
    late = [each for each in (alert.late_by, *(record.late_by for record in new)) if each is not None]
    joined = replace(
        alert,
        count=alert.count + count,
        level=max(alert.level, highest_level(change.rule, new)),
        first_at=min(alert.first_at, new[0].occurred_at),
        last_at=max(alert.last_at, new[-1].occurred_at),
        late_by=max(late, default=None),
    )
    written.alerts[name] = (joined, new[-1])
    written.joined.add(name)


def _resolve(written: _Written, change: Change) -> None:
    name = change.told.public_id
    alert, record = written.alerts[name]
    if alert.status is not Status.RESOLVED:
        resolved = replace(alert, status=Status.RESOLVED, resolved_by=RESOLVED_BY, resolved_at=change.at)
        written.alerts[name] = (resolved, record)
        written.resolved.add(name)


def _is_over(connection: Connection, alert_id: str) -> bool:
    alert = alerts.read(connection, alert_id)
    return alert is not None and alert.status is Status.RESOLVED


def _newest(change: Change) -> Record:
    """Give a record to route by: the newest of those that join, the one that resolves, or one that stands in."""
    found = change.found
    if change.records:
        return change.records[-1]
    if found is not None and found.resolved_by is not None and found.resolved_by.records:
        return found.resolved_by.records[-1]
    at = change.told.first_at
    return stand_in(change.rule, change.group, found or Found(change.told.origin, at, at, at, []))


def _alert(told: Telling, change: Change, now: datetime) -> Alert:
    return replace(
        open_alert(told.match, now),
        id=change.told.public_id,
        count=told.count,
        first_at=told.first_at,
        last_at=told.last_at,
        happened_at=told.last_at,
        late_by=told.late_by,
    )


def _row(change: Change) -> Correlated:
    told = change.told
    return Correlated(
        id=told.id,
        rule_id=change.rule.name.id,
        group_values=json.dumps(change.group),
        origin=told.origin,
        first_at=told.first_at,
        fired_at=told.fired_at,
        until=told.until,
        is_told=told.is_told,
        is_open=told.is_open,
        is_current=told.is_current,
        told_as=told.told_as,
        resolved_at=told.resolved_at,
    )


def _log_failure(rule: Correlation, key: str, what: str) -> None:
    log.error("rule_failed", failure=str(Failure(rule.name, key, what)))
