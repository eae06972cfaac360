"""Any order, any batches, restarts and a bounded memory give the alerts of the plain run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest
from actionwatch.rules.correlations.live import correlator, feed, group_state
from actionwatch.rules.correlations.live.context import StreamBounds
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.order import running
from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.base.model import CorrelatedAlert, Record
from actionwatch.rules.correlations.folds import hit_list
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import Correlation, Rule
from actionwatch.service.simulation import ends, replay, simulate
from tests.unit.rules.correlation.kit import MINUTE, START, at, loaded, objects_held, outcome_of, record_at
from tests.unit.rules.correlation.live import (
    ABOVE,
    ALL,
    END,
    FEED,
    NESTED,
    OTHER_RULES,
    VERSIONS,
    Fate,
    Leg,
    Service,
    folded,
    in_event_order,
    packable,
    records,
    run_to_end,
    runs,
    unchanged,
)

FEW = settings(max_examples=40 if settings.get_current_profile_name() == "suite" else 2000)
RULES = {"all kinds": ALL, "rules over rules": NESTED}
BOTH = pytest.mark.parametrize("rules", RULES)


@BOTH
@FEW
@given(runs(is_in_order=True))
def test_any_batching_in_order_gives_the_alerts_of_the_plain_run(rules: str, legs: list[Leg]) -> None:
    """Any batches, restarts and lags of verified time give the alerts of the plain run."""
    plain = _plain(RULES[rules], [each for leg in legs for each in leg.batch])
    service = run_to_end(RULES[rules], legs, max)
    found = {name: (sorted(keys), service.resolved.get(name)) for name, keys in service.held.items()}
    assert found == plain
    assert len(service.opened) == len(plain)


@BOTH
@FEW
@given(runs(is_in_order=False))
def test_late_records_give_the_alerts_of_the_plain_run(rules: str, legs: list[Leg]) -> None:
    """If records come late, the final alerts are those of the plain run: the same ids, times and records.

    More alerts may have been reported. Each final alert is reported with its records, under its own id or under that of the
    alert that it replaced, and nothing is reported twice.
    """
    service = run_to_end(RULES[rules], legs, min)
    plain = folded(RULES[rules], [each for leg in legs for each in leg.batch])
    _assert_alerts_of(service, plain, set(service.versions))


@BOTH
@FEW
@given(runs(is_in_order=False).map(packable), st.integers(1, 8), st.integers(0, 8))
def test_packed_hits_give_the_alerts_of_the_plain_run(rules: str, legs: list[Leg], size: int, few: int) -> None:
    """The same is true where almost all hits are packed, in packs of any size, and folded as soon as they may be."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_PACKED", size), ("_LARGEST", 8), ("_JOINED", 2), ("_FEW", few)):
            patch.setattr(hit_list, name, value)
        patch.setattr(group_state, "_FEW", few)
        service = run_to_end(RULES[rules], legs, min)
    plain = folded(RULES[rules], [each for leg in legs for each in leg.batch])
    _assert_alerts_of(service, plain, set(service.versions))


def _standing(service: Service, rule_ids: set[str]) -> dict[str, CorrelatedAlert]:
    """Return the alerts of rules that the service finds now."""
    return {name: row for name, row in service.rows.items() if row.is_current and row.rule_id in rule_ids}


def _assert_alerts_of(
    service: Service, plain: Mapping[str, tuple[Correlation, FoundAlert]], rule_ids: set[str]
) -> None:
    """Assert that all alerts of rules are those of the plain run, and were reported."""
    standing = _standing(service, rule_ids)
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
        if rule.is_silent or found.is_quiet:
            continue
        reported_as = {row.alert_id}
        if rule.is_merging:  # groups that were reported separately do not share an alert later
            reported_as = {row.alert_id for row in service.rows.values() if row.rule_id == rule.name.id}
        assert row.is_reported
        assert {record.key for hit in found.hits for record in hit.records} <= {
            key for each in reported_as for key in service.held.get(each, ())
        }
        if row.reported_as is None and not rule.is_merging:
            assert (service.resolved.get(name) is None) == (found.resolved_at is None)


