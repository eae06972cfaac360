"""Records and alerts become hits: of which rule and step, in which group, with which value and which records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from msgspec import structs

from actionwatch.base.model import Group, Hit, Record, RuleName
from actionwatch.base.unicode import canonical
from actionwatch.rules.correlations.feed import Feed, as_number, in_order
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import Correlation, Rule, Step, Threshold
from actionwatch.rules.when import When
from tests.cases import in_one_test
from tests.unit.rules.correlation.kit import HEAD, at, flat, hit, loaded, make, minutes, objects_held, record_at
from tests.unit.rules.correlation.live import ABOVE, FEED

INNER = "type: event_count, rules: a, group-by: [userName, clusterId], timespan: 5m, condition: {gte: 2}"


def above_inner(text: str) -> Sequence[Rule]:
    """Load a rule that counts the alerts of the inner one."""
    above = ABOVE.format("outer", f"{text}, rules: inner, timespan: 5m, generate: true")
    return loaded("---\n".join([FEED.format("a", "BACKUP"), ABOVE.format("inner", INNER), above]))


RULES = above_inner("type: value_count, group-by: [userName, description], condition: {gte: 2, field: clusterId}")
COUNTED = above_inner("type: event_count, group-by: [userName], condition: {gte: 2}")
ABSENCE = make(threshold=Threshold("lt", 1), expected=(("eve",),))
GROUP: Group = ("eve", "c1")


def there(minute: float, **more: object) -> Record:
    """Make a record of another user and cluster than the group of the alert."""
    return record_at(minute, **{"user": "bob", "cluster": "c2", "description": "d", **more})  # type: ignore[arg-type]


def inner_hits(found: FoundAlert, group: Group = GROUP, rules: Sequence[Rule] = RULES) -> list[tuple[Group, Hit]]:
    """Return the groups and hits that an alert of the inner rule makes in the outer one."""
    correlations = [rule.correlation for rule in rules if rule.correlation is not None]
    inner = next(each for each in correlations if each.name.name == "inner")
    newest = found.firing.records[-1] if found.firing is not None and found.firing.records else found.last_seen
    assert newest is None or isinstance(newest, Record)
    feed = Feed(rules, correlations)
    made = [(where, each) for _, where, each in feed.inner_hits(inner, group, found, newest)]
    assert feed.take_failures() == []
    return made


def alert(*hits: Hit, firing: Hit | None = None, **more: object) -> FoundAlert:
    """Make an alert that fired at minute 5."""
    found = FoundAlert("k", at(1), at(5), at(15), HitWindow(hits), firing=firing, id="id")
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_an_alert_is_a_hit_at_its_firing_with_the_records_up_to_then() -> None:
    """The hit has the group of the alert where that has the field, and other fields of the record that fired."""
    first, firing, later = (
        structs.replace(hit(minute), records=(there(minute, key=f"k{minute}"),)) for minute in (1, 5, 6)
    )
    found = alert(first, firing, later, firing=firing)
    ((group, made),) = inner_hits(found)
    assert group == ("eve", "d")
    assert (made.at, made.step, made.key, made.value) == (at(5), 0, "id", ("c1",))
    assert made.records == (*first.records, *firing.records)


def test_an_alert_of_what_is_missing_is_a_hit_too() -> None:
    """An alert that no hit fired has all records; without a record, fields outside of its group are absent."""
    seen = structs.replace(hit(1), records=(there(1),))
    ((group, made),) = inner_hits(alert(seen, last_seen=seen.records[0]))
    assert (group, made.records) == (("eve", "d"), seen.records)
    ((group, made),) = inner_hits(alert())
    assert (group, made.records, made.value) == (("eve", None), (), ("c1",))
    without_records = structs.replace(hit(5), records=())
    assert inner_hits(alert(without_records, firing=without_records))[0][0] == ("eve", None)
    assert inner_hits(alert(), ("eve", None)) == [], "there is no value to count"


def test_alerts_with_the_same_newest_record_keep_their_groups() -> None:
    """The group of an alert is not found by the values of its newest record, as that of a record is."""
    correlations = [rule.correlation for rule in RULES if rule.correlation is not None]
    feed, newest = Feed(RULES, correlations), there(5)
    groups: Sequence[Group] = (("eve", "c1"), ("ann", "c2"), ("eve", "c3"))
    found = [each for group in groups for each in feed.inner_hits(correlations[0], group, alert(), newest)]
    assert [(group, made.value) for _, group, made in found] == [
        (("eve", "d"), ("c1",)), (("ann", "d"), ("c2",)), (("eve", "d"), ("c3",)),
    ]  # fmt: skip


def test_an_alert_of_all_groups_without_a_record_has_the_group_of_no_value() -> None:
    """What neither the group of the alert nor a record says is absent."""
    inner = replace(next(rule.correlation for rule in RULES if rule.correlation is not None), group_by=())
    (count,) = (rule.correlation for rule in COUNTED if rule.correlation and rule.name.name == "outer")
    ((_, group, made),) = Feed(COUNTED, [inner, count]).inner_hits(inner, (), alert(), None)
    assert (group, made.records) == ((None,), ())


def groups_of(text: str, **record: object) -> list[Group]:
    """Return the groups of one record in the correlation of a rule."""
    rules = loaded(HEAD + "detection: {s: {actionKind: BACKUP}, condition: s}\n" + text)
    feed = Feed(rules, [rule.correlation for rule in rules if rule.correlation is not None])
    return [group for _, group, _ in flat(feed.hits([record_at(1, **record)]))]  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["clusterId", "cluster.id", "cluster"])
def test_an_expected_group_is_met_by_its_id_or_its_name(field: str) -> None:
    """A group is expected by id or by name, whichever a record has."""
    absence = (
        f"correlation: {{type: event_count, group-by: [{field}], timespan: 1h, condition: {{lt: 1}},"
        f" expect-groups: {{{field}: [c1, orders]}}}}\n"
    )
    assert groups_of(absence, cluster="c1", cluster_name="orders") == [("c1",), ("orders",)]
    assert groups_of(absence, cluster_name="orders") == [("orders",)]
    assert groups_of(absence, cluster="c9", cluster_name="other") == []


def test_a_group_of_ids_has_no_names() -> None:
    """A rule that counts by id does not put a record without the id into the group of its name."""
    count = "correlation: {type: event_count, group-by: [clusterId], timespan: 1h, condition: {gte: 2}}\n"
    assert groups_of(count, cluster_name="orders") == [(None,)]
    assert groups_of(count, cluster="c1", cluster_name="orders") == [("c1",)]


def test_groups_of_the_same_values_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records with the same values have the same group, also after the groups of too many values were forgotten."""
    monkeypatch.setattr("actionwatch.rules.correlations.feed.MAX_REMEMBERED", 2)
    count = "correlation: {type: event_count, group-by: [userName, cluster], timespan: 1h, condition: {gte: 2}}\n"
    rules = loaded(HEAD + "detection: {s: {actionKind: BACKUP}, condition: s}\n" + count)
    feed = Feed(rules, [rule.correlation for rule in rules if rule.correlation is not None])
    read = [record_at(minute, user="abca"[minute % 4], cluster=f"c{minute % 2}") for minute in range(20)]
    found = [group for _, group, _ in flat(feed.hits(read))]
    assert found == [(record.user_name, record.cluster.id) for record in read]
    first, again = (group for each in (read[0], read[4]) for group in feed.hits([each])[0])
    assert first is again
    held = [
        objects_held(feed).total()
        for count in (20, 200)
        if feed.hits([record_at(minute, user=f"u{minute}") for minute in range(count)])
    ]
    assert abs(held[1] - held[0]) < 20


