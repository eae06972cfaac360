"""Slack: what it alone promises."""

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
from tests.integration.notifiers.ends import RENDERER, TOKEN, deliver, options, slack_error, slack_reply, slack_texts
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.unit.render.messages import message, record

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


def test_the_first_message_gives_the_reference(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """Later messages cannot find the head message, because its channel is known by name only."""
    receipt = deliver(notifier, "slack", message())
    assert receipt.reference == HEAD
    assert receipt.note is None
    assert [request.path for request in server.requests] == ["/api/chat.postMessage"]
    assert server.requests[0].json["channel"] == "#alerts"


def test_an_update_rewrites_the_head_and_says_nothing_in_the_thread(
    server: HttpEnd, notifier: slack.SlackNotifier
) -> None:
    """A counter that moves fills the channel or the thread."""
    receipt = deliver(notifier, "slack", message("alert.updated", count=7), HEAD)
    assert receipt.reference is None
    [request] = server.requests
    assert request.path == "/api/chat.update"
    assert (request.json["channel"], request.json["ts"]) == ("C0123456789", "1700000000.000100")
    assert request.json["parse"] == "none"
    assert "×7" in request.json["text"]


def test_a_resolution_rewrites_the_head_and_is_told_in_the_thread(
    server: HttpEnd, notifier: slack.SlackNotifier
) -> None:
    """Nobody who follows the thread hears that it is over."""
    deliver(notifier, "slack", message("alert.resolved", count=3, resolved_by="sam <!here>"), HEAD)
    update, reply = server.requests
    assert update.path == "/api/chat.update"
    assert update.json["text"].startswith("Resolved")
    assert reply.path == "/api/chat.postMessage"
    assert reply.json["thread_ts"] == "1700000000.000100"
    assert reply.json["text"] == "Resolved by sam &lt;!here&gt;, 3 matches in total."


def test_without_a_head_any_event_posts_one(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """An update is lost because its alert was never told here."""
    assert deliver(notifier, "slack", message("alert.updated")).reference == HEAD
    assert deliver(notifier, "slack", message("alert.resolved")).reference == HEAD
    assert {request.path for request in server.requests} == {"/api/chat.postMessage"}


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message", "edit_window_closed"])
def test_a_deleted_head_is_posted_anew(server: HttpEnd, notifier: slack.SlackNotifier, error: str) -> None:
    """An alert goes silent because somebody deleted its message."""
    server.queue.append(slack_error(error))
    receipt = deliver(notifier, "slack", message("alert.updated"), "C0123456789:1.0")
    assert receipt.reference == HEAD
    assert receipt.note is not None
    assert error in receipt.note


def test_a_lost_thread_does_not_cost_the_resolution(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """The head says resolved, and yet the delivery is dead."""
    server.queue += [Reply(200, b'{"ok": true}'), slack_error("thread_not_found")]
    receipt = deliver(notifier, "slack", message("alert.resolved"), HEAD)
    assert "could not reply in the thread" in (receipt.note or "")


@pytest.mark.parametrize("error", ["invalid_blocks", "invalid_attachments", "msg_blocks_too_long"])
def test_blocks_that_slack_refuses_go_out_as_text(server: HttpEnd, notifier: slack.SlackNotifier, error: str) -> None:
    """A template that Slack dislikes costs the alert, or nobody learns of it."""
    server.queue.append(slack_error(error))
    receipt = deliver(notifier, "slack", message())
    assert error in (receipt.note or "")
    sent = server.requests[-1].json
    assert "Cluster payments-prod deleted" in sent["text"]
    assert not sent.get("blocks")
    assert not sent.get("attachments")


def test_blocks_that_an_incoming_webhook_refuses_go_out_as_text(server: HttpEnd) -> None:
    """A template that Slack dislikes costs the alert, or nobody learns of it."""
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
def test_a_refusal_says_what_to_do(server: HttpEnd, notifier: slack.SlackNotifier, error: str, remedy: str) -> None:
    """A person is told a code and no way out."""
    server.queue.append(slack_error(error, response_metadata={"messages": ["[ERROR] details"]}))
    with pytest.raises(PermanentDeliveryError, match=remedy) as caught:
        deliver(notifier, "slack", message())
    assert caught.value.response == "[ERROR] details"


@pytest.mark.parametrize("body", [b"", b"<html>maintenance</html>", b"[]", b"null", b"{}", b'{"ok": false}', b"\xff"])
def test_an_answer_that_is_not_slacks_is_transient(server: HttpEnd, notifier: slack.SlackNotifier, body: bytes) -> None:
    """A proxy's maintenance page counts as delivered, or makes a dead letter."""
    server.queue.append(Reply(200, body))
    with pytest.raises(TransientDeliveryError):
        deliver(notifier, "slack", message())


def test_the_colour_bar_and_the_readers_own_time(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """The level cannot be seen at a glance, or times are in a zone that nobody lives in."""
    deliver(notifier, "slack", message(level=Level.HIGH))
    [attachment] = server.requests[0].json["attachments"]
    assert attachment["color"] == "#f4511e"
    assert "<!date^1795597243^{date_short_pretty} {time_secs}|2026-11-25 09:00:43 UTC>" in json.dumps(attachment)


def test_every_length_stays_within_slacks_limits(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """Slack refuses a message whole because one text is too long."""
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


@pytest.mark.parametrize(
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
def test_bounding_never_fails(payload: dict[str, Any]) -> None:
    """An operator's odd template makes the notifier fail instead of Slack."""
    made = bounded(payload, fallback="the title")
    assert made["text"]
    assert len(made.get("blocks", [])) <= 50
    assert len(made.get("attachments", [])) <= 20


def test_a_template_that_gave_nothing_still_says_the_title(server: HttpEnd, notifier: slack.SlackNotifier) -> None:
    """An empty rendering sends an empty message."""
    notifier.send(message(title="deleted <!channel>"), Rendered({}), None)
    assert server.requests[0].json["text"] == "[critical] deleted &lt;!channel&gt;"


def test_proxies_of_the_environment_are_not_used(
    server: HttpEnd, notifier: slack.SlackNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of the environment sends the token through another host."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    deliver(notifier, "slack", message())
    assert len(server.requests) == 1


@pytest.mark.parametrize(
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
def test_impossible_options_are_refused(given: dict[str, Any], fault: str) -> None:
    """A wrong configuration is found out by the first alert."""
    with pytest.raises(ValidationError, match=fault):
        options(slack.Options, **given)


def test_the_shipped_template_gives_text_blocks_and_colour() -> None:
    """The shipped template is no message that Slack takes."""
    rendered, failures = RENDERER.render(("slack.json",), message(count=60, records=[record(n) for n in range(50)]))
    assert failures == []
    payload = json.loads(rendered.texts["slack.json"])
    assert set(payload) == {"text", "blocks", "attachments"}
    assert "and 55 more" in rendered.texts["slack.json"]


def test_the_preview_reads_like_slack() -> None:
    """Whoever looks at the preview sees markup instead of what people see."""
    made = options(slack.Options, token=TOKEN, channel="C1", app_token="xapp-1")
    sent = message(title="deleted <!channel> & more")
    rendered, _ = RENDERER.render(("slack.json",), sent)
    files = slack.preview(made, sent, rendered, receiver="slack")
    lines = files["slack.txt"].splitlines()
    assert lines[0] == "🔴 *Critical*  deleted <!channel> & more"
    assert lines[-1] == "▌ [Acknowledge]  [Silence 1 h]  [Resolve]"
    assert any("2026-11-25 09:00:43 UTC" in line for line in lines)
    assert set(json.loads(files["slack.json"])) == {"text", "blocks", "attachments"}