@pytest.mark.parametrize("rules", VERSIONS)
@pytest.mark.parametrize("keep", [5 * MINUTE, 300 * MINUTE])
@FEW
@given(st.booleans().flatmap(lambda is_in_order: runs(is_in_order=is_in_order, fates=OTHER_RULES)), st.data())
def test_a_change_of_rules_changes_no_others(rules: str, keep: timedelta, legs: list[Leg], data: st.DataObject) -> None:
    """If some rules are changed, added or removed, the others find the alerts of the plain run.

    A changed rule finds these too if it is rebuilt from all records, as with a long `keep`.
    """
    versions = VERSIONS[rules]
    used = [data.draw(st.sampled_from(versions)) for leg in legs if leg.fate in (Fate.RELOADED, Fate.CHANGED)]
    service = run_to_end(versions[0], legs, min, versions=used, keep=keep)
    plain = folded(service.rules, [each for leg in legs for each in leg.batch])
    names = unchanged(versions[0], *used)
    _assert_alerts_of(service, {name: each for name, each in plain.items() if each[0].name.id in names}, names)
    if keep > 180 * MINUTE:
        all_names = set(service.versions)
        assert _standing(service, all_names).keys() == plain.keys()


@pytest.mark.parametrize("rules", VERSIONS)
def test_most_rules_continue_when_some_change(rules: str) -> None:
    """Only the changed rules, and those that they count or that count them, are rebuilt."""
    first, *others = VERSIONS[rules]
    backups = _backups(*range(30))
    for other in others:
        legs = [Leg(tuple(backups[:20]), 0 * MINUTE, Fate.RELOADED), Leg(tuple(backups[20:]), 0 * MINUTE, Fate.NOTHING)]
        service = run_to_end(first, legs, max, versions=[other])
        assert service.resumed == 1
        (kept,) = service.kept
        names = {rule.name.id: rule.name.name for rule in running(other)}
        assert "spike" in {names[each] for each in kept}
        assert kept <= unchanged(first, other)


@BOTH
@FEW
@given(records().flatmap(st.permutations))
def test_one_batch_in_any_order(rules: str, drawn: list[Record]) -> None:
    """One batch in any order gives exactly the alerts of the plain run, and those of every group folded once."""
    service = Service(RULES[rules], keep=None)
    service.correlator.take(drawn)
    service.store_changes(END)
    found = {name: (sorted(keys), service.resolved.get(name)) for name, keys in service.held.items()}
    assert found == _plain(RULES[rules], drawn)
    assert {name for name, row in service.rows.items() if row.is_current} == folded(RULES[rules], drawn).keys()


def test_each_missing_group_replaces_its_own_alert() -> None:
    """Late records give two groups that share an alert new alerts: after a restart, neither takes the end of the other."""
    back = record_at(13, "DELETE_CLUSTER", cluster="x", key="k1")
    late = [record_at(0, "DELETE_CLUSTER", cluster=cluster, key=key) for cluster, key in (("y", "k2"), ("x", "k3"))]
    legs = [((record_at(0, key="k0"),), Fate.NOTHING), ((back,), Fate.RESTARTED), (tuple(late), Fate.NOTHING)]
    service = run_to_end(ALL, [Leg(batch, 0 * MINUTE, fate) for batch, fate in legs], min)
    ends = {
        row.group[1]: row.resolved_at
        for row in service.rows.values()
        if (row.is_current, row.rule_id, row.group[0], row.first_at) == (True, "quiets", "eve", at(12))
    }
    assert ends == {"x": at(13), "y": None}


