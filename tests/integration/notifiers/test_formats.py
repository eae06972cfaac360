"""The formats of a webhook's body, each checked with a parser that its readers use."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from standardwebhooks import Webhook

from actionwatch.base.model import Level, Message, Rendered, Status
from actionwatch.notifiers import webhook
from actionwatch.render.renderer import Renderer
from actionwatch.text.formats.messages import FORMATS, encode
from actionwatch.text.formats.ocsf import ACCESS_KINDS, ACCOUNT_KINDS, OCSF_VERSION, ocsf_event
from tests.cases import in_one_test
from tests.integration.notifiers.ends import KEY, RENDERER, TEMPLATES, deliver, options
from tests.integration.notifiers.http_end import HttpEnd, Reply, Request
from tests.unit.render.messages import (
    AT,
    CONSOLE,
    HOSTILE,
    LIST,
    PAGE,
    alert,
    hostile_message,
    linked,
    message,
    record,
    summary,
)

EVENTS = ("alert.opened", "alert.updated", "alert.resolved", "alerts.summary", "receiver.test")
OCSF = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF_VERSION))
OCSF_VALIDATORS = {
    uid: jsonschema_rs.validator_for(
        OCSF.get_class_schema(class_name=OCSF.lookup_class_name_from_uid(uid), profiles=[])
    )
    for uid in (6003, 3001, 3005, 2004, 0)
}


@pytest.fixture
def server() -> Iterator[HttpEnd]:
    """A receiver."""
    with HttpEnd(lambda _: Reply(200)) as end:
        yield end


def send(server: HttpEnd, sent: Message, form: str, **given: Any) -> Request:
    """Send once in a format, and return what arrived."""
    made = options(webhook.Options, url=f"{server.url}/hook", format=form, signing_key=KEY, **given)
    notifier = webhook.build(made, receiver="soar")
    try:
        deliver(notifier, "webhook", sent, made_of=made)
    finally:
        notifier.close()
    return server.requests[-1]


def shape(sent: Message, form: str) -> Any:
    """Return the body as its reader parses it."""
    return json.loads(encode(FORMATS[form][1](sent, "soar")))


@pytest.mark.parametrize("form", [*FORMATS, "own"])
@pytest.mark.parametrize("event", EVENTS)
def test_every_format_contains_every_message(server: HttpEnd, form: str, event: str) -> None:
    """Every format supports every type of message, with its id, its signature and its subject."""
    request = send(server, message(event, id="message-7"), form)
    assert request.headers["webhook-id"] == "message-7"
    Webhook(KEY).verify(request.body, dict(request.headers))
    assert "Cluster payments-prod deleted" in json.dumps(request.json)


@pytest.mark.parametrize("form", [*FORMATS, "own"])
def test_every_format_accepts_any_text(form: str) -> None:
    """Any audit text gives a body that is JSON and valid by its schema."""
    for name, event in itertools.product(HOSTILE, ("alert.opened", "alerts.summary")):
        sent = hostile_message(HOSTILE[name], event)
        if form == "own":
            rendered, failures = RENDERER.render(("own.json",), sent)
            assert failures == [] or name == "megabyte"  # more than a template may print
            json.loads(rendered.texts["own.json"].encode())
            continue
        document = shape(sent, form)
        if form == "ocsf":
            assert list(OCSF_VALIDATORS[document["class_uid"]].iter_errors(document)) == []


@pytest.mark.parametrize("event", EVENTS)
def test_every_format_has_a_place_for_the_link(server: HttpEnd, event: str) -> None:
    """The link is in each format where its readers look for it, and each body with it is valid."""
    sent, page = linked(message(event)), LIST if event == "alerts.summary" else PAGE
    assert send(server, sent, "actionwatch").json["data"]["url"] == page
    assert shape(sent, "cloudevents")["data"]["url"] == page
    body = shape(sent, "alertmanager")
    assert (body["externalURL"], body["alerts"][0]["generatorURL"]) == (CONSOLE, page)
    finding = shape(sent, "ocsf")
    assert list(OCSF_VALIDATORS[finding["class_uid"]].iter_errors(finding)) == []
    assert finding["unmapped"]["actionwatch"]["data"]["url"] == page
    if event != "alerts.summary":
        assert finding["finding_info"]["src_url"] == page
        assert "src_url" not in shape(message(event), "ocsf")["finding_info"]


# -- CloudEvents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", EVENTS)
def test_cloudevents_sdk_parses_the_event(server: HttpEnd, event: str) -> None:
    """The SDK of CloudEvents parses the event, with the right values."""
    sent = message(event, id="message-7")
    request = send(server, sent, "cloudevents")
    assert request.headers["content-type"] == "application/cloudevents+json"
    read = from_http(HTTPMessage(headers=dict(request.headers), body=request.body), JSONFormat())
    assert read.get_id() == "message-7"
    assert read.get_type() == f"actionwatch.{event}"
    assert read.get_subject() == (None if event == "alerts.summary" else "alert-1")
    assert read.get_source() == ("/actionwatch" if event == "alerts.summary" else "/actionwatch/acme")
    assert read.get_time() == AT
    assert read.get_data() == json.loads(encode(sent.data))


# -- Alertmanager ----------------------------------------------------------------------------------------------------------

ALERTMANAGER_KEYS = {
    "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels", "commonAnnotations",
    "externalURL", "alerts",
}  # fmt: skip
ALERT_KEYS = {"status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"}


@pytest.mark.parametrize("event", EVENTS)
def test_body_is_that_of_alertmanager(event: str) -> None:
    """The body has every key of Alertmanager, only texts as labels, and label names that Prometheus allows."""
    for text in HOSTILE.values():
        assert_alertmanagers(shape(hostile_message(text, event), "alertmanager"), event)


def assert_alertmanagers(body: Any, event: str) -> None:
    """Fail unless this is a body that Alertmanager could send."""
    [one] = body["alerts"]
    assert set(body) == ALERTMANAGER_KEYS
    assert set(one) == ALERT_KEYS
    assert body["version"] == "4"
    assert body["status"] == one["status"] == ("resolved" if event == "alert.resolved" else "firing")
    for labels in (one["labels"], one["annotations"], body["commonLabels"], body["groupLabels"]):
        assert all(isinstance(value, str) and value for value in labels.values())
        assert all(name.isascii() and name.isidentifier() for name in labels)
    for moment in (one["startsAt"], one["endsAt"]):
        assert datetime.fromisoformat(moment).tzinfo is UTC
    assert len(one["fingerprint"]) == 16


def test_firing_and_resolved_have_the_same_key() -> None:
    """A receiver for Alertmanager messages can resolve what it opened."""
    opened, resolved = (shape(message(event), "alertmanager") for event in ("alert.opened", "alert.resolved"))
    other = shape(Message("m", "alert.opened", AT, {**message().data, "id": "alert-2"}), "alertmanager")
    assert opened["groupKey"] == resolved["groupKey"] == "alert-1"
    assert opened["alerts"][0]["fingerprint"] == resolved["alerts"][0]["fingerprint"]
    assert other["alerts"][0]["fingerprint"] != opened["alerts"][0]["fingerprint"]
    assert opened["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
    assert resolved["alerts"][0]["endsAt"] == "2026-11-25T09:00:43.770Z"


def test_labels_are_those_of_the_rule_the_group_and_actionwatch() -> None:
    """The labels of the rule and the group are included, and do not replace those of actionwatch."""
    labels = {"team": "payments", "severity": "mine", "runs-on": "x", "": "empty", "9": "digit"}
    body = shape(message(labels=labels, group={"userName": "eve", "cluster": None}), "alertmanager")
    assert body["commonLabels"] == {
        "alertname": "cluster_deleted", "severity": "critical", "source": "acme", "userName": "eve", "team": "payments",
        "runs_on": "x", "_": "empty", "_9": "digit",
    }  # fmt: skip
    assert body["groupLabels"] == {"alertname": "cluster_deleted", "userName": "eve"}
    assert body["commonAnnotations"]["summary"] == "Cluster payments-prod deleted"


def test_summary_is_a_separate_alert() -> None:
    """A summary can be distinguished from an alert, and does not fire as a new one."""
    body = shape(summary("mute", id="m", alerts=[alert(level=level) for level in Level]), "alertmanager")
    assert body["commonLabels"] == {"alertname": "actionwatch_summary", "severity": "critical", "reason": "mute"}
    assert body["groupKey"] == "m"


# -- OCSF ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", EVENTS)
def test_events_are_valid_ocsf(event: str) -> None:
    """The events are valid by the OCSF schema."""
    kinds, operations = (
        ("DELETE_CLUSTER", *ACCOUNT_KINDS, *ACCESS_KINDS),
        ("CREATE", "READ", "UPDATE", "DELETE", None, "OTHER"),
    )
    for kind, operation in itertools.product(kinds, operations):
        records = [record(), record(action_kind=kind, operation=operation)]
        sent = summary() if event == "alerts.summary" else message(event, records=records, count=2)
        for body in (shape(sent, "ocsf"), *map(ocsf_event, sent.data.get("records", []))):
            errors = [error.message for error in OCSF_VALIDATORS[body["class_uid"]].iter_errors(body)]
            assert (kind, operation, errors) == (kind, operation, [])
            assert body["type_uid"] == body["class_uid"] * 100 + body["activity_id"]
            assert body["category_uid"] == body["class_uid"] // 1000


@in_one_test(
    ("changes", "class_uid", "activity"),
    [
        ({"action_kind": "DELETE_CLUSTER", "operation": "DELETE"}, 6003, "Delete"),
        ({"action_kind": "SOMETHING_NEW", "operation": None}, 6003, "SOMETHING_NEW"),
        ({"action_kind": "INVITE_USER", "operation": "CREATE"}, 3001, "Create"),
        ({"action_kind": "DEACTIVATE_USER", "operation": "UPDATE"}, 3001, "Disable"),
        ({"action_kind": "EDIT_BUNDLE_USER"}, 3001, "EDIT_BUNDLE_USER"),
        ({"action_kind": "LINK_USER", "operation": "CREATE"}, 3005, "Assign Privileges"),
        ({"action_kind": "UNLINK_USER", "operation": "DELETE"}, 3005, "Revoke Privileges"),
        ({"action_kind": "ADMIN_SET_ACCESS_LEVEL"}, 3005, "ADMIN_SET_ACCESS_LEVEL"),
    ],
)
def test_kind_determines_the_ocsf_class(changes: dict[str, Any], class_uid: int, activity: str) -> None:
    """The class of a record's event depends on the kind of the action."""
    body = ocsf_event(message(records=[record(**changes)]).data["records"][0])
    assert (body["class_uid"], body["activity_name"]) == (class_uid, activity)


