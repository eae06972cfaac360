"""Any order, any batches, restarts, and a cache of any size give the alerts of the plain run."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actionwatch.base.clock import to_micros
from actionwatch.base.model import CorrelatedAlert, Record
from actionwatch.matching.source_progress import SourceProgress
from actionwatch.rules.correlations import memory_rows
from actionwatch.rules.correlations.fold_cache import MOST
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.order import running
from actionwatch.rules.correlations.sources import SourceNames, VerifiedTime, sources_of
from actionwatch.rules.model import Correlation, Rule
from actionwatch.service import simulation
from actionwatch.service.simulation import ends, replay, simulate
from tests.unit.rules.correlation.kit import MINUTE, START, at, loaded, objects_held, outcome_of, record_at
from tests.unit.rules.correlation.live import (
    ABOVE,
    ALL,
    END,
    FEED,
    Fate,
    Leg,
    Service,
    folded,
    in_event_order,
    records,
    run_to_end,
    runs,
)
from tests.unit.rules.correlation.live import RULES as RULES_TEXT

FEW = settings(max_examples=25 if settings.get_current_profile_name() == "suite" else 2000)
RULES = ALL
CACHED = st.sampled_from([0, 30, 100, MOST])
"""How much of folds is cached: nothing, a few small folds, or all."""
WAITING = {"quiet", "quiets", "spike", "spikes", "unanswered", "alone"}
"""Rules of which each alert waits for verified time."""


@FEW
@given(runs(is_in_order=True), CACHED)
def test_any_batching_in_order_gives_the_alerts_of_the_plain_run(legs: list[Leg], cached: int) -> None:
    """Any batches, restarts, interruptions and lags of verified time give the alerts of the plain run."""
    plain = _plain(RULES, [each for leg in legs for each in leg.batch])
    service = run_to_end(RULES, legs, max, cached)
    found = {name: (sorted(keys), service.resolved.get(name)) for name, keys in service.held.items()}
    assert found == plain
    assert len(service.opened) == len(plain)


@FEW
@given(runs(is_in_order=False), CACHED)
def test_late_records_give_the_alerts_of_the_plain_run(legs: list[Leg], cached: int) -> None:
    """If records come late, the final alerts are those of the plain run: the same ids, times and records.

    More alerts may have been reported. Each final alert is reported with its records, under its own id or under that of the
    alert that it replaced, and nothing is reported twice.
    """
    service = run_to_end(RULES, legs, min, cached)
    plain = folded(RULES, [each for leg in legs for each in leg.batch])
    _assert_alerts_of(service, plain)


def _standing(service: Service) -> dict[str, CorrelatedAlert]:
    """Return the alerts that the service finds now."""
    return {name: row for name, row in service.rows.items() if row.is_current}


def _assert_alerts_of(service: Service, plain: Mapping[str, tuple[Correlation, FoundAlert]]) -> None:
    """Assert that all alerts are those of the plain run, and were reported."""
    standing = _standing(service)
    assert standing.keys() == plain.keys()
    assert len(set(service.opened)) == len(service.opened)
    for keys in service.held.values():
        assert len(set(keys)) == len(keys)
    for name, (rule, found) in plain.items():
        row = standing[name]
        end = row.resolved_at if rule.is_absence else row.until
        assert (row.first_at, row.fired_at, end) == (
            found.first_at,
            found.fired_at,
            found.resolved_at if rule.is_absence else found.until,
        )
        if found.is_quiet:
            continue
        assert row.is_reported
        assert {record.key for hit in found.hits for record in hit.records} <= {*service.held.get(row.alert_id, ())}
        if row.reported_as is None:
            assert (service.resolved.get(name) is None) == (found.resolved_at is None)


@FEW
@given(records().flatmap(st.permutations))
def test_one_batch_in_any_order(drawn: list[Record]) -> None:
    """One batch in any order gives exactly the alerts of the plain run, and those of every group folded once."""
    service = Service(RULES)
    service.take(drawn, START)
    service.store_changes(END)
    found = {name: (sorted(keys), service.resolved.get(name)) for name, keys in service.held.items()}
    assert found == _plain(RULES, drawn)
    assert _standing(service).keys() == folded(RULES, drawn).keys()


BURST = "type: event_count, rules: a, timespan: 5m, condition: {gte: 3}"
BURSTS = loaded("---\n".join([FEED.format("a", "BACKUP"), ABOVE.format("burst", BURST)]))


def _backups(*minutes: float) -> list[Record]:
    return [record_at(minute, key=f"{minute:04.1f}") for minute in minutes]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_alert_that_fires_earlier_ends_earlier(is_restarted: bool) -> None:
    """An alert that fires earlier because of a late record also ends earlier, after a restart too."""
    service = Service(BURSTS)
    service.take(_backups(0, 1, 4), at(4))
    service.take(_backups(2), at(4))  # fires at 2 now: open to 7
    service.take(_backups(30), at(30))
    if is_restarted:
        service.restart()
    (row,) = service.rows.values()
    assert (row.fired_at, row.until) == (at(2), at(7))


def test_an_alert_is_joined_long_after_its_first_record() -> None:
    """An alert is joined for `realert`, which may be longer than any window, also after a restart."""
    text = "type: event_count, rules: a, group-by: [userName, clusterId], timespan: 10m, condition: {gte: 2}"
    rules = loaded(FEED.format("a", "BACKUP") + "---\n" + ABOVE.format("burst", text) + "alert: {realert: 60m}\n")
    service = Service(rules)
    service.take([record_at(minute, cluster="x", key=f"x{minute}") for minute in (498, 502)], at(502))
    service.take([record_at(560, user="bob", cluster="x", key="other")], at(560))
    service.restart()
    later = [record_at(minute, cluster="x", key=f"later{minute}") for minute in (560.5, 561, 563, 564)]
    service.take(later[:2], at(561))
    assert [sorted(service.held[name]) for name in service.opened] == [["later560.5", "later561", "x498", "x502"]]
    service.restart()
    service.take(later[2:], at(564))
    assert len(service.opened) == 2, "the first is over"


def test_each_record_of_a_long_alert_is_reported_once() -> None:
    """Each record of an alert that is joined for a day is reported once, also one that is late. The cache does not grow."""
    count = "type: event_count, rules: a, timespan: 5m, condition: {gte: 3}"
    service = Service(
        loaded(FEED.format("a", "BACKUP") + "---\n" + ABOVE.format("b", count) + "alert: {realert: 1d}\n")
    )
    for minute in range(1000):
        service.take([record_at(minute, key=f"{minute:04}")], at(minute))
    (held,) = service.held.values()
    assert sorted(held) == [f"{minute:04}" for minute in range(1000)]
    assert objects_held(service.correlator)["Hit"] < 50
    service.take([record_at(996.5, key="late")], at(1000))
    assert held[-1] == "late"
    service.restart()
    service.take([record_at(1001, key="last")], at(1001))
    assert sorted(held) == [*(f"{minute:04}" for minute in range(1000)), "last", "late"]


def test_a_term_is_known_up_to_the_last_instant_of_its_history() -> None:
    """A term that was seen exactly `history` before a late record is not new."""
    batches = [(33, "BACKUP"), (2, "DELETE_CLUSTER"), (22, "DELETE_CLUSTER")]
    legs = [Leg((record_at(minute, kind, key=f"k{minute}"),), 0 * MINUTE, Fate.NOTHING) for minute, kind in batches]
    service = run_to_end(ALL, legs, min)
    _assert_alerts_of(service, folded(ALL, [each for leg in legs for each in leg.batch]))


@FEW
@given(records(), st.data())
def test_a_record_of_any_age_is_taken(drawn: list[Record], data: st.DataObject) -> None:
    """Records that come when everything is verified, however late, give the alerts of the plain run."""
    late = data.draw(
        st.lists(st.sampled_from(drawn), max_size=5, unique_by=lambda each: each.key) if drawn else st.just([])
    )
    service = Service(RULES, data.draw(CACHED))
    service.take([each for each in drawn if each not in late], END)
    for each in late:
        service.take([each], END)
    _assert_alerts_of(service, folded(RULES, drawn))


@FEW
@given(runs(is_in_order=False), st.randoms(use_true_random=False))
def test_records_that_are_read_again_change_nothing(legs: list[Leg], chance: random.Random) -> None:
    """A record that comes again, in any later batch, opens and joins nothing."""
    service = run_to_end(RULES, legs, min)
    before = [*service.opened], {name: [*keys] for name, keys in service.held.items()}, dict(service.resolved)
    again = [each for leg in legs for each in leg.batch]
    chance.shuffle(again)
    for each in again[:20]:
        service.take([each], END)
    assert ([*service.opened], service.held, service.resolved) == before


@FEW
@given(records(), CACHED)
def test_while_nothing_is_verified_what_waits_is_not_reported(drawn: list[Record], cached: int) -> None:
    """If no source was proved, alerts that need verified time wait, and all of them are reported once time is verified."""
    service = Service(RULES, cached)
    for each in drawn:
        service.take([each], None)
    names = {rule.name.id: rule.name.name for rule in running(RULES)}
    assert not {names[row.rule_id] for row in service.rows.values() if row.is_reported} & WAITING
    service.store_changes(END)
    _assert_alerts_of(service, folded(RULES, drawn))


def _stream(*what: tuple[int, str, str, str]) -> list[Record]:
    """Make records from minutes, the first letters of kinds, users and clusters."""
    kinds = {"B": "BACKUP", "C": "CREATE_CLUSTER", "D": "DELETE_CLUSTER"}
    return [
        record_at(minute, kinds[kind], user=user, cluster=cluster, key=f"k{n:03}")
        for n, (minute, kind, user, cluster) in enumerate(what)
    ]


# A cached fold, and an alert, after the rows of it were forgotten.
FORGOTTEN = [
    _stream((72, "B", "eve", "y"), (90, "D", "eve", "x"), (136, "B", "eve", "x")),
    _stream(
        *((12, "B", "eve", "y"), (16, "C", "eve", "y"), (25, "B", "bob", "y"), (28, "C", "bob", "y")),
        *((44, "B", "eve", "y"), (48, "C", "eve", "y"), (63, "B", "bob", "y"), (63, "C", "eve", "x")),
        *((64, "D", "eve", "y"), (65, "C", "eve", "y"), (66, "B", "bob", "y"), (68, "B", "eve", "y")),
        *((71, "B", "bob", "x"), (73, "C", "bob", "y")),
    ),
    _stream((33, "B", "bob", "x"), (39, "B", "bob", "y"), (170, "B", "bob", "x"), (176, "B", "bob", "x")),
]


@FEW
@given(records(), st.sampled_from([1, 5, 2000]))
@example(FORGOTTEN[0], 1)
@example(FORGOTTEN[1], 1)
@example(FORGOTTEN[2], 1)
def test_a_replay_gives_what_a_simulation_gives(drawn: list[Record], batch_size: int) -> None:
    """A backtest, which keeps only what it needs, finds the same alerts with the same counts and ends."""
    ordered = sorted(drawn, key=in_event_order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "_BATCH", batch_size)
        patch.setattr(memory_rows, "_FEW", 0)  # it forgets after each batch
        replayed = replay(RULES, ordered, begin=lambda *_: START, verified=VerifiedTime(END))
    simulated = simulate(RULES, ordered, begin=START, start=START, until=END, verified_until=END)
    whole = {each.id: (each.count, each.first_at, each.last_at, each.resolved_at) for each in simulated.alerts}
    assert {each.id: (each.count, each.first_at, each.last_at, each.resolved_at) for each in replayed.alerts} == whole
    kept = {alert_id: [record.key for record in held] for alert_id, held in replayed.records.items()}
    assert kept == {alert_id: [record.key for record in ends(held)] for alert_id, held in simulated.records.items()}


@FEW
@given(records(), st.tuples(*[st.integers(0, 200)] * 2), st.tuples(*[st.integers(-60, 200)] * 2))
def test_a_replay_forgets_nothing_that_a_source_that_lags_needs(
    drawn: list[Record], begins: tuple[int, int], proved: tuple[int, int]
) -> None:
    """If each source is known since and up to times that differ, a backtest that forgets at once finds the same alerts."""
    rules = loaded(RULES_TEXT.replace("userName", "source"))
    names = ("eve", "bob")
    spans = {
        name: (to_micros(at(begin)), to_micros(at(end)), 0)
        for name, begin, end in zip(names, begins, proved, strict=True)
    }
    progress = SourceProgress(spans, SourceNames(sources_of(rules), names))
    ordered = [msgspec.structs.replace(each, source=each.user_name or "") for each in sorted(drawn, key=in_event_order)]
    found = []
    for few, batch_size in ((0, 1), (10_000, 2000)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simulation, "_BATCH", batch_size)
            patch.setattr(memory_rows, "_FEW", few)
            begin = lambda rule, group: progress.of_group(rule, group).begin  # noqa: E731
            alerts = replay(rules, ordered, begin=begin, verified=progress).alerts
        found.append({each.id: (each.count, each.first_at, each.last_at, each.resolved_at) for each in alerts})
    assert found[0] == found[1]


def _plain(rules: Sequence[Rule], records: Iterable[Record]) -> dict[str, tuple[list[str], datetime | None]]:
    outcome = outcome_of(
        rules, [msgspec.structs.replace(each, seen_at=each.occurred_at) for each in records], begin=0, verified=1000
    )
    correlated = {rule.name.id for rule in rules if rule.correlation is not None}
    return {
        each.id: (sorted(record.key for record in outcome.records[each.id]), each.resolved_at)
        for each in outcome.alerts
        if each.rule.id in correlated
    }