def test_an_alert_that_a_saved_state_has_forgotten_stays() -> None:
    """The end of a shared alert changes the rows of all groups in it, also those that the state no longer needs."""
    what = [
        (132, "eve", "x"),
        (153, "bob", "y"),
        (154, "eve", None),
        (164, "eve", "y"),
        (175, "eve", "x"),
        (176, "bob", None),
    ]
    fates = {153: Fate.RESTARTED, 154: Fate.SAVED, 176: Fate.RESUMED}
    legs = [
        Leg(
            (
                record_at(
                    minute,
                    "DELETE_CLUSTER" if cluster else "BACKUP",
                    user=user,
                    cluster=cluster or "x",
                    key=f"k{minute}",
                ),
            ),
            0 * MINUTE,
            fates.get(minute, Fate.NOTHING),
        )
        for minute, user, cluster in what
    ]
    service = run_to_end(ALL, legs, min)
    assert service.resumed == 1
    plain = folded(ALL, [each for leg in legs for each in leg.batch])
    _assert_alerts_of(service, plain, set(service.versions))


def test_an_alert_stored_after_the_state_was_saved_ends_with_the_inner_alert_that_made_it() -> None:
    """A rule over rules judges an alert that is newer than the saved state, although its hits are gone."""
    alone = record_at(0, cluster="y", key="k1"), record_at(0, "CREATE_CLUSTER", cluster="y", key="k2")
    legs = [
        Leg((record_at(4, cluster="x", key="k0"),), 0 * MINUTE, Fate.SAVED),
        Leg(
            alone[:1], 0 * MINUTE, Fate.RESUMED
        ),  # `alone` is found, and `merged` above it; both are newer than the state
        Leg(alone[1:], 0 * MINUTE, Fate.NOTHING),  # neither is found now
    ]
    service = run_to_end(NESTED, legs, min)
    names = {rule.name.id: rule.name.name for rule in running(NESTED)}
    gone = sorted(names[row.rule_id] for row in service.rows.values() if not row.is_current)
    assert gone == ["alone", "merged"]
    _assert_alerts_of(service, folded(NESTED, [each for leg in legs for each in leg.batch]), set(service.versions))


def _two_of(inner: str) -> Sequence[Rule]:
    """Make a rule that counts two alerts of an inner rule within ten minutes; both rules alert."""
    outer = "type: event_count, rules: inner, timespan: 10m, condition: {gte: 2}, generate: true"
    feeds = [FEED.format("a", "BACKUP"), FEED.format("b", "CREATE_CLUSTER")]
    return loaded("---\n".join([*feeds, ABOVE.format("inner", inner), ABOVE.format("outer", outer)]))


BURSTS = _two_of("type: event_count, rules: a, timespan: 5m, condition: {gte: 3}")
ORDERS = _two_of("type: temporal_ordered, rules: [a, b], timespan: 5m")


def _backups(*minutes: float) -> list[Record]:
    return [record_at(minute, key=f"{minute:04.1f}") for minute in minutes]


def test_a_late_record_changes_the_hit_that_an_inner_alert_is() -> None:
    """An inner alert that fires earlier because of a late record keeps its id, and the outer rule counts it at its new time."""
    service = Service(BURSTS, keep=None)
    service.take(_backups(0, 1, 5), at(5))  # fires at 5, open to 10
    service.take(_backups(11, 12, 15.5), at(15.5))  # fires at 15.5: more than ten minutes later
    assert len(service.opened) == 2
    service.take(_backups(13), at(15.5))  # fires at 13: within ten minutes
    (outer,) = service.opened[2:]
    assert sorted(service.held[outer]) == ["00.0", "01.0", "05.0", "11.0", "12.0", "13.0"]


def test_a_late_record_changes_what_an_inner_alert_holds() -> None:
    """The outer alert gets the late records of an inner alert that it already counts."""
    service = Service(ORDERS, keep=None)
    creates = [record_at(minute, "CREATE_CLUSTER", key=f"b{minute}") for minute in (4, 12)]
    service.take([*_backups(0, 10), *creates], at(12))
    (outer,) = (name for name in service.opened if len(service.held[name]) == 4)
    service.take(_backups(2), at(12))
    assert len(service.opened) == 3
    assert sorted(service.held[outer]) == ["00.0", "02.0", "10.0", "b12", "b4"]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_alert_that_fires_earlier_ends_earlier(is_restarted: bool) -> None:
    """An alert that fires earlier because of a late record also ends earlier, after a restart too."""
    service = Service(BURSTS, keep=0 * MINUTE)
    service.take(_backups(0, 1, 4), at(4))
    service.take(_backups(2), at(4))  # fires at 2 now: open to 7
    service.take(_backups(30), at(30))
    if is_restarted:
        service.restart()
    (row,) = service.rows.values()
    assert (row.fired_at, row.until) == (at(2), at(7))


