"""A press of a Slack button is obeyed only from the workspace, the channel and the users that the receiver is meant for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from actionwatch.notifiers import slack
from actionwatch.notifiers._slack_actions import MAX_ENVELOPE_CHARS
from tests.integration.notifiers.ends import TOKEN, deliver, options
from tests.integration.notifiers.socket_end import APP_TOKEN, SocketEnd
from tests.integration.notifiers.test_slack_actions import Pressed, is_connected, reference_of
from tests.unit.render.messages import message
from tests.waiting import wait_until

OBEYED = [("ack", "alert-1", "sam (U123)")]


@pytest.fixture
def server() -> Iterator[SocketEnd]:
    """Slack."""
    with SocketEnd() as end:
        yield end


def presses(server: SocketEnd, *given: dict[str, Any], users: tuple[str, ...] = ()) -> Pressed:
    """Send presses, then a valid one, and return what was obeyed."""
    wanted = {"token": TOKEN, "app_token": APP_TOKEN, "channel": "#alerts", "base_url": f"{server.api.url}/api"}
    made = options(slack.Options, **wanted, **({"users": users} if users else {}))
    notifier = slack.build(made, receiver="security-slack")
    deliver(notifier, "slack", message())
    notifier.close()
    pressed = Pressed()
    listener = slack.listener(made, pressed, reference_of, receiver="security-slack")
    assert listener is not None
    listener.start()
    try:
        wait_until(lambda: is_connected(listener), "the connection")
        for number, each in enumerate(given):
            server.press("actionwatch_ack", envelope_id=f"e{number}", **each)
        server.press("actionwatch_ack", envelope_id="valid")
        wait_until(lambda: server.api.requests[-1].path.endswith("chat.update"), "the update of the message")
        return pressed
    finally:
        listener.close()


def replies(server: SocketEnd) -> list[str]:
    """Return the private replies to users."""
    return [each.json["text"] for each in server.api.requests if each.path.endswith("chat.postEphemeral")]


def problems(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the events that were logged as warnings or errors."""
    return [each["event"] for each in logs if each["log_level"] in ("warning", "error", "critical")]


@pytest.mark.parametrize(
    "foreign",
    [
        {"changed": {"team": {"id": "T2"}}},
        {"changed": {"team": None}},
        {"changed": {"team": None, "enterprise": {"id": "E1"}}},
        {"team_id": "T2"},
        {"changed": {"channel": {"id": "C9"}}},
        {"value": "alert-of-another-receiver"},
        {"value": "x" * 3000},
    ],
)
def test_press_from_elsewhere_is_refused(server: SocketEnd, foreign: dict[str, Any]) -> None:
    """A press from another workspace or channel, or on an alert that the receiver was not sent, does nothing but is logged."""
    with capture_logs() as logs:
        assert presses(server, foreign).calls == OBEYED
    assert replies(server) == []
    assert problems(logs) == ["slack_press_refused"]


def test_only_listed_users_may_press(server: SocketEnd) -> None:
    """With a list of users, others are refused, and learn why."""
    stranger = {"id": "U666", "username": "sam"}
    assert presses(server, stranger, users=("U999", "U123")).calls == OBEYED
    (reply,) = replies(server)
    assert "you are not in the list of users" in reply


@pytest.mark.parametrize(
    "odd",
    [
        {"user": None},
        {"user": {"username": "sam"}},
        {"user": ["U123"]},
        {"user": {"id": 123}},
        {"team": "T1"},
        {"channel": None},
        {"channel": {"id": ["C0123456789"]}},
        {"message": None},
        {"message": {"ts": "1", "blocks": [1]}},
        {"actions": 5},
        {"actions": [None]},
        {"actions": [{"action_id": ["actionwatch_ack"], "value": "alert-1"}]},
        {"actions": [{"action_id": "actionwatch_ack", "value": {"id": "alert-1"}}]},
        {"filler": "x" * MAX_ENVELOPE_CHARS},
    ],
)
def test_odd_press_is_refused(server: SocketEnd, odd: dict[str, Any]) -> None:
    """A press with missing members, wrong types or too many characters is refused and logged, and later ones work."""
    with capture_logs() as logs:
        assert presses(server, {"changed": odd}).calls == OBEYED
    assert problems(logs) == ["slack_press_refused"]


def test_odd_blocks_of_a_message_do_not_stop_the_update(server: SocketEnd) -> None:
    """A message whose buttons have an unknown form is updated."""
    blocks = [{"block_id": "actionwatch", "elements": "none"}, {"block_id": "actionwatch", "elements": [1]}]
    odd = {"changed": {"message": {"ts": "1700000000.000100", "blocks": blocks, "attachments": [{"blocks": None}]}}}
    assert presses(server, odd).calls == OBEYED * 2


@pytest.mark.parametrize("users", [["sam"], ["@U123"], ["U1 23"]])
def test_users_are_ids(users: list[str]) -> None:
    """A name in the list of users is refused, because users can choose their names."""
    given = {"token": TOKEN, "app_token": APP_TOKEN, "channel": "C1", "users": users}
    with pytest.raises(ValidationError, match="not the id of a user: copy it from the profile in Slack"):
        slack.Options.model_validate(given)


def test_users_require_buttons() -> None:
    """A list of users without buttons is refused, because it has no effect."""
    with pytest.raises(ValidationError, match="users requires an app_token"):
        slack.Options.model_validate({"token": TOKEN, "channel": "C1", "users": ["U123"]})
