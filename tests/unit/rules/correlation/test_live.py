"""Live: any order, any batches, restarts in between, and a bounded memory give the alerts of the plain run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.model import Record
from actionwatch.pipeline.rehearse import replay, simulate
from actionwatch.rules import correlate
from actionwatch.rules.correlate import Correlator
from actionwatch.rules.correlations.changes import Past, Row, What
from actionwatch.rules.correlations.order import rooms
from actionwatch.rules.engine import Rule
from actionwatch.rules.fired import ends
from tests.unit.rules.correlation.kit import MINUTE, START, at, loaded, record_at, run

FEED = (
    "name: {0}\ntitle: {0}\nlogsource: {{product: instaclustr}}\ndetection: {{s: {{actionKind: {1}}}, condition: s}}\n"
)
ABOVE = "name: {0}\ntitle: {0}\ncorrelation: {{{1}}}\n"
BY = "group-by: [userName], timespan"
BOTH = "group-by: [userName, clusterId], timespan"
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
ALL = loaded(RULES)
END = at(1000)
FEW = settings(max_examples=250)


@dataclass
class Service:
    """What `pipeline/` is around a correlator: it remembers records, what was found, and what people were told."""

    rules: Sequence[Rule]
    keep: timedelta | None = 5 * MINUTE
    records: list[Record] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    held: dict[str, list[str]] = field(default_factory=dict)
    resolved: dict[str, datetime | None] = field(default_factory=dict)
    verified: datetime | None = None
    rebuilt: int = 0

    def __post_init__(self) -> None:
        self.correlator = self._make({})

    def take(self, batch: Sequence[Record], verified: datetime) -> None:
        """Take a batch in, in event order, as the matching step does."""
        numbered = [msgspec.structs.replace(each, id=len(self.records) + n + 1) for n, each in enumerate(batch)]
        self.records += numbered
        self.correlator.take(sorted(numbered, key=lambda each: (each.occurred_at, each.key)))
        if self.correlator.too_late is not None:
            self._rebuild(self.correlator.too_late)
        self.judge(verified)

    def judge(self, verified: datetime) -> None:
        """Write down what changes."""
        self.verified = verified
        for change in self.correlator.changes(verified):
            self.rows[change.told.id] = Row(change.rule.name.id, change.group, copy.deepcopy(change.told))
            name = change.told.public_id
            if change.what is What.OPEN and name not in self.held:
                self.opened.append(name)
                self.held[name] = []
            if change.what in (What.OPEN, What.JOIN):
                self.held[name] += [each.key for each in change.records]
            if change.what is What.RESOLVE:
                self.resolved[name] = change.at
        if self.correlator.too_late is not None:  # an inner alert came too late for the rule above it
            self._rebuild(self.correlator.too_late)
            self.judge(verified)

    def restart(self) -> None:
        """Lose all memory."""
        self._rebuild(None)

    def _rebuild(self, target: datetime | None) -> None:
        moments = [each for each in (self.verified, target) if each is not None]
        if self.records:
            moments.append(max(each.occurred_at for each in self.records))
        starts = {}
        if moments:
            room = rooms(self.correlator.rules)
            starts = {name: min(moments) - each - (self.keep or timedelta(0)) for name, each in room.items()}
            starts = {name: start for name, start in starts.items() if start > START}
        self.correlator = self._make(starts)
        realert = {rule.name.id: rule.realert for rule in self.correlator.rules if rule.is_merging}
        rows = [
            Row(row.rule_id, row.group, copy.deepcopy(row.told))
            for row in self.rows.values()
            if row.rule_id not in starts
            or row.told.until >= starts[row.rule_id] - realert.get(row.rule_id, timedelta(0))
            or row.told.is_open
        ]
        for row in rows:
            row.told.taken = 0
        since = min(starts.values()) if len(starts) == len(self.correlator.rules) else START
        held = [each for each in self.records if each.occurred_at >= since]
        self.correlator.restore(rows, sorted(held, key=_order))
        self.rebuilt += len(starts)

    def _make(self, starts: Mapping[str, datetime]) -> Correlator:
        past = Past(begin=lambda _: START, since=lambda rule: starts.get(rule.name.id))
        return Correlator(self.rules, past, keep=self.keep)


@st.composite
def _records(draw: st.DrawFn) -> list[Record]:
    """Draw records, busy or quiet, over three hours, at whole minutes."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 180),
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


def _plain(records: Sequence[Record], rules: Sequence[Rule] = ALL) -> dict[str, tuple[list[str], datetime | None]]:
    fired = run(
        rules, [msgspec.structs.replace(each, seen_at=each.occurred_at) for each in records], begin=0, verified=1000
    )
    correlated = {rule.name.id for rule in rules if rule.correlation is not None}
    return {
        each.id: (sorted(record.key for record in each.records), each.resolved_at)
        for each in fired
        if each.rule.id in correlated
    }


@dataclass(frozen=True)
class Leg:
    """A part of a run: a batch, how far verified time lags behind it, and whether all memory is lost after it."""

    batch: tuple[Record, ...]
    lag: timedelta
    is_restarted: bool


@st.composite
def _course(draw: st.DrawFn, *, is_in_order: bool) -> list[Leg]:
    records = draw(_records())
    ordered = sorted(records, key=_order) if is_in_order else draw(st.permutations(records))
    legs: list[Leg] = []
    while ordered:
        count = draw(st.integers(1, 6))
        lag = draw(st.sampled_from([0, 0, 1, 7])) * MINUTE
        legs.append(Leg(tuple(ordered[:count]), lag, draw(st.integers(0, 3)) == 0))
        ordered = ordered[count:]
    return legs