@pytest.mark.parametrize("shown", ["userName, clusterId", "userName"])
def test_an_alert_is_joined_after_a_restart_that_lacks_its_first_record(shown: str) -> None:
    """After a restart, an alert is joined even if its first record is not read again."""
    text = "type: event_count, rules: a, group-by: [userName, clusterId], timespan: 10m, condition: {gte: 2}"
    rules = loaded(
        "---\n".join([FEED.format("a", "BACKUP"), ABOVE.format("burst", text)])
        + f"alert: {{group_by: [{shown}], realert: 60m}}\n"
    )
    service = Service(rules, keep=0 * MINUTE)
    service.take([record_at(minute, cluster="x", key=f"x{minute}") for minute in (498, 502)], at(502))
    service.take([record_at(560, user="bob", cluster="x", key="other")], at(560))
    service.restart()
    cluster = "y" if shown == "userName" else "x"
    later = [record_at(minute, cluster=cluster, key=f"later{minute}") for minute in (560.5, 561, 563, 564)]
    service.take(later[:2], at(561))
    assert [sorted(service.held[name]) for name in service.opened] == [["later560.5", "later561", "x498", "x502"]]
    service.restart()
    service.take(later[2:], at(564))
    assert len(service.opened) == (1 if shown == "userName" else 2)  # that of `y` is open, that of `x` is over


