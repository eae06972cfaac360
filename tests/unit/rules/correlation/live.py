"""A model of the service around a correlator, rules of all kinds, and random runs of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

import msgspec
from hypothesis import strategies as st

from actionwatch.base.model import AlertChange, ChangeKind, CorrelatedAlert, Group, Hit, Record
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.feed import Feed
from actionwatch.rules.correlations.fold_cache import MOST, FoldCache
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.order import running
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.model import Correlation, Rule
from tests.unit.rules.correlation.kit import MINUTE, START, at, loaded, record_at

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
        ABOVE.format(
            "quiet",
            f"type: event_count, rules: c, {BY}: 12m, condition: {{lt: 1}}, expect-groups: {{userName: [eve, bob]}}",
        ),
        ABOVE.format("new", "type: new_term, rules: c, fields: [userName], history: 20m, baseline: b"),
        ABOVE.format("spike", f"type: spike, rules: a, {BY}: 5m, windows: 3, condition: {{factor: 2, min: 3}}"),
        *(
            ABOVE.format(name, text) + more
            for name, text, more in [
                ("bursts", f"type: event_count, rules: [a, b], {BOTH}: 5m, condition: {{gte: 2}}", ""),
                ("orders", f"type: temporal_ordered, rules: [a, b], {BOTH}: 9m", "alert: {realert: 25m}\n"),
                (
                    "open_ends",
                    f"type: temporal_ordered, rules: [a, b, c], {BOTH}: 6m, condition: a and not b or b and c",
                    "alert: {realert: 3m}\n",
                ),
                (
                    "quiets",
                    f"type: event_count, rules: c, {BOTH}: 12m, condition: {{lt: 1}},"
                    " expect-groups: {userName: [eve, bob], clusterId: [x, y]}",
                    "",
                ),
                ("news", "type: new_term, rules: c, fields: [userName, clusterId], history: 20m", ""),
                (
                    "spikes",
                    f"type: spike, rules: a, {BOTH}: 5m, windows: 3, condition: {{factor: 1, min: 2}}",
                    "alert: {realert: 8m}\n",
                ),
            ]
        ),
    ]
)
ALL = loaded(RULES)


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
        _without(RULES, "kinds", "spikes", "quiet"),
        _changed(RULES, ("realert: 25m", "realert: 20m"), ("timespan: 12m", "timespan: 9m")),
    ],
    "feeders": [
        ALL,
        _changed(RULES, ("event_count, rules: [a, b]", "event_count, rules: [a, c]"), ("timespan: 4m", "timespan: 3m")),
        _changed(RULES, ("actionKind: DELETE_CLUSTER", "actionKind: [DELETE_CLUSTER, REQUEST_CLUSTER_DELETE]")),
    ],
}
"""Rules, and versions of them where some were changed, added or removed."""
END = at(1000)


@dataclass
class Service:
    """The part of `matching/` around a correlator: it keeps rows, and what was reported."""

    rules: Sequence[Rule]
    cached: int = MOST
    """How much of folds is cached."""
    opened: list[str] = field(default_factory=list)
    held: dict[str, list[str]] = field(default_factory=dict)
    resolved: dict[str, datetime | None] = field(default_factory=dict)
    verified: datetime | None = None
    count: int = 0
    """Of records."""

    def __post_init__(self) -> None:
        self.restart()
        self.memory = MemoryRows(self.correlator.rules)
        for number, spans in self.correlator.begin().items():
            self.correlator.take_again(self.memory, number, spans, VerifiedTime(None))

    @property
    def rows(self) -> dict[str, CorrelatedAlert]:
        """The alerts that were judged, reported or not, by id."""
        return {known.id: known for known in self.memory.alerts if known.is_noted}

    def take(self, batch: Sequence[Record], verified: datetime | None, *, is_interrupted: bool = False) -> None:
        """Take a batch in event order, as the matching step does; if interrupted, lose the result before that."""
        numbered = [msgspec.structs.replace(each, id=self.count + n + 1) for n, each in enumerate(batch)]
        numbered.sort(key=in_event_order)
        self.count += len(batch)
        if is_interrupted:
            self.correlator.forget()
            self.correlator.take_hits(
                copy.deepcopy(self.memory), self.correlator.hits(numbered), VerifiedTime(verified)
            )
            self.correlator.forget()
        self._report(self.correlator.take_hits(self.memory, self.correlator.hits(numbered), VerifiedTime(verified)))
        self.verified = verified

    def store_changes(self, verified: datetime) -> None:
        """Judge what is verified."""
        self.take((), verified)

    def restart(self) -> None:
        """Lose what is in memory."""
        self.correlator = Correlator(self.rules, StreamBounds(begin=lambda *_: START), cache=FoldCache(self.cached))

    def _report(self, changes: Iterable[AlertChange]) -> None:
        changes = list(changes)
        self.memory.records.hold(changes)
        for change in changes:
            name = change.known.alert_id
            if change.kind is ChangeKind.OPEN and name not in self.held:
                self.opened.append(name)
                self.held[name] = []
            if change.kind in (ChangeKind.OPEN, ChangeKind.JOIN):
                self.held[name] += [each.key for each in change.records]
            if change.kind is ChangeKind.RESOLVE:
                self.resolved[name] = change.at


def unchanged(*versions: Sequence[Rule]) -> set[str]:
    """Return the ids of the correlations that are the same in all versions of the rules."""
    first, *others = (
        {each.name.id: (each.version.matching, each.realert) for each in running(rules)} for rules in versions
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
    """Fold every group of every rule once, from all its hits in order."""
    correlations = running(rules)
    feed = Feed(rules, correlations)
    hits: list[dict[Group, list[Hit]]] = [{group: [] for group in rule.expected or ()} for rule in correlations]
    for number, its in feed.hits(sorted(records, key=in_event_order)).items():
        hits[number] |= {group: list(some) for group, some in its.items()}
    alerts: dict[str, tuple[Correlation, FoundAlert]] = {}
    for rule, groups in zip(correlations, hits, strict=True):
        for group, of_group in groups.items():
            state = new_fold(rule, START)
            for hit in sorted(of_group, key=lambda each: each.order):
                state.push(hit)
            for found in state.alerts():
                found.id = rule.alert_id(group, found.origin)
                alerts[found.id] = rule, found
    return alerts


class Fate(Enum):
    """What happens to the process with a batch."""

    NOTHING = auto()
    RESTARTED = auto()
    """It loses what is in memory after the batch."""
    INTERRUPTED = auto()
    """It loses what is in memory, and the result of the batch, before anything is stored."""


FATES = (*[Fate.NOTHING] * 3, Fate.RESTARTED, Fate.INTERRUPTED)


@dataclass(frozen=True)
class Leg:
    """A part of a run: a batch, how far verified time lags behind it, and what happens to the process."""

    batch: tuple[Record, ...]
    lag: timedelta
    fate: Fate


@st.composite
def runs(draw: st.DrawFn, *, is_in_order: bool) -> list[Leg]:
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
        legs.append(Leg(tuple(left[:count]), lag, draw(st.sampled_from(FATES))))
        left = left[count:]
    return legs


def run_to_end(
    rules: Sequence[Rule],
    legs: Sequence[Leg],
    verified_by: Callable[[Iterable[datetime]], datetime],
    cached: int = MOST,
) -> Service:
    """Run the service until everything is verified."""
    service = Service(rules, cached)
    for leg in legs:
        moment = verified_by(each.occurred_at for each in leg.batch) - leg.lag
        verified = max(service.verified or START, moment)
        service.take(leg.batch, verified, is_interrupted=leg.fate is Fate.INTERRUPTED)
        if leg.fate is Fate.RESTARTED:
            service.restart()
    service.store_changes(END)
    return service


def in_event_order(record: Record) -> tuple[datetime, str]:
    """Return the sort key of event order."""
    return record.occurred_at, record.key
