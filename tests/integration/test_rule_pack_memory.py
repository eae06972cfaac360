"""What the shipped rules hold in memory, and what a record costs: no more, however many records there were before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest

from actionwatch.base.model import Entity, Record
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules.correlations import memory_rows
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.fold_cache import FoldCache
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.order import lookback
from actionwatch.rules.correlations.sources import VerifiedTime
from tests.benchmarks.noise import shipped_rules
from tests.builders import NOON, make_record
from tests.unit.rules.correlation.kit import calls_for, objects_held

A_DAY = timedelta(days=1)
PAUSE = timedelta(minutes=2)
CYCLE = 9  # days: what is left after some is compared with what is left after as many more


def a_day_of(day: int, ids: Iterator[int]) -> list[Record]:
    """Return an action of each kind, by three users in turn, and some of users and clusters that never come back."""
    return [
        make_record(
            number,
            id=number,
            occurred_at=NOON + day * A_DAY + place * PAUSE,
            action_kind=kind.name,
            operation=kind.operation,
            scope=kind.scope,
            severity=kind.severity,
            user_name=f"visitor{day}" if place % 16 == 0 else f"user{place // 4 % 3}",
            cluster=Entity(f"cluster{day}" if place % 11 == 0 else f"cluster{place % 2}"),
            account=Entity("account"),
        )
        for (place, kind), number in zip(enumerate(KINDS.values()), ids, strict=False)
    ]


def test_a_replay_of_the_shipped_rules_holds_no_more_once_their_windows_are_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The objects that a backtest holds are as many at the end of each day, once the longest window has passed."""
    for cache in ("correlations.feed", "index"):  # these have bounds of their own
        monkeypatch.setattr(f"actionwatch.rules.{cache}.MAX_REMEMBERED", 8)
    monkeypatch.setattr(memory_rows, "_FEW", 0)
    bounds = StreamBounds(begin=lambda *_: NOON, alerts_from=lambda *_: NOON)
    correlator = Correlator(shipped_rules(), bounds, cache=FoldCache(1_000))  # less than what it could take
    rows = MemoryRows(correlator.rules)
    full = max(map(lookback, correlator.rules)) // A_DAY + 2
    ids, early, late = count(1), Counter[str](), Counter[str]()
    counted = set[str]()
    for day in range(full + 2 * CYCLE):
        batch = a_day_of(day, ids)
        hits = correlator.hits(batch)
        counted |= {correlator.rules[number].name.name for number in hits}
        rows.records.hold(correlator.take_hits(rows, hits, VerifiedTime(batch[-1].occurred_at)))
        rows.forget_before(batch[-1].occurred_at)
        if day >= full:
            size = early if day < full + CYCLE else late
            size |= objects_held([correlator, rows])  # the greatest count of each type
    assert {name: (early[name], held) for name, held in late.items() if held > 1.05 * early[name] + 30} == {}
    fed = {
        rule.name.name for rule in correlator.rules if not any(step.rule_id in _ids(correlator) for step in rule.steps)
    }
    assert fed - counted == {"backup_heartbeat_missing"}, "its list of clusters is empty until an operator fills it"


def _ids(correlator: Correlator) -> set[str]:
    return {rule.name.id for rule in correlator.rules}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("backup_schedule_not_replaced", ("DELETE_BACKUP_SCHEDULE", "CREATE_BACKUP_SCHEDULE", "DELETE_CLUSTER")),
        ("new_cluster_without_backup", ("CREATE_CLUSTER", "BACKUP", "DELETE_CLUSTER")),
        ("backup_schedule_then_cluster_delete", ("DELETE_BACKUP_SCHEDULE", "DELETE_CLUSTER")),
    ],
)
def test_records_of_one_cluster_do_not_slow_down_all_others(name: str, kinds: tuple[str, ...]) -> None:
    """Who creates and deletes the same again and again costs as much for each record, within the timespan of a rule."""
    (rule,) = (each for each in shipped_rules() if each.name.name == name)
    assert rule.correlation is not None
    pause = rule.correlation.timespan / 5_000
    few, many = (calls_for([rule], kinds, pause, count) for count in (500, 2_000))
    assert many < 5 * few
