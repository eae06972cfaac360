"""Dead letters: which ones a decision reaches, what it answers, what the history shows, and whether the sender wakes."""

from __future__ import annotations

from actionwatch.base.delivery import Retried
from actionwatch.base.model import Event
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.store import delivery_transitions
from actionwatch.store.outbox import DeliveryFilter
from tests.builders import make_delivery
from tests.integration.delivery.kit import Desk


def test_decisions_reach_what_is_dead_and_can_be_sent(desk: Desk) -> None:
    """A retry leaves what it cannot send, a drop takes the rest, and each is answered, noted and announced once."""
    alert_id, other_id = desk.match_records(), desk.match_records(user_name="bob")
    desk.deliver()
    hook, gone = make_delivery(alert_id, ordinal=7), make_delivery(other_id, "gone")
    summary = make_delivery(alert_id, ordinal=8, event=Event.SUMMARY)
    with desk.database.write() as connection:
        delivery_transitions.enqueue(connection, [hook, gone, summary])
        for row in (hook, gone, summary):
            delivery_transitions.bury(connection, row, "refused")
    woken: list[str] = []
    letters = DeadLetters(desk.database, ["hook", "mail"], desk.clock, lambda: woken.append("sender"))

    assert letters.retry(DeliveryFilter(ids=[hook.id, gone.id]), "sam") == Retried(0, {"gone": 1}), "all or none"
    assert {row.status for row in desk.all_rows() if row.id in (hook.id, gone.id)} == {"dead"}
    assert not woken
    for count in (2, 0):
        assert letters.retry(DeliveryFilter(), "sam") == Retried(count, {"gone": 1})
        assert woken == ["sender"]
    assert {row.id for row in desk.all_rows() if row.status == "dead"} == {gone.id}
    assert desk.history(alert_id)[-1] == "retried: opened goes to hook again, by sam"
    assert "goes to" not in " ".join(desk.history(other_id))

    assert letters.retry(DeliveryFilter(ids=[gone.id]), "sam", "mail") == Retried(1, {})
    assert desk.history(other_id)[-1] == "retried: opened goes to mail in place of gone, by sam"
    assert woken == ["sender", "sender"]
    with desk.database.write() as connection:
        moved = next(row for row in desk.all_rows() if row.id == gone.id)
        delivery_transitions.bury(connection, moved, "refused")
    assert [letters.drop(DeliveryFilter(), "sam") for _ in range(2)] == [1, 0]
    assert desk.history(other_id)[-1] == "dropped: opened for mail is not sent, by sam"