@pytest.mark.parametrize(("chars", "is_remembered"), [(250, True), (251, False), (5_000, False)])
def test_groups_of_long_values_are_not_remembered(chars: int, is_remembered: bool) -> None:
    """Names that are longer than any real one have their groups too, and do not fill the memory."""
    count = "correlation: {type: event_count, group-by: [userName, cluster], timespan: 1h, condition: {gte: 2}}\n"
    rules = loaded(HEAD + "detection: {s: {actionKind: BACKUP}, condition: s}\n" + count)
    feed = Feed(rules, [rule.correlation for rule in rules if rule.correlation is not None])
    read = [record_at(minute, user="u" * 250, cluster="c" * chars) for minute in range(2)]
    first, again = (group for each in read for group in feed.hits([each])[0])
    assert first == again == ("u" * 250, "c" * chars)
    assert (first is again) is is_remembered


def test_an_absence_reads_fields_that_are_no_entities() -> None:
    """Expected values of a plain field, also one inside a record's JSON, are compared with that field."""
    absence = (
        "correlation: {{type: event_count, group-by: [{0}], timespan: 1h, condition: {{lt: 1}},"
        " expect-groups: {{{0}: [eve]}}}}\n"
    )
    assert groups_of(absence.format("userName"), user="eve") == [("eve",)]
    assert groups_of(absence.format("userName"), user="bob") == []
    found = Feed([], [replace(ABSENCE, group_by=("raw.who",))])
    assert found.hits([record_at(1)]) == {}


SUMS = above_inner("type: value_sum, group-by: [userName], condition: {gte: 2, field: raw.size}")


def test_an_alert_without_a_record_has_no_number() -> None:
    """A number is read from the record that fired; if there is none, nothing counts."""
    seen = structs.replace(hit(1), records=(there(1, raw='{"size": 7}'),))
    assert [(group, made.value) for group, made in inner_hits(alert(seen, firing=seen), rules=SUMS)] == [(("eve",), 7)]
    assert inner_hits(alert(), rules=SUMS) == []


