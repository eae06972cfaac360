"""The ledger opens, joins and resolves the alerts of a batch; how records are cut into batches makes no difference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.alerts.ledger import Ledger
from actionwatch.base.model import Alert, AlertChange, ChangeKind, CorrelatedAlert, Level, Match, Record, Status
from actionwatch.service.simulation import MemoryHistory
from tests.builders import NOON, make_alert, make_match, make_record

MINUTE = timedelta(minutes=1)
LATER = NOON + timedelta(hours=9)


def apply(history: MemoryHistory, *changes: AlertChange) -> Ledger:
    """Apply changes in one batch, and save what they make."""
    ledger = Ledger(history, LATER, "acme")
    ledger.add_all((), changes)
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
    """Make an alert that somebody resolved."""
    return make_alert(alert_id, status=Status.RESOLVED, resolved_by="eve", resolved_at=NOON)


@given(st.lists(st.tuples(st.integers(0, 120), st.sampled_from(["eve", "bob"])), max_size=40), st.data())
def test_batches_make_no_difference(drawn: list[tuple[int, str]], data: st.DataObject) -> None:
    """The same matches give other alerts, or count otherwise, in one batch than in many."""
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
    """Routes see only the last of the matches that one batch brings."""
    ledger = Ledger(MemoryHistory(), LATER)
    ledger.add_all([make_match(make_record(n, minutes=n)) for n in range(3)], ())
    (entry,) = ledger.entries.values()
    assert [(alert.count, record and record.occurred_at) for alert, record in entry.steps] == [
        (n + 1, NOON + n * MINUTE) for n in range(3)
    ]
    assert [record.occurred_at for record in entry.records] == [NOON + n * MINUTE for n in range(3)]


def test_records_join_a_resolved_alert_in_silence() -> None:
    """Records that join an alert that somebody resolved are lost, or open it again."""
    history = history_of(resolved("a"))
    records: tuple[Record, ...] = (make_record(5, minutes=-5), make_record(6, minutes=6))
    apply(history, AlertChange(ChangeKind.JOIN, known("a"), NOON, False, records, Level.CRITICAL))
    alert = history.alerts["a"]
    assert (alert.status, alert.count, alert.level) == (Status.RESOLVED, 3, Level.CRITICAL)
    assert (alert.first_at, alert.last_at) == (NOON - 5 * MINUTE, NOON + 6 * MINUTE)


def test_what_is_missing_too_joins_the_alert() -> None:
    """A second missing group is not named in the alert that reports it, or is named twice."""
    history = history_of(make_alert("a", body="c-1 is missing"))
    change = missing(ChangeKind.JOIN, known("b", "a"))
    apply(history, change)
    apply(history, change)
    assert history.alerts["a"].body.splitlines() == ["c-1 is missing", "c-2 is missing"]
    for n in range(40):
        apply(history, missing(ChangeKind.JOIN, known(f"c-{n}", "a"), f"{n} lacks"))
    assert len(history.alerts["a"].body.splitlines()) == 21
    assert history.alerts["a"].body.endswith("… and more.")


def test_what_is_missing_opens_an_alert_where_the_shared_one_is_resolved() -> None:
    """A missing group joins an alert that is resolved, where nobody sees it."""
    history, member = history_of(resolved("a")), known("b", "a")
    apply(history, missing(ChangeKind.JOIN, member))
    assert (member.alert_id, history.alerts["b"].status, history.alerts["b"].count) == ("b", Status.OPEN, 0)
    assert history.alerts["b"].source == "acme"
    assert history.alerts["a"] == resolved("a")


def test_what_is_expected_again_opens_another_alert_for_all_of_a_batch() -> None:
    """A group that is missing again reopens a resolved alert, or what joins it in the same batch stays with the old one."""
    history, first, second = history_of(resolved("a")), known("a"), known("b", "a")
    apply(history, missing(ChangeKind.OPEN, first), missing(ChangeKind.JOIN, second, "c-3 is missing"))
    assert history.alerts["a"] == resolved("a")
    assert first.alert_id == second.alert_id != "a"
    assert history.alerts[first.alert_id].body.splitlines() == ["c-2 is missing", "c-3 is missing"]
    apply(history, AlertChange(ChangeKind.RESOLVE, first, LATER, True))
    assert history.alerts[first.alert_id].resolved_at == LATER


def test_an_alert_resolves_once() -> None:
    """An alert resolves a second time, at another time or by another hand."""
    history = history_of(make_alert("a"), resolved("b"))
    for name in ("a", "b", "gone"):
        apply(history, AlertChange(ChangeKind.RESOLVE, known(name), LATER))
        assert not apply(history, AlertChange(ChangeKind.RESOLVE, known(name), LATER + MINUTE)).entries
    assert (history.alerts["a"].resolved_at, history.alerts["a"].resolved_by) == (LATER, "actionwatch")
    assert history.alerts["b"] == resolved("b")


def test_what_people_do_not_learn_of_changes_no_alert() -> None:
    """An alert that is only stored opens, joins or resolves something."""
    history = history_of(make_alert("a"))
    alert = known("a")
    assert not apply(history, AlertChange(None, alert, NOON, False, (make_record(3),))).entries
    assert not apply(history, AlertChange(ChangeKind.JOIN, known("gone"), NOON, False, (make_record(3),))).entries
    assert alert.alert_id == "a"
