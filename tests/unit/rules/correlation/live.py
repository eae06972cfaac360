"""A model of the service around a correlator, rules over rules, and random runs for both."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto

import msgspec
from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.correlations.live.context import StreamBounds
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.feed import Feed
from actionwatch.rules.correlations.live.fitting import fitting
from actionwatch.rules.correlations.live.order import in_feeding_order, lookbacks, running
from actionwatch.rules.correlations.live.saved import decode, encode
from hypothesis import strategies as st

from actionwatch.base.clock import to_micros
from actionwatch.base.model import ChangeKind, CorrelatedAlert, Group, Hit, Record
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import Correlation, Rule
from tests.unit.rules.correlation.kit import MINUTE, START, at, loaded, record_at

FEED = (
    "name: {0}\ntitle: {0}\nlogsource: {{product: instaclustr}}\ndetection: {{s: {{actionKind: {1}}}, condition: s}}\n"
)
ABOVE = "name: {0}\ntitle: {0}\ncorrelation: {{{1}}}\n"
BY = "group-by: [userName], timespan"
OVER = f"generate: true, {BY}"
BOTH = "group-by: [userName, clusterId], timespan"
EXPECTED_GROUPS = "expect-groups: {userName: [eve, bob]}"
RULES = "---\n".join(
    [
        FEED.format("a", "BACKUP"),
        FEED.format("b", "CREATE_CLUSTER"),
        FEED.format("c", "DELETE_CLUSTER"),
        ABOVE.format("burst", f"type: event_count, rules: a, {BY}: 5m, condition: {{gte: 3}}"),
        ABOVE.format(
            "kinds", f"type: value_count, rules: [a, b, c], {BY}: 8m, condition: {{gte: 3, field: actionKind}}"
        )
        + "alert: {realert: 4m}\n",
        ABOVE.format("order", f"type: temporal_ordered, rules: [a, b, c], {BY}: 9m"),
        ABOVE.format("unanswered", f"type: temporal_ordered, rules: [b, c], {BY}: 6m, condition: b and not c"),
        ABOVE.format("alone", f"type: temporal, rules: [a, b], {BY}: 4m, condition: a and not b"),
        ABOVE.format("again", f"type: event_count, rules: [burst], {BY}: 40m, condition: {{gte: 2}}, generate: true"),
        ABOVE.format("both", f"type: temporal, rules: [order, unanswered], {BY}: 30m, generate: true"),
        ABOVE.format(
            "quiet",
            f"type: event_count, rules: c, {BY}: 12m, condition: {{lt: 1}}, expect-groups: {{userName: [eve, bob]}}",
        ),
        ABOVE.format("new", "type: new_term, rules: c, fields: [userName], history: 20m, baseline: b"),
        ABOVE.format("spike", f"type: spike, rules: a, {BY}: 5m, windows: 3, condition: {{factor: 2, min: 3}}"),
        *(
            ABOVE.format(name, text) + f"alert: {{group_by: [{shown}]{more}}}\n"
            for name, text, shown, more in [
                ("bursts", f"type: event_count, rules: [a, b], {BOTH}: 5m, condition: {{gte: 2}}", "userName", ""),
                ("orders", f"type: temporal_ordered, rules: [a, b], {BOTH}: 9m", "clusterId", ", realert: 25m"),
                (
                    "open_ends",
                    f"type: temporal_ordered, rules: [a, b, c], {BOTH}: 6m, condition: a and not b or b and c",
                    "clusterId",
                    ", realert: 3m",
                ),
                (
                    "quiets",
                    f"type: event_count, rules: c, {BOTH}: 12m, condition: {{lt: 1}},"
                    " expect-groups: {userName: [eve, bob], clusterId: [x, y]}",
                    "userName",
                    "",
                ),
                ("news", "type: new_term, rules: c, fields: [userName, clusterId], history: 20m", "userName", ""),
                (
                    "spikes",
                    f"type: spike, rules: a, {BOTH}: 5m, windows: 3, condition: {{factor: 1, min: 2}}",
                    "clusterId",
                    ", realert: 8m",
                ),
            ]
        ),
    ]
)
NESTED_RULES = "---\n".join(
    [
        FEED.format("a", "BACKUP"),
        FEED.format("b", "CREATE_CLUSTER"),
        FEED.format("c", "DELETE_CLUSTER"),
        *(
            ABOVE.format(name, text) + more
            for name, text, more in [
                # What records make …
                ("burst", f"type: event_count, rules: a, {BOTH}: 5m, condition: {{gte: 3}}", "alert: {realert: 3m}\n"),
                ("pair", f"type: event_count, rules: [a, b], {OVER}: 7m, condition: {{gte: 2}}", ""),
                ("open", f"type: temporal_ordered, rules: [b, c], {BY}: 6m, condition: b and not c", ""),
                ("alone", f"type: temporal, rules: [a, b], {BOTH}: 4m, condition: a and not b", ""),
                ("order", f"type: temporal_ordered, rules: [a, b], {BY}: 9m", ""),
                ("spike", f"type: spike, rules: a, {BY}: 5m, windows: 3, condition: {{factor: 1, min: 2}}", ""),
                ("new", "type: new_term, rules: c, fields: [userName], history: 20m, baseline: b", ""),
                ("quiet", f"type: event_count, rules: c, {BY}: 12m, condition: {{lt: 1}}, {EXPECTED_GROUPS}", ""),
                # … what their alerts make, alone and together with records …
                ("again", f"type: event_count, rules: [burst, pair], {OVER}: 20m, condition: {{gte: 2}}", ""),
                (
                    "mixed",
                    f"type: event_count, rules: [a, open], {OVER}: 15m, condition: {{gte: 3}}",
                    "alert: {realert: 4m}\n",
                ),
                (
                    "values",
                    f"type: value_count, rules: [burst, alone], {OVER}: 30m, condition: {{field: clusterId, gte: 2}}",
                    "",
                ),
                ("chain", f"type: temporal_ordered, rules: [spike, order], {OVER}: 25m", ""),
                (
                    "not_new",
                    f"type: temporal_ordered, rules: [pair, new, order], {OVER}: 15m,"
                    " condition: pair and not new or pair and order",
                    "",
                ),
                (
                    "no_pair",
                    f"type: event_count, rules: pair, {OVER}: 25m, condition: {{lt: 1}}, {EXPECTED_GROUPS}",
                    "",
                ),
                ("new_burst", "type: new_term, rules: burst, fields: [clusterId], history: 40m, generate: true", ""),
                ("missing", f"type: temporal, rules: [quiet, alone], {OVER}: 20m", ""),
                (
                    "merged",
                    f"type: event_count, rules: [burst, alone], {BOTH}: 20m, condition: {{gte: 1}}, generate: true",
                    "alert: {group_by: [userName], realert: 15m}\n",
                ),
                # … and what those make.
                ("top", f"type: event_count, rules: [again, mixed, not_new], {OVER}: 30m, condition: {{gte: 2}}", ""),
                (
                    "tip",
                    f"type: temporal, rules: [mixed, chain, no_pair], {OVER}: 40m,"
                    " condition: mixed and not chain or no_pair",
                    "",
                ),
            ]
        ),
    ]
)
# Groups that share an alert as a rule over such groups, and a rule over an absence.
FAMILY_RULES = RULES + "---\n".join(
    [
        "",
        ABOVE.format("busy", f"type: event_count, rules: bursts, {BOTH}: 20m, condition: {{gte: 1}}, generate: true")
        + "alert: {group_by: [userName], realert: 15m}\n",
        ABOVE.format("missing", f"type: temporal, rules: [quiet, alone], {OVER}: 20m"),
    ]
)
ALL = loaded(RULES)
NESTED = loaded(NESTED_RULES)


def _changed(text: str, *replacements: tuple[str, str]) -> Sequence[Rule]:
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    return loaded(text)


def _without(text: str, *names: str) -> Sequence[Rule]:
    kept = [each for each in text.split("---\n") if each.split()[1] not in names]
    assert len(kept) == text.count("---\n") + 1 - len(names)
    return loaded("---\n".join(kept))


VERSIONS = {
    "all kinds": [
        ALL,
        _changed(RULES, ("timespan: 5m, condition: {gte: 3}", "timespan: 7m, condition: {gte: 2}")),
        _without(RULES, "again", "spikes", "quiet"),
        _changed(RULES, ("realert: 25m", "realert: 20m"), ("timespan: 12m", "timespan: 9m")),
    ],
    "families": [
        loaded(FAMILY_RULES),
        _without(FAMILY_RULES, "busy", "both", "news"),
        _changed(FAMILY_RULES, ("rules: bursts, ", "rules: [a, bursts], "), ("timespan: 4m", "timespan: 3m")),
        _changed(FAMILY_RULES, ("actionKind: DELETE_CLUSTER", "actionKind: [DELETE_CLUSTER, REQUEST_CLUSTER_DELETE]")),
    ],
}
"""Rules, and versions of them where some were changed, added or removed."""
END = at(1000)


@dataclass
class Service:
    """The part of `matching/` around a correlator: it keeps records, what was found, and what was reported."""

    rules: Sequence[Rule]
    keep: timedelta | None = 5 * MINUTE
    records: list[Record] = field(default_factory=list)
    rows: dict[str, CorrelatedAlert] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    held: dict[str, list[str]] = field(default_factory=dict)
    resolved: dict[str, datetime | None] = field(default_factory=dict)
    verified: datetime | None = None
    rebuilt: int = 0
    resumed: int = 0
    kept: list[set[str]] = field(default_factory=list)
    """The rules that continued from what was saved, each time that others did not."""
    read_count: int = 0
    saved: bytes = b""
    saved_count: int = 0
    changed: set[str] = field(default_factory=set)
    """The alerts that were stored since the state was saved."""

    versions: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The version of each rule, and the newest record from before it ran."""

    def __post_init__(self) -> None:
        self._use(self.rules, -1)
        self.correlator = self._make({})

    def take(self, batch: Sequence[Record], verified: datetime, *, is_interrupted: bool = False) -> None:
        """Take a batch in event order, as the matching step does; if interrupted, lose the state before anything is stored."""
        numbered = [msgspec.structs.replace(each, id=len(self.records) + n + 1) for n, each in enumerate(batch)]
        numbered.sort(key=in_event_order)
        self.correlator.take(numbered)
        if is_interrupted:
            self.correlator.changes(verified)
            self._rebuild(None)
            self.correlator.take(numbered)
        while self.correlator.too_late is not None:
            self._rebuild(self.correlator.too_late)
            self.correlator.take(numbered)
        self.records += numbered
        self.store_changes(verified)

    def store_changes(self, verified: datetime) -> None:
        """Store the changes."""
        self.verified = verified
        for change in self.correlator.changes(verified):
            self.rows[change.known.id] = copy.deepcopy(change.known)
            if change.has_changed:
                self.changed.add(change.known.id)
            name = change.known.alert_id
            if change.kind is ChangeKind.OPEN and name not in self.held:
                self.opened.append(name)
                self.held[name] = []
            if change.kind in (ChangeKind.OPEN, ChangeKind.JOIN):
                self.held[name] += [each.key for each in change.records]
            if change.kind is ChangeKind.RESOLVE:
                self.resolved[name] = change.at
        if self.correlator.too_late is not None:  # an inner alert came, or changed, too late for the rule above it
            self._rebuild(self.correlator.too_late)
            self.store_changes(verified)

    def restart(self) -> None:
        """Lose the state in memory."""
        self._rebuild(None)

    def save(self) -> None:
        """Save the state."""
        self.saved, self.saved_count = b"".join(encode(self.correlator.save())), len(self.records)
        self.changed.clear()

    def change(self, rules: Sequence[Rule]) -> None:
        """Lose the state in memory, and continue with other rules from what was saved."""
        self._use(rules, len(self.records))
        self.resume()

    def resume(self) -> None:
        """Lose the state in memory, and continue from what was saved. Rebuild the rules for which that does not fit."""
        correlations = running(self.rules)
        try:
            if not self.saved:
                raise DoesNotFit
            state = fitting(decode(self.saved), correlations, self._bounds({}))
        except DoesNotFit:
            self.restart()
            return
        kept = state.rule_ids()
        changed = [rule for rule in correlations if rule.name.id not in kept]
        seen, since = self.records[: self.saved_count], self.records[self.saved_count :]
        starts, settled_before = self._starts(changed, seen, None)
        correlator = self._make(starts, settled_before)
        rows = self._rows_of(self.rows.values())
        newer = [rows[name] for name in self.changed]
        correlator.load(state, rows, newer, rows.values())
        if changed:
            self._restore(correlator, changed, starts, seen)
            self.kept.append(kept)
        for place in range(0, len(since), 2):
            correlator.take(sorted(since[place : place + 2], key=in_event_order))
        if correlator.too_late is not None:
            self.restart()
            return
        self.correlator = correlator
        self.resumed += 1

    def _rows_of(self, found: Iterable[CorrelatedAlert]) -> dict[str, CorrelatedAlert]:
        """Return rows as a process reads them, with the records that their alerts hold."""
        held: dict[str, set[str]] = {}
        rows = {row.id: copy.deepcopy(row) for row in found}
        for row in rows.values():
            row.taken = 0
            row.keys = held.setdefault(row.alert_id, set(self.held.get(row.alert_id, ())))
        return rows

    def _use(self, rules: Sequence[Rule], newest_id: int) -> None:
        self.rules = rules
        before = self.versions
        self.versions = {
            rule.name.id: before[rule.name.id]
            if rule.name.id in before and before[rule.name.id][0] == rule.version
            else (rule.version, newest_id)
            for rule in running(rules)
        }

    def _rebuild(self, target: datetime | None) -> None:
        correlations = running(self.rules)
        starts, settled_before = self._starts(correlations, self.records, target)
        self.correlator = self._make(starts, settled_before)
        self._restore(self.correlator, correlations, starts, self.records)
        self.rebuilt += len(starts)

    def _starts(
        self, rules: Sequence[Correlation], seen: Sequence[Record], target: datetime | None
    ) -> tuple[dict[str, datetime], datetime | None]:
        """Return from when on rules need records, and before when hits were judged."""
        moments = [each for each in (self.verified, target) if each is not None]
        if seen:
            moments.append(max(each.occurred_at for each in seen))
        if not moments:
            return {}, None
        right_from, spans = min(moments) - (self.keep or timedelta(0)), lookbacks(running(self.rules))
        starts = {rule.name.id: right_from - spans[rule.name.id] for rule in rules}
        settled_before = right_from if self.keep is not None and self.verified is not None else None
        return {name: start for name, start in starts.items() if start > START}, settled_before

    def _restore(
        self,
        correlator: Correlator,
        rules: Sequence[Correlation],
        starts: Mapping[str, datetime],
        seen: Sequence[Record],
    ) -> None:
        realert = {rule.name.id: rule.realert if rule.is_merging else timedelta(0) for rule in rules}
        rows = self._rows_of(
            row
            for row in self.rows.values()
            if row.rule_id in realert
            and (row.rule_id not in starts or row.until >= starts[row.rule_id] - realert[row.rule_id] or row.is_open)
        )
        since = min(starts.values()) if len(starts) == len(rules) else START
        needed = [each for each in seen if each.occurred_at >= since]
        correlator.restore(rows.values(), sorted(needed, key=in_event_order))

    def _make(self, starts: Mapping[str, datetime], settled_before: datetime | None = None) -> Correlator:
        return Correlator(self.rules, self._bounds(starts, settled_before), keep=self.keep, read=self._read)

    def _bounds(self, starts: Mapping[str, datetime], settled_before: datetime | None = None) -> StreamBounds:
        return StreamBounds(
            begin=lambda _: START,
            since=lambda rule: starts.get(rule.name.id),
            floors=lambda rule: self.versions[rule.name.id][1],
            settled_before=settled_before,
        )

    def _read(self, ids: Collection[int]) -> dict[int, Record]:
        """Read the records that an alert needs, as the store would. Those of the batch in hand are not read."""
        self.read_count += len(ids)
        return {each.id: each for each in self.records if each.id in ids}


