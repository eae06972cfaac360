"""The ledger opens, joins and resolves the alerts of a batch; the division of records into batches does not matter."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.alerts.ledger import Ledger, open_self_alert, resolve
from actionwatch.base.model import Alert, AlertChange, ChangeKind, CorrelatedAlert, Level, Match, Record, Status
from actionwatch.base.source_labels import use_labels
from actionwatch.service.simulation import MemoryHistory
from tests.builders import NOON, make_alert, make_match, make_record

MINUTE = timedelta(minutes=1)
LATER = NOON + timedelta(hours=9)


def apply(history: MemoryHistory, *changes: AlertChange) -> Ledger:
    """Apply changes in one batch, and save what they make."""
    ledger = Ledger(history, LATER, lambda _: ["acme"])
    ledger.add_all((), changes)
    for change in changes:
        change.known.report_as(ledger.reported_as[change.known.id])
    history.save(ledger.entries.values())
    return ledger


def history_of(*alerts: Alert) -> MemoryHistory:
    """Make a history that holds some alerts."""
    history = MemoryHistory()
    history.alerts = {alert.id: alert for alert in alerts}
    return history


def known(name: str, reported_as: str | None = None) -> CorrelatedAlert:
    """Make an alert of a correlation."""
    return CorrelatedAlert(name, "rule-1", (), name, NOON, NOON, NOON, True, reported_as=reported_as)


def missing(kind: ChangeKind, alert: CorrelatedAlert, body: str = "c-2 is missing") -> AlertChange:
    """Make a change about a missing group."""
    return AlertChange(kind, alert, NOON, True, (), Level.LOW, make_match(make_record(source=""), body=body))


def resolved(alert_id: str) -> Alert:
    """Make an alert that an operator resolved."""
    return make_alert(alert_id, status=Status.RESOLVED, resolved_by="eve", resolved_at=NOON)


@given(st.lists(st.tuples(st.integers(0, 120), st.sampled_from(["eve", "bob"])), max_size=40), st.data())
def test_batches_make_no_difference(drawn: list[tuple[int, str]], data: st.DataObject) -> None:
    """The same matches give the same alerts and counts in one batch and in many."""
    matches = [make_match(make_record(n, minutes=at, user_name=user)) for n, (at, user) in enumerate(drawn)]
    cuts = data.draw(st.lists(st.integers(0, len(matches)), max_size=5).map(sorted))
    portions = [matches[start:end] for start, end in zip([0, *cuts], [*cuts, len(matches)], strict=True)]
    assert _alerts(portions) == _alerts([matches])


def _alerts(portions: Sequence[Sequence[Match]]) -> dict[str, Alert]:
    history = MemoryHistory()
    for portion in portions:
        ledger = Ledger(history, LATER)
        ledger.add_all(portion, ())
        history.save(ledger.entries.values())
    assert sum(alert.count for alert in history.alerts.values()) == sum(map(len, portions))
    return history.alerts


def test_an_entry_holds_a_state_for_each_match() -> None:
    """Routes see each of the matches of one batch, with the alert as it was then."""
    ledger = Ledger(MemoryHistory(), LATER)
    ledger.add_all([make_match(make_record(n, minutes=n)) for n in range(3)], ())
    (entry,) = ledger.entries.values()
    assert [(alert.count, record and record.occurred_at) for alert, record in entry.steps] == [
        (n + 1, NOON + n * MINUTE) for n in range(3)
    ]
    assert [record.occurred_at for record in entry.records] == [NOON + n * MINUTE for n in range(3)]


def test_records_join_a_resolved_alert_silently() -> None:
    """Records that join an alert that an operator resolved are counted and do not open it again."""
    history = history_of(resolved("a"))
    records: tuple[Record, ...] = (make_record(5, minutes=-5), make_record(6, minutes=6))
    apply(history, AlertChange(ChangeKind.JOIN, known("a"), NOON, False, records, Level.CRITICAL))
    alert = history.alerts["a"]
    assert (alert.status, alert.count, alert.level) == (Status.RESOLVED, 3, Level.CRITICAL)
    assert (alert.first_at, alert.last_at) == (NOON - 5 * MINUTE, NOON + 6 * MINUTE)


def test_a_missing_group_opens_an_alert_if_the_shared_one_is_resolved() -> None:
    """A missing group never joins a resolved alert: it opens its own."""
    history, member = history_of(resolved("a")), known("b", "a")
    apply(history, missing(ChangeKind.JOIN, member))
    assert (member.alert_id, history.alerts["b"].status, history.alerts["b"].count) == ("b", Status.OPEN, 0)
    assert history.alerts["b"].source == "acme"
    assert history.alerts["a"] == resolved("a")


def test_a_group_that_is_missing_again_opens_another_alert() -> None:
    """A group that is missing again, while its alert is resolved, opens a new one, which resolves with the next match."""
    history, again = history_of(resolved("a")), known("a")
    apply(history, missing(ChangeKind.OPEN, again))
    assert history.alerts["a"] == resolved("a")
    assert again.alert_id != "a"
    assert history.alerts[again.alert_id].body == "c-2 is missing"
    apply(history, AlertChange(ChangeKind.RESOLVE, again, LATER, True))
    assert history.alerts[again.alert_id].resolved_at == LATER


def opening(*records: Record, at: timedelta = timedelta(0), **match: Any) -> AlertChange:
    """Make a change that opens the alert of a correlation, which began some time after noon."""
    texts = make_match(records[-1] if records else make_record(source=""), **match)
    return AlertChange(ChangeKind.OPEN, known("a"), NOON + at, not records, records, Level.LOW, texts)


def test_a_correlation_opens_an_alert_with_all_its_records() -> None:
    """The alert of a correlation has the count, the times and the longest delay of all its records."""
    records = (
        make_record(1, minutes=-5, late_by=9 * MINUTE),
        make_record(2, minutes=2),
        make_record(3, minutes=4, late_by=MINUTE),
    )
    ledger = apply(MemoryHistory(), opening(*records, at=MINUTE))
    (entry,) = ledger.entries.values()
    alert = entry.alert
    assert (alert.id, alert.count, alert.source) == ("a", 3, "acme")
    assert (alert.first_at, alert.last_at, alert.happened_at) == (
        NOON - 5 * MINUTE,
        NOON + 4 * MINUTE,
        NOON + 4 * MINUTE,
    )
    assert alert.late_by == 9 * MINUTE
    assert entry.records == list(records)
    assert entry.steps[-1][1] == records[-1]


def test_absence_alert_begins_when_it_was_due() -> None:
    """An absence alert has count 0, no delay, the time when the group was due, and the source of the ledger."""
    history = MemoryHistory()
    apply(history, opening(at=3 * MINUTE))
    alert = history.alerts["a"]
    assert (alert.count, alert.late_by, alert.source) == (0, None, "acme")
    assert alert.first_at == alert.last_at == alert.happened_at == NOON + 3 * MINUTE


def test_join_without_new_records_changes_nothing() -> None:
    """A change without new records, or without the text of a missing group, is no state of the alert."""
    history = history_of(make_alert("a"))
    assert not apply(history, AlertChange(ChangeKind.JOIN, known("a"), NOON)).entries
    assert not apply(history, AlertChange(ChangeKind.JOIN, known("b", "a"), NOON, True)).entries
    assert not apply(history, AlertChange(ChangeKind.OPEN, known("new"), NOON)).entries


def test_records_that_join_are_routed_by_the_newest() -> None:
    """Routes see the newest of the records that join an alert of a correlation."""
    records = (make_record(5, minutes=5), make_record(6, minutes=6), make_record(7, minutes=7))
    ledger = apply(history_of(make_alert("a")), AlertChange(ChangeKind.JOIN, known("a"), NOON, False, records))
    assert ledger.entries["a"].steps[-1][1] == records[-1]


def test_only_the_batch_that_resolves_an_alert_says_so() -> None:
    """An entry is marked as resolved exactly if its batch resolved the alert; routes still see the batch's last record."""
    record = make_record(5, minutes=5)
    join = AlertChange(ChangeKind.JOIN, known("a"), NOON, False, (record,))
    end = AlertChange(ChangeKind.RESOLVE, known("a"), LATER)
    assert not apply(history_of(make_alert("a")), join).entries["a"].is_resolved
    alone = apply(history_of(make_alert("a")), end).entries["a"]
    assert (alone.is_resolved, [routed for _, routed in alone.steps]) == (True, [None])
    both = apply(history_of(make_alert("a")), join, end).entries["a"]
    assert (both.is_resolved, [routed for _, routed in both.steps]) == (True, [record, record])