@pytest.mark.parametrize(
    ("event", "status", "shown"),
    [
        ("alert.opened", Status.OPEN, (1, "Create", "New")),
        ("alert.updated", Status.OPEN, (2, "Update", "New")),
        ("alert.updated", Status.ACKED, (2, "Update", "In Progress")),
        ("alert.resolved", Status.RESOLVED, (3, "Close", "Resolved")),
        ("receiver.test", Status.OPEN, (99, "receiver.test", "New")),
    ],
)
def test_alert_is_one_finding_and_repeats_no_action(event: str, status: Status, shown: tuple[int, str, str]) -> None:
    """The messages of an alert are one finding that is created, updated and closed, and never a second action."""
    body = shape(message(event, status=status), "ocsf")
    assert (body["class_uid"], body["finding_info"]["uid"]) == (2004, "alert-1")
    assert (body["activity_id"], body["activity_name"], body["status"]) == shown
    assert body["finding_info"]["analytic"] == {
        "type_id": 1,
        "type": "Rule",
        "uid": "rule-1",
        "name": "cluster_deleted",
    }


def test_alert_without_records_is_a_finding_too() -> None:
    """A self-alert, or an alert about an absence, has no evidence."""
    body = shape(message(records=[]), "ocsf")
    assert body["class_uid"] == 2004
    assert "evidences" not in body


