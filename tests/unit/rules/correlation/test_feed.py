"""Records become hits: of which rule and step, in which group, and with which value."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from msgspec import structs

from actionwatch.base.model import Group, RuleName
from actionwatch.base.unicode import canonical
from actionwatch.rules.correlations.feed import Feed, in_order
from actionwatch.rules.model import Correlation, Step, Threshold
from actionwatch.rules.when import When
from tests.unit.rules.correlation.kit import HEAD, at, flat, hit, loaded, make, minutes, objects_held, record_at
from tests.unit.rules.correlation.live import ABOVE, FEED

INNER = "type: event_count, rules: a, group-by: [userName, clusterId], timespan: 5m, condition: {gte: 2}"
RULES = loaded("---\n".join([FEED.format("a", "BACKUP"), ABOVE.format("inner", INNER)]))
ABSENCE = make(threshold=Threshold("lt", 1), expected=(("eve",),))


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