def unchanged(*versions: Sequence[Rule]) -> set[str]:
    """Return the ids of the correlations that are the same in all versions of the rules."""
    first, *others = (
        {each.name.id: (each.version, each.realert, each.alert.group_by, each.is_silent) for each in running(rules)}
        for rules in versions
    )
    return {name for name, what in first.items() if all(other.get(name) == what for other in others)}


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Draw records, busy or quiet, over a quarter of an hour to three hours, at whole minutes."""
    last = draw(st.sampled_from([15, 40, 90, 180]))
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, last),
                st.sampled_from(["BACKUP", "BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER"]),
                st.sampled_from(["eve", "eve", "bob"]),
                st.sampled_from(["x", "y"]),
            ),
            max_size=70,
        )
    )
    return [
        record_at(minute, kind, user=user, cluster=cluster, key=f"k{n:03}")
        for n, (minute, kind, user, cluster) in enumerate(drawn)
    ]


def folded(rules: Sequence[Rule], records: Iterable[Record]) -> dict[str, tuple[Correlation, FoundAlert]]:
    """Fold every group of every rule once, from all its hits in order, inner rules first."""
    correlations = in_feeding_order([rule.correlation for rule in rules if rule.correlation is not None])
    feed = Feed(rules, correlations)
    hits: list[dict[Group, list[Hit]]] = [{group: [] for group in rule.expected or ()} for rule in correlations]
    for number, group, hit in feed.hits(sorted(records, key=in_event_order)):
        hits[number].setdefault(group, []).append(hit)
    alerts: dict[str, tuple[Correlation, FoundAlert]] = {}
    for rule, groups in zip(correlations, hits, strict=True):
        for group, of_group in groups.items():
            state = new_fold(rule, START)
            for hit in sorted(of_group, key=lambda each: each.order):
                state.push(hit)
            for found in state.alerts():
                found.id = rule.alert_id(group, found.origin)
                alerts[found.id] = rule, found
                if not found.is_quiet:
                    for number, outer, hit in feed.inner_hits(rule, group, found):
                        hits[number].setdefault(outer, []).append(hit)
    return alerts


class Fate(Enum):
    """What happens to the process with a batch."""

    NOTHING = auto()
    RESTARTED = auto()
    """It loses its state after the batch."""
    SAVED = auto()
    """It saves its state after the batch."""
    RESUMED = auto()
    """It loses its state after the batch, and continues from what was saved."""
    INTERRUPTED = auto()
    """It loses its state and the result of the batch before anything is stored."""
    RELOADED = auto()
    """It saves its state after the batch, and continues from it with the next version of the rules."""
    CHANGED = auto()
    """It loses its state after the batch, and continues from what was saved with the next version of the rules."""


SAME_RULES = (*[Fate.NOTHING] * 3, Fate.SAVED, Fate.RESUMED, Fate.RESTARTED, Fate.INTERRUPTED)
OTHER_RULES = (*SAME_RULES, *[Fate.RELOADED, Fate.CHANGED] * 2)


@dataclass(frozen=True)
class Leg:
    """A part of a run: a batch, how far verified time lags behind it, and what happens to the process."""

    batch: tuple[Record, ...]
    lag: timedelta
    fate: Fate


@st.composite
def runs(draw: st.DrawFn, *, is_in_order: bool, fates: Sequence[Fate] = SAME_RULES) -> list[Leg]:
    """Draw a run in batches.

    If it is in order, the records of one instant are in one batch, because verified time passes it.
    """
    drawn = draw(records())
    left = sorted(drawn, key=in_event_order) if is_in_order else draw(st.permutations(drawn))
    legs: list[Leg] = []
    while left:
        count = draw(st.integers(1, 6))
        while is_in_order and count < len(left) and left[count - 1].occurred_at == left[count].occurred_at:
            count += 1
        lag = draw(st.sampled_from([0, 0, 1, 7, 30])) * MINUTE
        legs.append(Leg(tuple(left[:count]), lag, draw(st.sampled_from(fates))))
        left = left[count:]
    return legs


def run_to_end(
    rules: Sequence[Rule],
    legs: Sequence[Leg],
    verified_by: Callable[[Iterable[datetime]], datetime],
    *,
    versions: Iterable[Sequence[Rule]] = (),
    keep: timedelta = 5 * MINUTE,
) -> Service:
    """Run the service until everything is verified. `versions` are the rules that are reloaded, in turn."""
    service, following = Service(rules, keep), iter(versions)
    for leg in legs:
        moment = verified_by(each.occurred_at for each in leg.batch) - leg.lag
        verified = max(service.verified or START, moment)
        service.take(leg.batch, verified, is_interrupted=leg.fate is Fate.INTERRUPTED)
        if leg.fate in (Fate.SAVED, Fate.RELOADED):
            service.save()
        if leg.fate is Fate.RESTARTED:
            service.restart()
        if leg.fate is Fate.RESUMED:
            service.resume()
        if leg.fate in (Fate.CHANGED, Fate.RELOADED):
            service.change(next(following))
    service.store_changes(END)
    return service


def in_event_order(record: Record) -> tuple[datetime, str]:
    """Return the sort key of event order."""
    return record.occurred_at, record.key


def packable(legs: Sequence[Leg]) -> list[Leg]:
    """Return a run of records with keys as the upstream's records have them: only such hits are packed."""
    return [
        replace(
            leg,
            batch=tuple(
                msgspec.structs.replace(each, key=f"{to_micros(each.occurred_at):016x}-{int(each.key[1:]):020x}")
                for each in leg.batch
            ),
        )
        for leg in legs
    ]