@pytest.mark.parametrize(("why", "body"), [("", "it is gone"), ("removed", "it is gone\n\nResolved: removed")])
def test_a_resolved_alert_shows_the_reason(why: str, body: str) -> None:
    """The text of an alert ends with the reason of its end, if there is one."""
    alert = resolve(make_alert("a", body="it is gone"), "eve", LATER, why)
    assert (alert.status, alert.resolved_by, alert.resolved_at, alert.body) == (Status.RESOLVED, "eve", LATER, body)


def test_the_ledger_changes_none_of_its_arguments() -> None:
    """A change stays as it is: the ledger returns which alert reports it, and its caller notes that."""
    member, ledger = known("b", "a"), Ledger(history_of(resolved("a")), LATER)
    ledger.add_all((), [missing(ChangeKind.JOIN, member)])
    assert (member, ledger.reported_as) == (known("b", "a"), {"b": "b"})


def test_an_alert_resolves_once() -> None:
    """An alert resolves only once: a second change does not move its time or its author."""
    history = history_of(make_alert("a"), resolved("b"))
    for name in ("a", "b", "gone"):
        apply(history, AlertChange(ChangeKind.RESOLVE, known(name), LATER))
        assert not apply(history, AlertChange(ChangeKind.RESOLVE, known(name), LATER + MINUTE)).entries
    assert (history.alerts["a"].resolved_at, history.alerts["a"].resolved_by) == (LATER, "actionwatch")
    assert history.alerts["b"] == resolved("b")