def test_groups_are_capped_with_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit, the least recently used group is dropped and counted; the kept hits are bounded too."""
    monkeypatch.setattr(correlator, "MAX_KEPT", 100)
    past = StreamBounds(begin=lambda _: START)
    capped = Correlator(ALL, past, keep=timedelta(days=1), max_groups=10)
    for number in range(2000):
        capped.take([record_at(number / 100, "BACKUP", user=f"u{number % 200}", key=f"k{number:05}")])
        capped.changes(at(number / 100))
    assert capped.count_groups() <= 10 * len(capped.rules)
    assert capped.evicted > 1000
    assert capped.count_hits() < 1000


def test_an_alert_that_stays_open_holds_few_records() -> None:
    """Each record of an alert that is joined for a day is reported once, and is forgotten when no late one can come."""
    count = "type: event_count, rules: a, timespan: 5m, condition: {gte: 3}"
    service = Service(
        loaded(FEED.format("a", "BACKUP") + "---\n" + ABOVE.format("b", count) + "alert: {realert: 1d}\n")
    )
    for minute in range(1000):
        service.take([record_at(minute, key=f"{minute:04}")], at(minute))
    (held,) = service.held.values()
    assert sorted(held) == [f"{minute:04}" for minute in range(1000)]
    assert objects_held(service.correlator)["Hit"] < 50
    assert max(len(known.keys) for known in service.correlator._rules[0]._groups[()]._known.values()) < 50
    service.take([record_at(996.5, key="late")], at(1000))
    assert held[-1] == "late"
    service.restart()
    service.take([record_at(1001, key="last")], at(1001))
    assert sorted(held) == [*(f"{minute:04}" for minute in range(1000)), "last", "late"]


def test_a_record_of_two_inner_alerts_is_reported_once() -> None:
    """An inner alert brings a record that an earlier one brought, long after that one was reported and forgotten."""
    rules = loaded(
        "---\n".join(
            [
                *(FEED.format("a", "BACKUP"), FEED.format("b", "CREATE_CLUSTER")),
                ABOVE.format("each", "type: event_count, rules: a, timespan: 1m, condition: {gte: 1}"),
                ABOVE.format("order", "type: temporal_ordered, rules: [a, b], timespan: 30m"),
                ABOVE.format("outer", "type: event_count, rules: [each, order], timespan: 5m, condition: {gte: 1}"),
            ]
        )
        + "alert: {realert: 1d}\n"
    )
    service = Service(rules)
    for minute in range(0, 31, 2):
        service.take([record_at(minute, key=f"{minute:02}")], at(minute))
    service.take([record_at(36, "CREATE_CLUSTER", key="36")], at(36))
    (outer,) = (row for row in service.rows.values() if row.until > at(1000))
    assert sorted(service.held[outer.alert_id]) == [f"{minute:02}" for minute in [*range(0, 31, 2), 36]]


@BOTH
@FEW
@given(runs(is_in_order=True))
def test_without_room_for_hits_nothing_is_rebuilt(rules: str, legs: list[Leg]) -> None:
    """Records in order need no hit from verified time, whatever waits and whichever rules count the alerts of others."""
    steady = [replace(leg, fate=Fate.NOTHING) for leg in legs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlator, "MAX_KEPT", 3)
        service = run_to_end(RULES[rules], steady, max)
    assert service.rebuilt == 0
    found = {name: (sorted(keys), service.resolved.get(name)) for name, keys in service.held.items()}
    assert found == _plain(RULES[rules], [each for leg in legs for each in leg.batch])


def test_a_late_record_of_a_dropped_group_leads_to_a_rebuild() -> None:
    """A late record of a group that was dropped as idle and came back leads to a rebuild."""
    service = Service(ALL, keep=5 * MINUTE)
    moments = [(57, "k1"), (150, "k2"), (155, "k3"), (52, "k4")]
    for minute, key in moments:
        user = "bob" if key == "k2" else "eve"
        service.take([record_at(minute, user=user, cluster="x", key=key)], at(min(minute, 150)))
    late = [keys for keys in service.held.values() if set(keys) == {"k1", "k4"}]
    assert late
    assert service.correlator.too_late is None


def test_the_last_instant_that_a_dropped_group_reaches_leads_to_a_rebuild() -> None:
    """A term that was seen exactly `history` before a late record is not new, also if its group was dropped as idle."""
    batches = [(33, "BACKUP"), (2, "DELETE_CLUSTER"), (22, "DELETE_CLUSTER")]
    legs = [Leg((record_at(minute, kind, key=f"k{minute}"),), 0 * MINUTE, Fate.NOTHING) for minute, kind in batches]
    service = run_to_end(ALL, legs, min)
    plain = folded(ALL, [each for leg in legs for each in leg.batch])
    _assert_alerts_of(service, plain, set(service.versions))


@pytest.mark.parametrize("rules", RULES)
def test_a_state_holds_no_more_after_a_long_time(rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no later record can change is forgotten: groups, hits, alerts, also those that disappeared, and shared alerts."""
    monkeypatch.setattr(feed, "MAX_REMEMBERED", 8)  # the cache of groups and values has its own bound
    correlator = Correlator(RULES[rules], StreamBounds(begin=lambda _: START), keep=5 * MINUTE)
    sizes: list[Counter[str]] = []
    kinds = ((0, "BACKUP"), (2, "CREATE_CLUSTER"), (0.3, "BACKUP"), (4, "DELETE_CLUSTER"), (2.3, "CREATE_CLUSTER"))
    for turn in range(60):
        users = (("eve", f"c{turn:04}"), (f"u{turn:04}", "x"), (f"v{turn:04}", f"d{turn:04}"))
        for number, (minute, kind) in enumerate(kinds):  # some are late, so that alerts disappear
            for user, cluster in users:
                key = f"{turn:04}{number}{user}"
                correlator.take([record_at(7 * turn + minute, kind, user=user, cluster=cluster, key=key)])
                correlator.changes(at(7 * turn + 6))
        if turn >= 30:
            sizes.append(objects_held(correlator))
    early, late = (Counter[str](), Counter[str]())
    for size in sizes[:15]:
        early |= size  # the greatest of each type
    for size in sizes[15:]:
        late |= size
    assert {name: (early[name], count) for name, count in late.items() if count > 1.02 * early[name] + 4} == {}
    assert correlator.evicted == 0


