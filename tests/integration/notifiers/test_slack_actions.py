"""The buttons in Slack, with a server that speaks Socket Mode."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from actionwatch.base.errors import ActionwatchError, DeliveryError, PermanentDeliveryError, StoreBusy
from actionwatch.base.model import Decision, Status
from actionwatch.notifiers import slack
from actionwatch.notifiers._slack_actions import REFUSED_WAIT, SlackActions
from tests.integration.notifiers.ends import TOKEN, deliver, options, slack_error, slack_texts
from tests.integration.notifiers.http_end import Reply
from tests.integration.notifiers.socket_end import APP_TOKEN, SocketEnd
from tests.threads import raise_in_thread
from tests.unit.render.messages import message
from tests.waiting import LIMIT, at_least, beside, wait_until


@pytest.fixture
def server() -> Iterator[SocketEnd]:
    """Slack."""
    with SocketEnd() as end:
        yield end


class Pressed:
    """What the application does with a press: keep it, or fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.error: Exception | None = None
        self.decision: Decision | None = None

    def __call__(self, action: str, alert_id: str, who: str) -> Decision:
        self.calls.append((action, alert_id, who))
        if self.error:
            raise self.error
        return self.decision or Decision(f"{action} by {who}", is_new=True)


def made_of(server: SocketEnd) -> slack.Options:
    """Make options with Socket Mode."""
    given = {"token": TOKEN, "app_token": APP_TOKEN, "channel": "#alerts", "base_url": f"{server.api.url}/api"}
    made: slack.Options = options(slack.Options, **given)
    return made


def reference_of(alert_id: str) -> str | None:
    """Return the reference of the only message that was posted."""
    return "C0123456789:1700000000.000100" if alert_id == "alert-1" else None


def is_connected(actions: SlackActions) -> bool:
    """Return whether the check of the listener passes."""
    try:
        actions.check()
    except DeliveryError:
        return False
    return True


@contextmanager
def listening(server: SocketEnd, pressed: Pressed) -> Iterator[SlackActions]:
    """Post an alert and listen for presses."""
    made = made_of(server)
    notifier = slack.build(made, receiver="security-slack")
    deliver(notifier, "slack", message())
    notifier.close()
    listener = slack.listener(made, pressed, reference_of, receiver="security-slack")
    assert listener is not None
    listener.start()
    try:
        wait_until(lambda: is_connected(listener), "the connection")
        yield listener
    finally:
        listener.close()


def buttons(payload: Any) -> list[str]:
    """Return the names of a message's buttons, and check their values."""
    found = [block for item in payload.get("attachments", []) for block in item["blocks"] if block["type"] == "actions"]
    return [element["text"]["text"] for block in found for element in block["elements"]]


@pytest.mark.parametrize(
    ("event", "status", "shown"),
    [
        ("alert.opened", Status.OPEN, ["Acknowledge", "Silence 1 h", "Resolve"]),
        ("alert.updated", Status.ACKED, ["Silence 1 h", "Resolve", "Reopen"]),
        ("alert.resolved", Status.RESOLVED, ["Reopen"]),
        ("receiver.test", Status.OPEN, []),
        ("alerts.summary", Status.OPEN, []),
    ],
)
def test_buttons_depend_on_the_state(server: SocketEnd, event: str, status: Status, shown: list[str]) -> None:
    """An open alert can be acknowledged, silenced and resolved, a decided one reopened."""
    notifier = slack.build(made_of(server), receiver="security-slack")
    deliver(notifier, "slack", message(event, status=status))
    notifier.close()
    payload = server.api.requests[0].json
    assert buttons(payload) == shown
    assert not shown or json.dumps(payload).count('"value": "alert-1"') == len(shown)


def test_without_socket_mode_there_are_no_buttons(server: SocketEnd) -> None:
    """Without Socket Mode, no buttons are shown."""
    made = options(slack.Options, token=TOKEN, channel="C1", base_url=f"{server.api.url}/api")
    notifier = slack.build(made, receiver="security-slack")
    deliver(notifier, "slack", message())
    notifier.close()
    assert buttons(server.api.requests[0].json) == []
    assert slack.listener(made, Pressed(), reference_of, receiver="security-slack") is None


@pytest.mark.parametrize(
    ("name", "left"), [("ack", ["Silence 1 h", "Resolve"]), ("silence", ["Acknowledge", "Resolve"])]
)
def test_press_acts_and_updates_the_message(server: SocketEnd, name: str, left: list[str]) -> None:
    """A press acts, and the message shows who pressed."""
    pressed = Pressed()
    with listening(server, pressed):
        server.press(f"actionwatch_{name}", envelope_id="e1")
        wait_until(lambda: server.api.requests[-1].path.endswith("chat.update"), "the update of the message")
        wait_until(lambda: server.acks, "the acknowledgement")
    assert pressed.calls == [(name, "alert-1", "sam (U123)")]
    assert server.acks == ["e1"]
    posted = next(request.json for request in server.api.requests if request.path.endswith("chat.postMessage"))
    update = server.api.requests[-1].json
    assert (update["channel"], update["ts"]) == ("C0123456789", "1700000000.000100")
    assert buttons(update) == left
    assert f":white_check_mark: {name} by sam (U123)" in [text["text"] for text in slack_texts(update)]
    assert update["blocks"] == posted["blocks"]
    assert update["attachments"][0]["color"] == posted["attachments"][0]["color"]