MISSED = above_inner(
    "type: event_count, group-by: [userName], condition: {lt: 1}, expect-groups: {userName: [eve, bob]}"
)


def test_an_absence_of_alerts_reads_their_groups_first() -> None:
    """The group of an alert counts, not what its record says; where the alert has no value, its record counts."""
    seen = structs.replace(hit(1), records=(there(1),))
    found = alert(seen, firing=seen)
    assert [group for group, _ in inner_hits(found, ("eve", "c1"), MISSED)] == [("eve",)]
    assert [group for group, _ in inner_hits(found, (None, "c1"), MISSED)] == [("bob",)]
    assert inner_hits(alert(), (None, "c1"), MISSED) == []


@pytest.mark.parametrize("is_backlog_first", [False, True])
def test_of_an_action_of_two_sources_the_record_that_may_alert_counts(*, is_backlog_first: bool) -> None:
    """It does not matter which was read first, nor which hit is between them."""
    new, other = (structs.replace(hit(5), key=key, records=(record_at(5, key=key),)) for key in ("a", "b"))
    old = structs.replace(new, records=(record_at(5, key="a", is_backlog=True),))
    both = [old, other, new] if is_backlog_first else [new, other, old]
    assert in_order(both) == [new, other]
    assert in_order([old, old]) == in_order([old]) == [old]


def test_an_unknown_field_is_not_read() -> None:
    """A rule that names no field cannot be made, whoever built it."""
    rule = replace(make(threshold=Threshold("gte", 2)), group_by=("nothing",))
    with pytest.raises(LookupError, match="unknown field 'nothing'"):
        Feed([], [rule])


def test_rules_that_feed_nothing_make_no_hits() -> None:
    """Only rules that are named by a correlation, and that exist, feed it."""
    missing = replace(make(threshold=Threshold("gte", 2)), steps=(Step("nowhere"),), name=RuleName("o", "o", "O"))
    assert Feed(RULES, [missing]).hits([record_at(1)]) == {}
    correlations: list[Correlation] = [rule.correlation for rule in RULES if rule.correlation is not None]
    feed = Feed(RULES, correlations)
    found = [
        (correlations[number].name.name, group) for number, group, _ in flat(feed.hits([record_at(1), record_at(2)]))
    ]
    assert found == [("inner", ("eve", None))] * 2


@in_one_test(
    ("value", "number"),
    [
        (3, 3),
        (2.5, 2.5),
        (" 12 ", 12),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (True, None),
        (float("inf"), None),
        (float("nan"), None),
        ("1e999", None),
        (2**63 - 1, 2**63 - 1),
        (2**63, 2.0**63),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, -(2.0**63)),
        ("9" * 300, 1e300),
        pytest.param(10**400, None, id="beyond every float"),
        pytest.param(-(10**400), None, id="below every float"),
        ("x", None),
        (None, None),
    ],
)
def test_numbers_are_read_from_text_too(value: object, number: float | None) -> None:
    """Only finite numbers count; whole numbers of at most 64 bits stay whole, so that the state can be saved."""
    found = as_number(value)
    assert (found, type(found)) == (number, type(number))


class OddMoment(When):
    """Times of which one fails."""

    def holds(self, moment: datetime) -> bool:
        """Fail at minute 2."""
        if moment == at(2):
            raise OverflowError("too large")
        return True


def test_a_rule_that_fails_on_a_record_stops_no_other_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure names its rule and the record. Other rules count the record, and the rule counts those after it."""

    def read(value: str) -> str:
        if value == "odd":
            raise ValueError("odd cluster")
        return canonical(value)

    monkeypatch.setattr("actionwatch.rules.correlations.feed.canonical", read)
    (counted,) = (rule.name.id for rule in RULES if rule.name.name == "a")
    by_cluster, by_time, plain = (
        replace(
            make(threshold=Threshold("gte", 2), group_by=(field,)),
            steps=(Step(counted),),
            name=RuleName(name, name, name),
        )
        for field, name in (("cluster", "by cluster"), ("userName", "by time"), ("userName", "plain"))
    )
    feed = Feed(RULES, [by_cluster, replace(by_time, when=OddMoment()), plain])
    records = [record_at(1), record_at(2), record_at(3, cluster="odd"), record_at(4)]
    assert [(minutes(made.at), number) for number, _, made in flat(feed.hits(records))] == [
        (1, 0), (1, 1), (1, 2), (2, 0), (2, 2), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2),
    ]  # fmt: skip
    assert [(failure.rule.name, failure.record_key, failure.what) for failure in feed.take_failures()] == [
        ("by time", records[1].key, "OverflowError: too large"),
        ("by cluster", records[2].key, "ValueError: odd cluster"),
    ]
    assert feed.take_failures() == []