def test_a_rebuild_does_not_hold_what_it_learns_from() -> None:
    """A rebuild keeps only the hits whose windows are not over, however many records a rule learns from."""
    past = StreamBounds(begin=lambda _: START, since=lambda rule: at(2000) - rule.reach)
    correlator = Correlator(ALL, past, keep=5 * MINUTE)
    most = 0

    def learned() -> Iterator[Record]:
        nonlocal most
        for number in range(20_000):
            most = max(most, correlator.count_hits())
            yield record_at(number / 10, "CREATE_CLUSTER", user=f"u{number % 20}", cluster="x", key=f"k{number:05}")

    correlator.restore([], learned())
    assert most < 1500
    assert correlator.count_hits() < 1500


@FEW
@given(records(), st.integers(0, 180), st.integers(0, 180))
def test_a_rebuild_that_forgets_what_was_judged_finds_the_same(drawn: list[Record], settled: int, floor: int) -> None:
    """What a rebuild folds at once because it was judged before changes nothing: not what opens, nor what it then holds."""
    ordered = [msgspec.structs.replace(each, id=n) for n, each in enumerate(sorted(drawn, key=in_event_order))]
    outcomes = []
    for moment in (None, at(settled)):
        bounds = StreamBounds(begin=lambda _: START, floors=lambda _: floor, settled_before=moment)
        correlator = Correlator(ALL, bounds, keep=5 * MINUTE)
        correlator.restore([], ordered)
        changes = correlator.changes(END)
        outcomes.append(
            [
                (each.kind, each.known.id, each.known.until, each.at, [record.key for record in each.records])
                for each in changes
            ]
        )
    assert outcomes[0] == outcomes[1]


def test_a_rebuild_of_all_records_holds_only_what_is_not_judged() -> None:
    """A rebuild from the first record keeps nothing of alerts that are over or can never open, and few hits that remember."""
    bounds = StreamBounds(begin=lambda _: START, floors=lambda _: 10**6, settled_before=at(1995))
    outer = {"again", "both"}
    rules = [r for r in ALL if r.name.name not in outer and (r.correlation is None or not r.correlation.is_merging)]
    kinds = ("BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER")

    def learned(count: int) -> Iterator[Record]:
        for number in range(count):
            minute, kind = 2000 - (count - number) / 10, kinds[number % 3]
            yield record_at(minute, kind, user=f"u{number % 20}", cluster="x", key=f"k{number:05}")

    sizes = []
    for count in (5_000, 20_000):
        first = Correlator(rules, bounds, keep=5 * MINUTE)
        first.restore([], learned(count))
        known = [each.known for each in first.changes(at(2000))]
        assert len(known) > count / 100
        second = Correlator(rules, bounds, keep=5 * MINUTE)
        second.restore([replace(each, taken=0) for each in known], learned(count))
        sizes.append(objects_held(second))
    assert [sizes[1][name] <= 1.02 * sizes[0][name] for name in ("Hit", "FoundAlert", "CorrelatedAlert")] == [True] * 3


@FEW
@given(records())
def test_a_replay_gives_what_a_simulation_gives(drawn: list[Record]) -> None:
    """A backtest, which keeps only what it needs, finds the same alerts with the same counts and ends."""
    ordered = sorted(drawn, key=in_event_order)
    replayed = replay(ALL, ordered, begin=START, end=END)
    simulated = simulate(ALL, ordered, begin=START, start=START, until=END, verified_until=END)
    whole = {each.id: (each.count, each.first_at, each.last_at, each.resolved_at) for each in simulated.alerts}
    assert {each.id: (each.count, each.first_at, each.last_at, each.resolved_at) for each in replayed.alerts} == whole
    kept = {alert_id: [record.key for record in held] for alert_id, held in replayed.records.items()}
    assert kept == {alert_id: [record.key for record in ends(held)] for alert_id, held in simulated.records.items()}


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