def test_press_keeps_attachments_without_blocks(server: SocketEnd) -> None:
    """The attachments of the old form stay when a press changes the message."""
    old = {"color": "#f00", "text": "old", "fields": [{"title": "cluster", "value": "payments-prod"}]}
    with listening(server, Pressed()):
        posted = next(request.json for request in server.api.requests if request.path.endswith("chat.postMessage"))
        shown = {"ts": "1.0", "text": "x", "blocks": posted["attachments"][0]["blocks"], "attachments": [old]}
        server.press("actionwatch_ack", envelope_id="e1", changed={"message": shown})
        wait_until(lambda: server.api.requests[-1].path.endswith("chat.update"), "the update of the message")
    update = server.api.requests[-1].json
    assert update["attachments"] == [old]
    assert ":white_check_mark: ack by sam (U123)" in [text["text"] for text in slack_texts(update)]


def test_resolution_is_confirmed_only_to_its_user(server: SocketEnd) -> None:
    """A press of Resolve is confirmed in private, because the resolution changes the message soon."""
    pressed = Pressed()
    with listening(server, pressed):
        server.press("actionwatch_resolve", envelope_id="e1")
        wait_until(lambda: server.api.requests[-1].path.endswith("chat.postEphemeral"), "the answer to the presser")
    assert pressed.calls == [("resolve", "alert-1", "sam (U123)")]
    reply = server.api.requests[-1].json
    assert (reply["text"], reply["user"]) == ("resolve by sam (U123)", "U123")


def test_resolution_is_not_overwritten(server: SocketEnd) -> None:
    """The worker that a resolution wakes may be faster than the listener: the message that it sent is the last."""

    class Resolving(Pressed):
        def __call__(self, action: str, alert_id: str, who: str) -> Decision:
            notifier = slack.build(made_of(server), receiver="security-slack")
            deliver(notifier, "slack", message("alert.resolved", resolved_by=who, count=7), reference_of(alert_id))
            notifier.close()
            return super().__call__(action, alert_id, who)

    pressed = Resolving()
    with listening(server, pressed):
        server.press("actionwatch_resolve", envelope_id="e1")
        wait_until(lambda: pressed.calls, "the press")
    updates = [each.json for each in server.api.requests if each.path.endswith("chat.update")]
    assert [each["text"].partition(":")[0] for each in updates] == ["Resolved"]


def test_failed_action_is_reported_only_to_its_user(server: SocketEnd) -> None:
    """A failed action is reported to the user who pressed, and only to that user."""
    pressed = Pressed()
    pressed.error = ActionwatchError("the alert is resolved already <!channel>")
    with listening(server, pressed):
        for number, error in enumerate((pressed.error, StoreBusy("busy"), ZeroDivisionError())):
            pressed.error = error
            server.press("actionwatch_ack", envelope_id=f"e{number}")
            wait_until(lambda: len(server.api.requests) == number + 4, "the answer to the presser")  # noqa: B023
    replies = [request for request in server.api.requests if request.path.endswith("chat.postEphemeral")]
    texts = [request.json["text"] for request in replies]
    assert texts[0] == "Acknowledge failed: the alert is resolved already &lt;!channel&gt;"
    assert texts[1:] == ["Acknowledge failed: busy", "Acknowledge failed: unexpected ZeroDivisionError"]
    assert {request.json["user"] for request in replies} == {"U123"}


def test_second_press_shows_who_was_first(server: SocketEnd) -> None:
    """A second user sees who was first, and the message in the channel does not change."""
    pressed = Pressed()
    pressed.decision = Decision("Acknowledged by bob <!channel> (U9)", is_new=False)
    with listening(server, pressed):
        server.press("actionwatch_ack", envelope_id="e1")
        wait_until(lambda: server.api.requests[-1].path.endswith("chat.postEphemeral"), "the answer to the presser")
    assert not [request for request in server.api.requests if request.path.endswith("chat.update")]
    reply = server.api.requests[-1].json
    assert reply["text"] == "Nothing to do. Acknowledged by bob &lt;!channel&gt; (U9)"
    assert reply["user"] == "U123"


def test_repeated_envelope_acts_once(server: SocketEnd) -> None:
    """If Slack repeats an envelope, the action is done once."""
    pressed = Pressed()
    with listening(server, pressed):
        for envelope_id in ("e1", "e1", "e2"):
            server.press("actionwatch_silence", envelope_id=envelope_id)
        wait_until(lambda: len(server.acks) == 3 and len(pressed.calls) == 2, "three acknowledgements and two presses")
    assert len(pressed.calls) == 2


