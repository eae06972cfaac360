"""The formats of messages of streams: what other tools read, with the place in the stream."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat

from actionwatch.base.model import Silence, Status
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.store import alert_history, alerts, silences
from actionwatch.store.database import Database
from actionwatch.streams.driver import StreamMessage
from tests.builders import NOON, make_alert, make_record
from tests.integration.kit import Post
from tests.integration.notifiers.test_formats import OCSF_VALIDATORS
from tests.integration.streams.kit import HOUR, Bench, down


def everything(database: Database, form: str) -> list[StreamMessage]:
    """Return what three streams send of a record, a late one, an alert, decisions and a silence."""
    benches = [Bench(database, name=what, what=what, format=form, key=key) for what, key in _KEYS.items()]
    benches[0].store(make_record(1, minutes=1, operation="DELETE"), proved=NOON + 2 * HOUR)
    benches[0].run()
    benches[0].store(make_record(2, minutes=2, action_kind="INVITE_USER"))
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(), "group")])
        silences.write(connection, Silence("silence-1", ("rule=x",), "amy", "planned", NOON, NOON + HOUR))
    OperatorActions(database, Post(database).addressing, benches[0].clock).acknowledge("alert-1", "amy", "on it")
    for bench in benches:
        bench.run()
    return [message for bench in benches for message in bench.destination.log]


_KEYS = {"records": "source", "alerts": "alert", "decisions": "alert"}


def test_ocsf_is_valid(database: Database) -> None:
    """Records, alerts, decisions and statements are valid events of OCSF, each with its id and offset."""
    for message in everything(database, "ocsf"):
        event = json.loads(message.body)
        assert list(OCSF_VALIDATORS[event["class_uid"]].iter_errors(event)) == []
        own = event["unmapped"]["actionwatch"]
        assert (own["id"], own["offset"]) == (message.id, message.offset)


def test_sdk_of_cloudevents_parses_the_events(database: Database) -> None:
    """Each message is an event in structured mode; the place in the stream is in its extensions."""
    for message in everything(database, "cloudevents"):
        headers = {"content-type": message.content_type}
        event = from_http(HTTPMessage(headers=headers, body=message.body), JSONFormat())
        assert event.get_id() == message.id
        assert event.get_extension("offset") == message.offset
        assert (event.get_extension("late") is None) == (message.kind != "record")


def test_decisions_say_who_decided_what(database: Database) -> None:
    """A decision has its stage, the words of the person, and the alert as it is then; a silence is a decision too."""
    found = [json.loads(each.body) for each in everything(database, "actionwatch") if each.kind == "decision"]
    decided = {each["type"]: each["data"] for each in found}
    assert decided["decision.acknowledged"]["what"] == "by amy: on it"
    assert decided["decision.acknowledged"]["alert"]["acked_by"] == "amy"
    assert decided["decision.silence"]["author"] == "amy"
    assert len(found) == 2


@pytest.mark.parametrize("what", ["alerts", "decisions"])
def test_what_people_do_later_changes_no_kept_message(database: Database, what: str) -> None:
    """A message that waits says what was so when it was read."""
    bench = Bench(database, what=what, key="alert")
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(), "group")])
        alert_history.append(connection, [alert_history.Entry(NOON, "alert-1", "noted", "by amy: look")])
    bench.destination.answer = down
    bench.run()
    before = bench.kept()
    with database.write() as connection:
        alerts.update(connection, make_alert(status=Status.RESOLVED, resolved_by="amy", resolved_at=NOON))
    bench.destination.answer = lambda message: None
    bench.clock.advance(minutes=2)
    bench.run()
    assert bench.destination.log[0].body == before[0].body


def test_own_template_writes_the_message(database: Database) -> None:
    """The operator's template gets the record, with its offset and whether it is late."""
    bench = Bench(
        database, render=lambda message: f"{message.data['offset']} {message.data['late']} {message.data['userName']}"
    )
    bench.store(make_record(1), proved=NOON + timedelta(minutes=1))
    bench.run()
    assert [message.body for message in bench.destination.log] == [b"1 False eve"]