def test_finding_contains_user_action_and_alert() -> None:
    """A finding contains the alert, the user, the cluster and the record."""
    body = shape(message(count=3, first_at=AT - timedelta(hours=1), id="m7", level=Level.HIGH), "ocsf")
    [evidence] = body["evidences"]
    assert evidence["actor"]["user"]["name"] == "eve@example.com"
    assert evidence["api"]["operation"] == "DELETE_CLUSTER"
    assert {"type": "cluster", "uid": "c-1", "name": "payments-prod"} in body["resources"]
    assert (body["metadata"]["uid"], body["metadata"]["correlation_uid"]) == ("m7", "alert-1")
    assert (body["severity"], body["count"], body["end_time"] - body["start_time"]) == ("High", 3, 3_600_000)
    assert evidence["data"]["raw"]["action"] == "DELETE_CLUSTER"
    assert body["unmapped"]["actionwatch"]["data"]["rule"]["name"] == "cluster_deleted"


def test_exported_record_is_valid_ocsf() -> None:
    """An exported record is valid OCSF."""
    body = ocsf_event(message(records=[record(user_name=None, description=None)]).data["records"][0])
    assert list(OCSF_VALIDATORS[6003].iter_errors(body)) == []


# -- custom templates ------------------------------------------------------------------------------------------------------


def test_template_defines_the_body(server: HttpEnd) -> None:
    """A template of the operator defines the body."""
    sent = message(level=Level.LOW, status=Status.ACKED)
    body = send(server, sent, "own").json
    assert list(body) == ["kind", "at", "what", "level", "data"]
    assert (body["kind"], body["at"], body["level"]) == ("alert.opened", "2026-11-25 09:00:43 UTC", "low")


@pytest.mark.parametrize("text", ["{{ nothing }}", "not json", "{% if %}", None])
def test_failed_template_is_replaced_by_the_contract_body(server: HttpEnd, tmp_path: Path, text: str | None) -> None:
    """If the template fails, the body of the contract is sent."""
    if text is not None:
        (tmp_path / "mine.json.j2").write_text(text)
    made = options(webhook.Options, url=f"{server.url}/", format="mine")
    rendered, failures = Renderer([tmp_path, TEMPLATES]).render(webhook.templates(made), message())
    assert len(failures) == 1
    notifier = webhook.build(made, receiver="soar")
    for texts in (rendered, Rendered()):
        notifier.send(message(), texts, None)
        assert server.requests[-1].json == json.loads(encode(FORMATS["actionwatch"][1](message(), "soar")))
    notifier.close()


def test_missing_template_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    """A misspelt format is found when the configuration is loaded."""
    made = options(webhook.Options, url="https://x.example", format="cloudevent")
    assert Renderer([tmp_path, TEMPLATES]).missing(webhook.templates(made)) == ["cloudevent.json"]
    assert RENDERER.missing(webhook.templates(options(webhook.Options, url="https://x.example", format="own"))) == []