def test_a_change_that_is_only_stored_changes_no_alert() -> None:
    """A change without a kind is only stored: it opens, joins and resolves nothing."""
    history = history_of(make_alert("a"))
    alert = known("a")
    assert not apply(history, AlertChange(None, alert, NOON, False, (make_record(3),))).entries
    assert not apply(history, AlertChange(ChangeKind.JOIN, known("gone"), NOON, False, (make_record(3),))).entries
    assert not apply(history, missing(ChangeKind.JOIN, known("b", "gone"))).entries
    assert alert.alert_id == "a"


LABELS = {"acme": {"customer": "acme", "tier": "gold"}, "other": {"customer": "other"}}


OF_ACME = {"team": "dba", "tier": "gold", "customer": "acme"}


@pytest.mark.parametrize(
    ("joining", "labels"),
    [
        ("acme", OF_ACME),
        ("acme-2", {"team": "dba", "customer": "acme"}),
        ("other", {"team": "dba"}),
        ("none", {"team": "dba"}),
    ],
)
def test_an_alert_has_the_labels_of_its_source(joining: str, labels: Mapping[str, str]) -> None:
    """A new alert has the labels of its source, which replace those of the rule. It keeps those that all its sources have."""
    use_labels({**LABELS, "acme-2": {"customer": "acme"}})
    match = make_match(make_record(1, source="acme"), labels={"team": "dba", "tier": "none"}, group={"userName": "eve"})
    match = dataclasses.replace(match, realert=timedelta(days=1))
    ledger = Ledger(MemoryHistory(), LATER)
    ledger.add_all([match, dataclasses.replace(match, record=make_record(2, source=joining))], ())
    (entry,) = ledger.entries.values()
    assert [alert.labels for alert, _ in entry.steps] == [OF_ACME, labels]
    later = apply(
        history_of(entry.steps[0][0]),
        AlertChange(ChangeKind.JOIN, known(entry.alert.id), NOON, False, (make_record(2, source=joining),)),
    )
    assert [each.alert.labels for each in later.entries.values()] == [labels]


def test_a_correlation_over_several_sources_has_the_labels_that_all_have() -> None:
    """An alert that opens with records of several sources has no label on which they do not agree."""
    use_labels({**LABELS, "acme-2": {"customer": "acme"}})
    for second, labels in (("acme", LABELS["acme"]), ("acme-2", {"customer": "acme"}), ("other", {})):
        records = make_record(1, source="acme"), make_record(2, minutes=1, source=second)
        (entry,) = apply(MemoryHistory(), opening(*records)).entries.values()
        assert entry.alert.labels == labels


@pytest.mark.parametrize(
    ("sources", "labels"), [(["acme"], LABELS["acme"]), (["acme", "other"], {}), (["other"], LABELS["other"]), ([], {})]
)
def test_a_missing_record_has_the_labels_of_the_source_where_it_is_missing(
    sources: Sequence[str], labels: Mapping[str, str]
) -> None:
    """An alert without records has the labels on which all sources agree whose records it can have."""
    use_labels(LABELS)
    ledger = Ledger(MemoryHistory(), LATER, lambda _: sources)
    change = missing(ChangeKind.OPEN, known("a"))
    assert change.match is not None
    ledger.add_all((), [change])
    (entry,) = ledger.entries.values()
    assert entry.alert.labels == labels


def test_self_alerts_of_a_source_have_its_labels() -> None:
    """A self-alert about a source has its labels; one about a receiver with the same name has not."""
    use_labels(LABELS)
    assert open_self_alert("key_refused", "acme", "401", "", NOON).labels == {
        **LABELS["acme"],
        "trouble": "key_refused",
    }
    assert open_self_alert("receiver_failing", "acme", "500", "", NOON).labels == {"trouble": "receiver_failing"}