def test_foreign_or_broken_envelope_is_ignored(server: SocketEnd) -> None:
    """Buttons of other apps and broken envelopes do nothing and do not end the listener."""
    pressed = Pressed()
    with listening(server, pressed):
        server.press("somebody_elses", "actionwatch_nonsense", "ack", envelope_id="e1")
        server.press("actionwatch_ack", envelope_id="e2", value="")
        server.say(
            {"type": "events_api", "envelope_id": "e3", "payload": {"actions": [{"action_id": "actionwatch_ack"}]}}
        )
        server.say({"type": "interactive", "envelope_id": "e4", "payload": {"actions": None}})
        server.say([1])
        server.press("actionwatch_ack", envelope_id="e5", username="eve <!channel>\u202e", id="U9")
        wait_until(lambda: server.api.requests[-1].path.endswith("chat.update"), "the update of the message")
    assert pressed.calls == [("ack", "alert-1", "eve <!channel>\\u202e (U9)")]
    assert "<!channel>" not in json.dumps(server.api.requests[-1].json)


def test_lost_connection_is_restored(server: SocketEnd) -> None:
    """After Slack's daily refresh, or a broken connection, the buttons work again."""
    pressed = Pressed()
    with listening(server, pressed) as listener:
        server.hang_up()
        wait_until(lambda: server.connections == 2 and is_connected(listener), "a second connection")
        server.press("actionwatch_ack", envelope_id="e1")
        wait_until(lambda: pressed.calls, "a press")
        server.say({"type": "disconnect", "reason": "refresh_requested"})
        wait_until(lambda: server.connections == 3, "a third connection")
        server.press("actionwatch_resolve", envelope_id="e2")
        wait_until(lambda: len(pressed.calls) == 2, "a press")


def test_connection_is_retried_if_slack_is_down_at_the_start(server: SocketEnd) -> None:
    """If Slack is down at the start, the listener connects later."""
    server.opening = [Reply(503), Reply(200, b'{"ok": true, "url": "ws://evil.example/"}')]
    listener = slack.listener(made_of(server), Pressed(), reference_of, receiver="security-slack")
    assert listener
    with at_least(2):
        listener.start()
        wait_until(lambda: is_connected(listener), "the connection")
    listener.close()


def test_listener_survives_any_exception(server: SocketEnd) -> None:
    """No exception ends the thread of the listener."""
    pressed = Pressed()
    with listening(server, pressed) as listener:
        listener.check()
        server.opening = [Reply(503)] * 3
        server.hang_up()
        place = "slack-actions-security-slack", "_listen", SystemExit
        wait_until(lambda: raise_in_thread(*place), "the end of the connecting")
        wait_until(lambda: server.connections == 2 and is_connected(listener), "a second connection")
        server.press("actionwatch_ack", envelope_id="e1")
        wait_until(lambda: pressed.calls, "a press")
    with pytest.raises(DeliveryError, match="the buttons of security-slack have no effect"):
        listener.check()


def test_listener_stops_while_it_waits(server: SocketEnd) -> None:
    """A listener that waits for minutes before it connects again stops at once."""
    server.opening = [slack_error("invalid_auth")]
    refused = slack.listener(made_of(server), Pressed(), reference_of, receiver="security-slack")
    assert refused
    refused.start()
    wait_until(lambda: not server.opening, "the refusal")
    with beside(refused.close):
        pass
    assert REFUSED_WAIT > LIMIT


def test_proxies_of_the_environment_are_not_used(server: SocketEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with listening(server, Pressed()) as listener:
        assert is_connected(listener)


def test_tokens_are_not_logged(server: SocketEnd, caplog: pytest.LogCaptureFixture) -> None:
    """No token is in a log."""
    caplog.set_level(0)
    server.opening = [slack_error("invalid_auth", needed=APP_TOKEN)]
    listener = slack.listener(made_of(server), Pressed(), reference_of, receiver="security-slack")
    assert listener
    listener.start()
    wait_until(lambda: not server.opening, "the refusal")
    listener.close()
    text = caplog.text + repr(listener)
    assert APP_TOKEN not in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("scopes", "opening", "fault"),
    [
        ("chat:write,channels:read", None, None),
        ("channels:read, chat:write.public", None, "lacks the scope chat:write"),
        ("chat:write", "invalid_auth", r"set app_token to the app-level token of the app \(xapp-…\)"),
        ("chat:write", "missing_scope", "with the scope connections:write"),
    ],
)
def test_live_check_tests_the_tokens(server: SocketEnd, scopes: str, opening: str | None, fault: str | None) -> None:
    """A live check finds a token that cannot post or connect."""
    server.opening = [slack_error(opening)] if opening else []
    answer = Reply(200, b'{"ok": true}', {"content-type": "application/json", "X-OAuth-Scopes": scopes})
    server.api.queue = [answer]
    notifier = slack.build(made_of(server), receiver="security-slack")
    raised = pytest.raises(PermanentDeliveryError, match=fault) if fault else contextlib.nullcontext()
    with contextlib.closing(notifier), raised:
        notifier.reach()
    methods = [request.path.rpartition("/")[2] for request in server.api.requests]
    assert methods == (["auth.test"] if "scope chat" in (fault or "") else ["auth.test", "apps.connections.open"])
    assert not server.connections