def _order(record: Record) -> tuple[datetime, str]:
    return record.occurred_at, record.key


def _sail(legs: Sequence[Leg], verified_by: Callable[[Iterable[datetime]], datetime]) -> Service:
    service = Service(ALL)
    for leg in legs:
        moment = verified_by(each.occurred_at for each in leg.batch) - leg.lag
        service.take(leg.batch, max(service.verified or START, moment))
        if leg.is_restarted:
            service.restart()
    service.judge(END)
    return service


@FEW
@given(_course(is_in_order=True))
def test_in_order(legs: list[Leg]) -> None:
    """In any batches, with restarts between them and whatever lag of verified time, the alerts are those of the plain run."""
    plain = _plain([each for leg in legs for each in leg.batch])
    service = _sail(legs, max)
    found = {name: (sorted(keys), service.resolved.get(name)) for name, keys in service.held.items()}
    assert found == plain
    assert len(service.opened) == len(plain)


@FEW
@given(_course(is_in_order=False))
def test_out_of_order(legs: list[Leg]) -> None:
    """Whatever comes late, with restarts: no id opens twice, and every alert of the plain run is told, with its records."""
    service = _sail(legs, min)
    assert len(set(service.opened)) == len(service.opened)
    merging = {rule.name.id for rule in service.correlator.rules if rule.is_merging}
    for name, (keys, resolved_at) in _plain([each for leg in legs for each in leg.batch]).items():
        row = service.rows[name]
        assert row.told.is_told
        assert row.told.is_current
        told_as = {row.told.public_id}
        if row.rule_id in merging:  # groups that were told one by one are not told as one later
            told_as = {each.told.public_id for each in service.rows.values() if each.rule_id == row.rule_id}
        assert set(keys) <= {key for each in told_as for key in service.held.get(each, ())}
        if row.told.told_as is None and row.rule_id not in merging:
            assert (service.resolved.get(name) is None) == (resolved_at is None)


@FEW
@given(_records().flatmap(st.permutations))
def test_one_batch_in_any_order(records: list[Record]) -> None:
    """All at once, in whatever order, the alerts are exactly those of the plain run."""
    service = Service(ALL, keep=None)
    service.correlator.take(records)
    service.judge(END)
    found = {name: (sorted(keys), service.resolved.get(name)) for name, keys in service.held.items()}
    assert found == _plain(records)


def test_groups_are_capped_with_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap the group touched least recently goes, and is counted; hits kept are bounded too."""
    monkeypatch.setattr(correlate, "MAX_KEPT", 100)
    past = Past(begin=lambda _: START)
    correlator = Correlator(ALL, past, keep=timedelta(days=1), max_groups=10)
    for number in range(2000):
        correlator.take([record_at(number / 100, "BACKUP", user=f"u{number % 200}", key=f"k{number:05}")])
        correlator.changes(at(number / 100))
    assert correlator.count_groups() <= 10 * len(correlator.rules)
    assert correlator.evicted > 1000
    assert correlator.count_hits() < 1000


def test_a_late_record_of_a_group_that_came_back_has_all_rebuilt() -> None:
    """A group dropped as idle, and touched again since, does not take a record from before for a new beginning."""
    service = Service(ALL, keep=5 * MINUTE)
    moments = [(57, "k1"), (150, "k2"), (155, "k3"), (52, "k4")]
    for minute, key in moments:
        user = "bob" if key == "k2" else "eve"
        service.take([record_at(minute, user=user, cluster="x", key=key)], at(min(minute, 150)))
    late = [keys for keys in service.held.values() if set(keys) == {"k1", "k4"}]
    assert late
    assert service.correlator.too_late is None


def test_idle_groups_are_dropped() -> None:
    """A group in which nothing can go on any more takes no room, however many there were."""
    correlator = Correlator(ALL, Past(begin=lambda _: START), keep=5 * MINUTE)
    for number in range(3000):
        correlator.take([record_at(number, "BACKUP", user=f"u{number}", key=f"k{number:05}")])
        correlator.changes(at(number))
    assert correlator.count_groups() < 500
    assert correlator.count_hits() < 1000
    assert correlator.evicted == 0


def test_a_rebuild_does_not_hold_what_it_learns_from() -> None:
    """However many records a rule learns from, a rebuild holds those alone whose windows are not over."""
    past = Past(begin=lambda _: START, since=lambda rule: at(2000) - rule.reach)
    correlator = Correlator(ALL, past, keep=5 * MINUTE)
    most = 0

    def records() -> Iterator[Record]:
        nonlocal most
        for number in range(20_000):
            most = max(most, correlator.count_hits())
            yield record_at(number / 10, "CREATE_CLUSTER", user=f"u{number % 20}", cluster="x", key=f"k{number:05}")

    correlator.restore([], records())
    assert most < 1500
    assert correlator.count_hits() < 1500


@FEW
@given(_records())
def test_a_replay_gives_what_a_simulation_gives(records: list[Record]) -> None:
    """A backtest, which holds no more than it needs, finds the same alerts with the same counts and ends."""
    ordered = sorted(records, key=_order)
    replayed = replay(ALL, ordered, begin=START, end=END)
    simulated = simulate(ALL, ordered, begin=START, start=START, until=END, verified_until=END)
    whole = {each.id: (each.count, each.first_at, each.last_at, each.resolved_at) for each in simulated.alerts}
    assert {each.id: (each.count, each.first_at, each.last_at, each.resolved_at) for each in replayed.alerts} == whole
    kept = {each.id: [record.key for record in each.records] for each in replayed.alerts}
    assert kept == {each.id: [record.key for record in ends(each.records)] for each in simulated.alerts}
