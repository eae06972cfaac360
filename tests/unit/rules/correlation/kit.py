"""Makes correlations, hits and records for the tests of correlations. A test names only the values that matter to it."""

from __future__ import annotations

import gc
import types
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.base.clock import to_micros
from actionwatch.base.model import Alert, Entity, Group, Hit, Level, Record, RuleName
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.case_runner import SimulationResult
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.feed import GroupedHits, GroupHit
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.model import Correlation, CorrelationType, Rule, Step
from actionwatch.service.simulation import simulate
from tests.calls import count_calls
from tests.unit.rules.builders import rules_in

START = datetime(2026, 3, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType)
HEAD = "title: T\nname: t\nlogsource: {product: instaclustr}\n"


def at(minutes: float) -> datetime:
    """Return a time some minutes after the start."""
    return START + minutes * MINUTE


def make(type_: CorrelationType = CorrelationType.EVENT_COUNT, *, steps: int = 1, **more: Any) -> Correlation:
    """Make a correlation with a timespan and a `realert` of ten minutes."""
    values: dict[str, Any] = {
        "name": RuleName("id", "t", "T"),
        "level": Level.MEDIUM,
        "alert": AlertBlock(),
        "type": type_,
        "steps": tuple(Step(f"r{number}") for number in range(steps)),
        "timespan": 10 * MINUTE,
        "realert": 10 * MINUTE,
    }
    return Correlation(**{**values, **more})


def hit(minutes: float, step: int = 0, key: str = "", value: Any = None) -> Hit:
    """Make a hit; by default its key is its minute."""
    name = key or f"{minutes:06.2f}"
    return Hit(at(minutes), step, name, (record_at(minutes, key=name),), value)


def fold(rule: Correlation, group: Group, hits: Iterable[Hit], begin: datetime) -> list[FoundAlert]:
    """Return the alerts of a group from all its hits, in any order, with all time verified since `begin`."""
    state = new_fold(rule, begin)
    for each in sorted(hits, key=lambda each: each.order):
        state.push(each)
    alerts = [found for found in state.alerts() if not found.is_quiet]
    for found in alerts:
        found.id = rule.alert_id(group, found.origin)
    return alerts


def record_at(minutes: float, kind: str = "BACKUP", *, key: str = "", seen: float | None = None, **more: Any) -> Record:
    """Make a record some minutes after the start; other fields of a record are optional arguments."""
    moment = at(minutes)
    values: dict[str, Any] = {
        "key": key or f"{int(moment.timestamp() * 1e6):016x}-{kind}-{more.get('user', 'eve')}",
        "source": "acme",
        "occurred_at": moment,
        "seen_at": at(minutes if seen is None else seen),
        "action_kind": kind,
        "raw": "{}",
        "user_name": more.pop("user", "eve"),
        "cluster": Entity(more.pop("cluster", None), more.pop("cluster_name", None)),
        "account": Entity(more.pop("account", None)),
    }
    return Record(**{**values, **more})


def loaded(text: str, lists: Mapping[str, tuple[str, ...]] | None = None) -> Sequence[Rule]:
    """Load rules that have no faults."""
    from actionwatch.rules.lists import Lists

    rules = rules_in(text, Lists(lists or {}))
    assert rules.faults == ()
    return rules.rules


def run(
    rules: Sequence[Rule],
    records: Iterable[Record],
    *,
    verified: float = 10_000,
    begin: float | None = None,
    until: float = 10_000,
) -> list[Alert]:
    """Run rules over records on a virtual clock, by default verified for long after."""
    return list(outcome_of(rules, records, verified=verified, begin=begin, until=until).alerts)


def outcome_of(
    rules: Sequence[Rule],
    records: Iterable[Record],
    *,
    verified: float = 10_000,
    begin: float | None = None,
    until: float = 10_000,
) -> SimulationResult:
    """Run rules as `run` does, and return the records of the alerts too."""
    outcome = simulate(
        rules,
        list(records),
        begin=None if begin is None else at(begin),
        start=START,
        until=at(until),
        verified_until=at(verified),
    )
    assert outcome.failures == ()
    return outcome


def minutes(moment: datetime | None) -> float | None:
    """Return a time as minutes after the start."""
    return None if moment is None else (moment - START) / MINUTE


def shapes(alerts: Iterable[Alert]) -> list[tuple[int, float | None, float | None]]:
    """Return the count of each alert, and its first and last minute."""
    return [(alert.count, minutes(alert.first_at), minutes(alert.last_at)) for alert in alerts]


def objects_held(root: object) -> Counter[str]:
    """Count by type the objects that can be reached from an object, without code, classes and modules."""
    found, pending, seen = Counter[str](), [root], {id(root)}
    while pending:
        each = pending.pop()
        found[type(each).__name__] += 1
        for other in gc.get_referents(each):
            if id(other) not in seen and not isinstance(other, _CODE):
                seen.add(id(other))
                pending.append(other)
    return found


def flat(grouped: GroupedHits) -> list[GroupHit]:
    """Return hits one by one, in the order of their time, then of their rule."""
    listed = [
        (number, group, hit) for number, groups in grouped.items() for group, its in groups.items() for hit in its
    ]
    return sorted(listed, key=lambda each: (each[2].at, each[0], each[2].order))


def calls_for(rules: Sequence[Rule], kinds: Sequence[str], pause: timedelta, count: int) -> int:
    """Count the calls that records of one group need, of some kinds in turn."""
    records = {}
    for number in range(1, count + 1):
        minute = number * (pause / MINUTE)
        key = f"{to_micros(at(minute)):016x}-{number:020x}"
        records[number] = record_at(minute, kinds[number % len(kinds)], key=key, id=number, cluster="c", account="a")
    correlator = Correlator(rules, StreamBounds(begin=lambda *_: START, alerts_from=lambda *_: START))
    rows = MemoryRows(correlator.rules)

    def take_all() -> None:
        for first in range(1, count + 1, 10):
            batch = [records[number] for number in range(first, min(first + 10, count + 1))]
            correlator.take_hits(rows, correlator.hits(batch), VerifiedTime(batch[-1].occurred_at))

    return count_calls(take_all)
