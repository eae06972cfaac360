"""The promises of the Slack notifier."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Level, Rendered
from actionwatch.notifiers import slack
from actionwatch.notifiers._blocks import MAX_PAYLOAD_CHARS, bounded
from tests.cases import in_one_test
from tests.integration.notifiers.ends import RENDERER, TOKEN, deliver, options, slack_error, slack_reply, slack_texts
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.unit.render.messages import PAGE, linked, message, record

HEAD = "C0123456789:1700000000.000100"


@pytest.fixture
def server() -> Iterator[HttpEnd]:
    """Slack's Web API."""
    with HttpEnd(slack_reply) as end:
        yield end


@pytest.fixture
def notifier(server: HttpEnd) -> Iterator[slack.SlackNotifier | slack.IncomingWebhookNotifier]:
    """A bot in a channel."""
    given = {"token": TOKEN, "channel": "#alerts", "base_url": f"{server.url}/api"}
    made = slack.build(options(slack.Options, **given), receiver="security-slack")
    yield made
    made.close()


def test_first_message_returns_its_reference(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """Later messages find the head message, even if the configuration has only the name of the channel."""
    receipt = deliver(notifier, "slack", message())
    assert receipt.reference == HEAD
    assert receipt.note is None
    assert [request.path for request in server.requests] == ["/api/chat.postMessage"]
    assert server.requests[0].json["channel"] == "#alerts"


def test_update_changes_the_head_and_not_the_thread(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """An update of the count posts nothing in the channel or the thread."""
    receipt = deliver(notifier, "slack", message("alert.updated", count=7), HEAD)
    assert receipt.reference is None
    [request] = server.requests
    assert request.path == "/api/chat.update"
    assert (request.json["channel"], request.json["ts"]) == ("C0123456789", "1700000000.000100")
    assert request.json["parse"] == "none"
    assert "×7" in request.json["text"]


def test_resolve_changes_the_head_and_is_posted_in_the_thread(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """A resolve is posted in the thread too, for those who follow it."""
    deliver(notifier, "slack", message("alert.resolved", count=3, resolved_by="sam <!here>"), HEAD)
    update, reply = server.requests
    assert update.path == "/api/chat.update"
    assert update.json["text"].startswith("Resolved")
    assert reply.path == "/api/chat.postMessage"
    assert reply.json["thread_ts"] == "1700000000.000100"
    assert reply.json["text"] == "Resolved by sam &lt;!here&gt;, 3 matches in total."


def test_message_without_a_head_posts_one(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """An update whose alert has no message here posts one."""
    assert deliver(notifier, "slack", message("alert.updated")).reference == HEAD
    assert deliver(notifier, "slack", message("alert.resolved")).reference == HEAD
    assert {request.path for request in server.requests} == {"/api/chat.postMessage"}


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message", "edit_window_closed"])
def test_deleted_head_is_posted_again(server: HttpEnd, notifier: slack.SlackNotifier, error: str) -> None:
    """If somebody deleted the message of an alert, the next update posts it again."""
    server.queue.append(slack_error(error))
    receipt = deliver(notifier, "slack", message("alert.updated"), "C0123456789:1.0")
    assert receipt.reference == HEAD
    assert receipt.note is not None
    assert error in receipt.note


@pytest.mark.parametrize("error", ["channel_not_found", "is_archived", "not_in_channel"])
@pytest.mark.parametrize("event", ["alert.updated", "alert.resolved"])
def test_alert_whose_channel_is_gone_is_posted_in_the_configured_one(
    server: HttpEnd, notifier: slack.SlackNotifier, error: str, event: str
) -> None:
    """The remedy of the error, another channel in the configuration, also helps the alerts that are open."""
    server.queue.append(slack_error(error))
    receipt = deliver(notifier, "slack", message(event), "C0000000OLD:1.0")
    assert receipt.reference == HEAD
    assert error in (receipt.note or "")
    assert server.requests[-1].json["channel"] == "#alerts"


@pytest.mark.parametrize("error", ["channel_not_found", "is_archived", "not_in_channel"])
def test_update_in_a_channel_that_is_gone_has_the_remedy(
    server: HttpEnd, notifier: slack.SlackNotifier, error: str
) -> None:
    """As long as the configuration names the channel that is gone, an update fails, with the remedy."""
    server.queue += [slack_error(error), slack_error(error)]
    with pytest.raises(PermanentDeliveryError, match=f"Slack answered {error}: .*channel"):
        deliver(notifier, "slack", message("alert.updated"), "C0123456789:1.0")


def test_resolve_succeeds_without_the_thread(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """If the thread is lost, the resolve still counts as sent."""
    server.queue += [Reply(200, b'{"ok": true}'), slack_error("thread_not_found")]
    receipt = deliver(notifier, "slack", message("alert.resolved"), HEAD)
    assert "could not reply in the thread" in (receipt.note or "")


@pytest.mark.parametrize("error", ["invalid_blocks", "invalid_attachments", "msg_blocks_too_long"])
def test_refused_blocks_are_sent_as_text(server: HttpEnd, notifier: slack.SlackNotifier, error: str) -> None:
    """If Slack refuses the blocks of a template, the text is sent, and the failure is reported."""
    server.queue.append(slack_error(error))
    receipt = deliver(notifier, "slack", message())
    assert error in (receipt.note or "")
    sent = server.requests[-1].json
    assert "Cluster payments-prod deleted" in sent["text"]
    assert not sent.get("blocks")
    assert not sent.get("attachments")


def test_blocks_refused_by_an_incoming_webhook_are_sent_as_text(server: HttpEnd) -> None:
    """If an incoming webhook refuses the blocks of a template, the text is sent, and the failure is reported."""
    made = slack.build(options(slack.Options, webhook_url=f"{server.url}/services/T0/B0/xyz"), receiver="slack")
    server.queue.append(Reply(400, b"invalid_blocks"))
    receipt = deliver(made, "slack", message())
    made.close()
    assert "invalid_blocks" in (receipt.note or "")
    assert "blocks" not in server.requests[-1].json


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("invalid_auth", "xoxb-"),
        ("channel_not_found", "invite the app"),
        ("not_in_channel", "/invite"),
        ("is_archived", "unarchive"),
        ("missing_scope", "chat:write"),
        ("some_new_error", "some_new_error"),
    ],
)
def test_refusal_has_a_remedy(server: HttpEnd, notifier: slack.SlackNotifier, error: str, remedy: str) -> None:
    """The error for each code of Slack contains a remedy."""
    server.queue.append(slack_error(error, response_metadata={"messages": ["[ERROR] details"]}))
    with pytest.raises(PermanentDeliveryError, match=remedy) as caught:
        deliver(notifier, "slack", message())
    assert caught.value.response == "[ERROR] details"


@pytest.mark.parametrize("body", [b"", b"<html>maintenance</html>", b"[]", b"null", b"{}", b'{"ok": false}', b"\xff"])
def test_response_of_another_server_is_transient(server: HttpEnd, notifier: slack.SlackNotifier, body: bytes) -> None:
    """The maintenance page of a proxy is a temporary error."""
    server.queue.append(Reply(200, body))
    with pytest.raises(TransientDeliveryError):
        deliver(notifier, "slack", message())


def test_colour_shows_the_level_and_times_are_local_to_the_reader(
    server: HttpEnd, notifier: slack.SlackNotifier
) -> None:
    """The colour shows the level, and times are in the time zone of the reader."""
    deliver(notifier, "slack", message(level=Level.HIGH))
    [attachment] = server.requests[0].json["attachments"]
    assert attachment["color"] == "#f4511e"
    assert "<!date^1795597243^{date_short_pretty} {time_secs} (09:00:43 UTC)|2026-11-25 09:00:43 UTC>" in json.dumps(
        attachment
    )


def test_lengths_are_within_the_limits(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """No text is longer than Slack accepts."""
    long = "<&>" * 20_000
    records = [record(n, user_name=long, description=long) for n in range(50)]
    fields = tuple((long, long) for _ in range(30))
    deliver(notifier, "slack", message(title=long, body=long, runbook=long, records=records, fields=fields, count=99))
    payload = server.requests[0].json
    texts = list(slack_texts(payload))
    assert sum(len(text["text"]) for text in texts) <= MAX_PAYLOAD_CHARS + 4_000
    assert len(payload["text"]) <= 4_000
    for attachment in payload["attachments"]:
        for block in attachment["blocks"]:
            assert len(block.get("text", {}).get("text", "")) <= 3_000
            assert len(block.get("fields", [])) <= 10
            assert all(len(text["text"]) <= 2_000 for text in block.get("fields", []) + block.get("elements", []))
    for text in texts:
        assert not text["text"].replace("&lt;", "").replace("&gt;", "").replace("&amp;", "").count("&")


@in_one_test(
    "payload",
    [
        {},
        {"text": ""},
        {"text": 7, "blocks": "x", "attachments": None},
        {"blocks": [None, 1, "x", {"type": "section", "text": "plain"}, {"elements": [1]}]},
        {"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 999}}] * 99},
        {"attachments": [None, {"blocks": [None]}, {"text": "x" * 9_999, "fallback": 1}] * 50},
    ],
)
def test_limiting_lengths_never_fails(payload: dict[str, Any]) -> None:
    """Any template output can be shortened."""
    made = bounded(payload, fallback="the title")
    assert made["text"]
    assert len(made.get("blocks", [])) <= 50
    assert len(made.get("attachments", [])) <= 20


def test_empty_rendering_sends_the_title(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """An empty rendering is replaced by the title."""
    notifier.send(message(title="deleted <!channel>"), Rendered({}), None)
    assert server.requests[0].json["text"] == "[critical] deleted &lt;!channel&gt;"


def test_proxies_of_the_environment_are_not_used(
    server: HttpEnd, notifier: slack.SlackNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is not used."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    deliver(notifier, "slack", message())
    assert len(server.requests) == 1


@in_one_test(
    ("given", "fault"),
    [
        ({}, "one of token or"),
        ({"token": "x"}, "requires a channel"),
        ({"webhook_url": "https://hooks.example/x", "channel": "C1"}, "channel requires a token"),
        ({"token": "x", "webhook_url": "https://hooks.example/x", "channel": "C1"}, "only one of"),
        ({"token": "x", "token_file": __file__, "channel": "C1"}, "only one of"),
        ({"webhook_url": "http://hooks.example/x"}, "https"),
        ({"token": "x", "channel": "C1", "base_url": "http://slack.example/"}, "https"),
        ({"token": "x", "channel": "C1", "app_token": "xapp-1", "app_token_file": __file__}, "only one of"),
        ({"webhook_url": "https://hooks.example/x", "app_token": "xapp-1"}, "app_token requires a token"),
        ({"token": "x", "channel": "C1", "socket": "x"}, "Extra inputs"),
        ({"token": "x\ny", "channel": "C1"}, "control characters"),
        ({"token": "x", "channel": "C1", "ca_file": "missing.pem"}, "cannot use the certificates in"),
        ({"token": "x", "channel": "C1", "proxy": "socks://x"}, "http://host:port"),
    ],
)
def test_invalid_options_are_refused(given: dict[str, Any], fault: str) -> None:
    """Invalid options are refused when the configuration is loaded."""
    with pytest.raises(ValidationError, match=fault):
        options(slack.Options, **given)


def test_shipped_template_gives_text_blocks_and_colour() -> None:
    """The shipped template gives a message that Slack accepts."""
    rendered, failures = RENDERER.render(("slack.json",), message(count=60, records=[record(n) for n in range(50)]))
    assert failures == []
    payload = json.loads(rendered.texts["slack.json"])
    assert set(payload) == {"text", "blocks", "attachments"}
    assert "and 55 more" in rendered.texts["slack.json"]


def test_preview_looks_like_slack() -> None:
    """The preview shows what people see, without markup."""
    made = options(slack.Options, token=TOKEN, channel="C1", app_token="xapp-1")
    sent = message(title="deleted <!channel> & more")
    rendered, _ = RENDERER.render(("slack.json",), sent)
    files = slack.preview(made, sent, rendered, receiver="slack")
    lines = files["slack.txt"].splitlines()
    assert lines[0] == "🔴 *Critical*  deleted <!channel> & more  `DELETE_CLUSTER`"
    assert lines[-1] == "▌ [Acknowledge]  [Silence 1 h]  [Resolve]"
    assert any("2026-11-25 09:00:43 UTC" in line for line in lines)
    sent = linked(sent)
    files = slack.preview(made, sent, RENDERER.render(("slack.json",), sent)[0], receiver="slack")
    assert files["slack.txt"].splitlines()[-2].endswith(f"open in the console ({PAGE})")
    assert set(json.loads(files["slack.json"])) == {"text", "blocks", "attachments"}


ROW: dict[str, Any] = {"type": "section", "text": {"type": "mrkdwn", "text": "row"}}


@pytest.mark.parametrize("place", ["blocks", "attachments"])
def test_buttons_are_within_the_limit_of_blocks(server: HttpEnd, place: str) -> None:
    """The block with the buttons counts too, and so do the notes of two presses: Slack refuses 51."""
    rows = [ROW] * 60
    [sent] = sent_with_buttons(server, {"blocks": rows} if place == "blocks" else {"attachments": [{"blocks": rows}]})
    blocks = sent["blocks"] if place == "blocks" else sent["attachments"][0]["blocks"]
    assert len(blocks) == 48
    assert blocks[-1]["type"] == "actions"


@pytest.mark.parametrize("more", [{}, {"blocks": []}, {"attachments": [{"color": "#f00", "text": "old"}]}])
def test_template_without_blocks_has_buttons(server: HttpEnd, more: dict[str, Any]) -> None:
    """A template with only a text, or with attachments of the old form, has the buttons below its text."""
    [sent] = sent_with_buttons(server, {"text": "*deleted* " + "x" * 3500, **more})
    shown, buttons = sent["blocks"]
    assert shown["text"]["text"].startswith("*deleted* xxx")
    assert len(shown["text"]["text"]) <= 3000
    assert buttons["type"] == "actions"
    assert sent.get("attachments") == more.get("attachments")


def test_text_above_the_buttons_is_within_the_limit_of_all_texts(server: HttpEnd) -> None:
    """The text shown above the buttons counts too, before the attachments, which are cut."""
    old = {"fallback": "z" * 900, "text": "z" * 3000}
    [sent] = sent_with_buttons(server, {"text": "z" * 4000, "attachments": [old] * 20})
    shown = json.dumps([sent["blocks"], sent["attachments"]])
    assert MAX_PAYLOAD_CHARS * 0.9 < shown.count("z") <= MAX_PAYLOAD_CHARS
    assert sent["blocks"][0]["text"]["text"].count("z") > 2900


def sent_with_buttons(server: HttpEnd, template: dict[str, Any]) -> list[Any]:
    """Send an alert with the output of a template. Return the payloads."""
    given = {"token": TOKEN, "app_token": "xapp-1", "channel": "#alerts", "base_url": f"{server.url}/api"}
    made = slack.build(options(slack.Options, **given), receiver="security-slack")
    made.send(message(), Rendered({"slack.json": json.dumps(template)}), None)
    made.close()
    return [request.json for request in server.requests]


@pytest.mark.parametrize(
    "payload",
    [
        {"blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "z" * 100}] * 10}] * 50},
        {"attachments": [{"fallback": "z" * 5000, "text": "z" * 5000, "title": "z" * 200}] * 20},
    ],
)
def test_all_texts_together_are_within_the_limit(payload: dict[str, Any]) -> None:
    """The limit is for all texts together, also for many small ones and for those of attachments. None is empty."""
    made = json.dumps(bounded(payload, fallback="-"))
    assert MAX_PAYLOAD_CHARS * 0.9 < made.count("z") <= MAX_PAYLOAD_CHARS
    assert '""' not in made


def test_a_reopened_alert_is_shown_in_the_channel(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """It needs a person, as a new alert does: the reply in its thread is broadcast. A repeated opening has none."""
    deliver(notifier, "slack", message("alert.opened"), HEAD)
    assert [request.path for request in server.requests] == ["/api/chat.update"]
    deliver(notifier, "slack", message("alert.opened", reopened_by="sam <!here>"), HEAD)
    reply = server.requests[-1]
    assert (reply.path, reply.json["reply_broadcast"]) == ("/api/chat.postMessage", True)
    assert reply.json["text"].startswith("Reopened by sam &lt;!here&gt;: ")
