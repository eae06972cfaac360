"""The messages about an alert: the first one, and those that follow it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.errors import Fault
from actionwatch.base.model import Receipt, Record
from actionwatch.delivery import compose
from actionwatch.delivery.compose import freeze, thaw
from actionwatch.store import delivery_transitions
from tests.builders import make_delivery, make_message, make_record
from tests.integration.delivery.delivering import GROUPED, history_of, hook, match_record
from tests.integration.kit import Post, settle
from tests.waiting import wait_until

# -- one message -------------------------------------------------------------------------------------------------------


def test_message_contains_the_alert_and_ends_sent(post: Post) -> None:
    """A message contains its alert with records and fields, has the id of the delivery, and ends as sent."""
    match_record(post)
    post.clock.advance(seconds=3)
    post.deliver()
    (message,) = hook(post).sent
    (row,) = post.rows()
    assert (message.id, message.type, message.timestamp) == (row.id, "alert.opened", post.clock())
    assert message.data["count"] == 1
    assert [record["userName"] for record in message.data["records"]] == ["eve"]
    assert message.fields == (
        ("timestamp", "2026-11-25T12:00:00.000Z"),
        ("userName", "eve"),
        ("actionKind", "DELETE_CLUSTER"),
    )
    assert hook(post).texts[0].texts == {"t.txt": "alert.opened"}
    assert (row.status, row.attempts, row.sent_at) == (DeliveryStatus.SENT, 1, post.clock())
    assert history_of(post, row.alert_id) == ["attempt 1: alert.opened accepted"]
    assert hook(post).is_closed


@pytest.mark.parametrize("odd", ["\ud800 \x00 ü", "\x00 ü 😀", 2**70, -1.5, {"a": [None, {}]}], ids=repr)
def test_frozen_message_is_read_back_unchanged(odd: object) -> None:
    """A frozen message is read back unchanged, including unusual characters and numbers."""
    message = make_message({"title": odd, "late": None, "n": 1.5}, fields=(("a", "b\n"),))
    assert thaw(message.id, freeze(message)) == message


def test_receiver_reference_is_passed_to_later_messages(post: Post) -> None:
    """The reference that a receiver returns is passed with each later message of the alert; its note is stored."""
    hook(post).answer = lambda message: Receipt(reference="ts-1", note="bob was refused")
    match_record(post)
    post.deliver()
    match_record(post, 2, minutes=1)
    post.clock.advance(minutes=1)
    post.deliver()
    assert hook(post).references == [None, "ts-1"]
    assert post.rows()[0].why == "bob was refused"
    assert history_of(post, post.rows()[0].alert_id)[0] == "attempt 1: alert.opened accepted; bob was refused"


def test_failed_template_does_not_stop_a_message(post: Post) -> None:
    """A message whose template fails is still sent, and the history shows the failure."""
    post.renderer.failures = (Fault("t.txt", 3, 1, "no such field"),)
    match_record(post)
    post.deliver()
    assert post.states() == ["hook opened sent"]
    assert history_of(post, post.rows()[0].alert_id)[0] == "template: t.txt:3:1: no such field"
    assert post.open_troubles() == ["template_failing t.txt"]


def test_failure_of_a_template_is_settled_when_it_is_replaced(post: Post) -> None:
    """A replica that does not lead settles its own report: the files of the leader may never change."""
    post.renderer.failures = (Fault("t.txt", 3, 1, "no such field"),)
    match_record(post)
    with post.delivering() as worker:
        settle(worker)
        assert post.open_troubles() == ["template_failing t.txt"]
        post.renderer.version += 1
        worker.run_once()
    assert post.open_troubles() == []


def test_failure_of_a_template_that_was_replaced_is_not_reported(post: Post) -> None:
    """Nobody would settle the report of a failure that is recorded after the template was repaired."""
    post.renderer.failures = (Fault("t.txt", 3, 1, "no such field"),)
    hook(post).gate.clear()
    match_record(post)
    with post.delivering() as worker:
        worker.run_once()
        wait_until(lambda: hook(post).sent, "the attempt")
        post.renderer.version += 1
        hook(post).gate.set()
        settle(worker)
    assert history_of(post, post.rows()[0].alert_id)[0] == "template: t.txt:3:1: no such field"
    assert post.open_troubles() == []


def test_alert_that_cannot_be_rendered_becomes_a_dead_letter(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert that cannot become a message, or that is no longer stored, is a dead letter; the others are sent."""

    def show(record: Record, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
        return (("user", {"bob": "bob"}[record.user_name or ""]),)

    monkeypatch.setattr(compose, "shown_texts", show)
    post.store(make_record(raw="no json", user_name="bob", minutes=-100), make_record(2))
    post.matcher(GROUPED).run_once()
    post.open_alerts("gone")
    with post.database.write() as connection:
        delivery_transitions.enqueue(connection, [make_delivery("unknown")])
    post.deliver()
    assert sorted((row.status.value, row.why or "") for row in post.rows()) == [
        ("dead", "cannot be written: KeyError"),
        ("dead", "its alert is no longer in the store"),
        ("sent", ""),
        ("sent", ""),
    ]


# -- what follows the first message ------------------------------------------------------------------------------------
