"""`alert.group_by` with fewer fields than `group-by`: several groups share one alert."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.base.model import Entity, Hit, Level, Record
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import Correlation
from tests.unit.rules.correlation.kit import HEAD, START, at, fold, loaded, minutes, outcome_of, record_at, run, shapes

BACKUP = "detection: {s: {actionKind: BACKUP}, condition: s}\n"
BOTH = "group-by: [userName, clusterId], timespan: 10m"
BURST = (
    BACKUP + f"correlation: {{type: event_count, {BOTH}, condition: {{gte: 2}}}}\nalert: {{group_by: [userName]%s}}\n"
)
FEW = settings(max_examples=100)


def on(*happened: tuple[float, str], user: str = "eve") -> list[Record]:
    """Make records of one user, each at a minute on a cluster."""
    return [record_at(minute, user=user, cluster=cluster, key=f"{minute:05}{user}") for minute, cluster in happened]


def test_several_groups_make_one_alert() -> None:
    """Groups that fire within `realert` of the first one join its alert, which names the shown group and has the first id."""
    records = [*on((0, "a"), (1, "a"), (5, "b"), (6, "b"), (11, "c"), (11.5, "c")), *on((2, "a"), (3, "a"), user="bob")]
    alerts = run(loaded(HEAD + BURST % ""), records)
    assert [(alert.group, *shapes([alert])[0]) for alert in alerts] == [
        ({"userName": "eve"}, 4, 0, 6),
        ({"userName": "bob"}, 2, 2, 3),
        ({"userName": "eve"}, 2, 11, 11.5),
    ]
    alone = run(loaded(HEAD + BURST % "", None), on((0, "a"), (1, "a")))
    assert alone[0].id == alerts[0].id
    apart = run(loaded((HEAD + BURST % "").replace("alert: {group_by: [userName]}", "")), records)
    assert [alert.count for alert in apart] == [2, 2, 2, 2]


def test_each_group_must_fire_by_itself() -> None:
    """Records of different groups do not count together, even if the groups share an alert."""
    assert run(loaded(HEAD + BURST % ""), on((0, "a"), (1, "b"), (2, "c"))) == []


def test_realert_of_a_shared_alert_is_never_extended() -> None:
    """`realert` begins when the first group fires: a group that fires after it opens another alert."""
    records = on((0, "a"), (1, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c"))
    assert shapes(run(loaded(HEAD + BURST % ", realert: 4m"), records)) == [(4, 0, 4), (2, 5, 6)]


def test_the_highest_level_of_all_groups_counts() -> None:
    """A level map uses the highest match of all groups."""
    records = on((0, "a"), (1, "a"), (2, "b"), (3, "b"))
    (alert,) = run(loaded(HEAD + BURST % ", level: {critical: {clusterId: b}}"), records)
    assert alert.level is Level.CRITICAL


def test_new_terms_gather_for_realert() -> None:
    """New terms of one user within 15 minutes, or within `realert`, form one alert."""
    text = BACKUP + "correlation: {type: new_term, fields: [userName, clusterId], history: 1h, cold-start: alert}\n"
    records = on((0, "a"), (1, "b"), (15, "c"), (16, "d"))
    shown = "alert: {group_by: [userName]}\n"
    assert shapes(run(loaded(HEAD + text + shown), records)) == [(3, 0, 15), (1, 16, 16)]
    assert shapes(run(loaded(HEAD + text + shown.replace("]}", "], realert: 1m}")), records)) == [
        (2, 0, 1),
        (2, 15, 16),
    ]


def test_shared_absence_resolves_when_no_group_is_missing() -> None:
    """The alert opens with the first missing group and resolves when no group is missing."""
    text = BACKUP + (
        f"correlation: {{type: event_count, {BOTH}, condition: {{lt: 1}},"
        " expect-groups: {userName: [eve], clusterId: [a, b]}}\nalert: {group_by: [userName]}\n"
    )
    rules = loaded(HEAD + text)
    records = on((0, "a"), (5, "b"), (20, "a"), (25, "b"))
    first, second = run(rules, records, verified=100)
    assert (minutes(first.first_at), minutes(first.resolved_at), first.count) == (10, 25, 0)
    assert (minutes(second.first_at), second.resolved_at, second.group) == (30, None, {"userName": "eve"})
    apart = on((0, "a"), (5, "b"), (12, "a"), (14, "b"), (20, "a"), (22, "b"))
    assert [minutes(alert.resolved_at) for alert in run(rules, apart, verified=23)] == [12]
    # One is back, but it is not verified yet whether the other is missing: nothing is resolved before that.
    (alert,) = run(rules, on((0, "a"), (2, "b"), (20, "a")), verified=11)
    assert alert.resolved_at is None


def test_every_missing_group_is_named() -> None:
    """The alert lists up to twenty missing groups in the order of their absence, then that there are more."""
    clusters = [f"c{number:02}" for number in range(30)]
    text = BACKUP + (
        f"correlation: {{type: event_count, {BOTH}, condition: {{lt: 1}},"
        f" expect-groups: {{userName: [eve], clusterId: [{', '.join(clusters)}]}}}}\nalert: {{group_by: [userName]}}\n"
    )
    (alert,) = run(loaded(HEAD + text), on(*((number / 10, name) for number, name in enumerate(clusters))), verified=50)
    *named, more = alert.body.splitlines()
    assert [line.split(" since ")[0] for line in named] == [
        f"Nothing for userName eve, clusterId {name}" for name in clusters[:20]
    ]
    assert more == "… and more."
    assert (alert.count, minutes(alert.first_at), minutes(alert.last_at)) == (0, 10, 12.9)


def test_an_alias_can_be_shown() -> None:
    """An alias in `group-by` can be shown too."""
    text = (
        "detection: {s: {actionKind: BACKUP}, t: {actionKind: CREATE_CLUSTER}}\n"
        "correlation: {type: temporal, rules: [s, t], timespan: 10m, group-by: [who, clusterId],"
        " aliases: {who: {s: userName, t: description}}}\nalert: {group_by: [who]}\n"
    )
    made = [
        record_at(minute, "CREATE_CLUSTER", user="robot", description="eve", cluster=cluster)
        for minute, cluster in [(1, "a"), (4, "b")]
    ]
    (alert,) = run(loaded(HEAD + text), [*on((0, "a"), (3, "b")), *made])
    assert (alert.group, alert.count) == ({"who": "eve"}, 4)


@FEW
@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.sampled_from(["eve", "bob"]), st.sampled_from("abc")), max_size=60
    ).flatmap(st.permutations),
    st.sampled_from([2, 7, 30]),
)
def test_shared_alerts_equal_the_merged_alerts_of_the_groups(
    drawn: Sequence[tuple[int, str, str]], realert: int
) -> None:
    """Merging the alerts of each group, in the order of firing, gives the same alerts."""
    rules = loaded(HEAD + BURST % f", realert: {realert}m")
    records = [
        record_at(minute, user=user, cluster=cluster, key=f"k{number:03}")
        for number, (minute, user, cluster) in enumerate(drawn)
    ]
    (rule,) = [each.correlation for each in rules if each.correlation is not None]
    held = outcome_of(rules, records, begin=0).records
    assert {alert_id: sorted(each.key for each in of_alert) for alert_id, of_alert in held.items()} == {
        name: sorted(keys) for user in ("eve", "bob") for name, keys in _merged(rule, records, user, realert)
    }


def _merged(rule: Correlation, records: Sequence[Record], user: str, realert: int) -> list[tuple[str, list[str]]]:
    """Fold each group of a user, and merge what fires."""
    found: list[FoundAlert] = []
    for cluster in "abc":
        own = [each for each in records if (each.user_name, each.cluster) == (user, Entity(cluster))]
        hits = [Hit(each.occurred_at, 0, each.key, (each,)) for each in own]
        found += fold(rule, (user, cluster), hits, START)
    merged: list[tuple[str, list[str]]] = []
    ends = at(-1)
    for each in sorted(found, key=lambda each: each.firing_order):
        if each.fired_at > ends:
            merged.append((each.id, []))
            ends = each.fired_at + (at(realert) - START)
        merged[-1][1].extend(hit.key for hit in each.hits)
    return merged
