"""A press of a Slack button is obeyed only from the workspace, the channel and the users that the receiver is meant for."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from actionwatch.notifiers import slack
from actionwatch.notifiers._slack_socket import MAX_ENVELOPE_BYTES, MAX_FRAME_BYTES
from tests.cases import in_one_test
from tests.integration.notifiers.ends import TOKEN, deliver, options
from tests.integration.notifiers.http_end import Reply, Request
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


def presses(server: SocketEnd, *given: dict[str, Any], users: tuple[str, ...] = (), updates: int = 1) -> Pressed:
    """Send presses, then a valid one, and return what was obeyed once messages were updated so often."""
    with listening(server, users) as pressed:
        for number, each in enumerate(given):
            server.press("actionwatch_ack", envelope_id=f"e{number}", **each)
        server.press("actionwatch_ack", envelope_id="valid")
        wait_until(lambda: updated(server) >= updates, "the update of the message")
        return pressed


@contextlib.contextmanager
def listening(server: SocketEnd, users: tuple[str, ...] = ()) -> Iterator[Pressed]:
    """Post a message, and listen for presses. Yield what is obeyed."""
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
        yield pressed
    finally:
        listener.close()


def updated(server: SocketEnd) -> int:
    """Count the updates of messages."""
    return sum(each.path.endswith("chat.update") for each in server.api.requests)


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
        {"filler": "x" * MAX_ENVELOPE_BYTES},
    ],
)
def test_odd_press_is_refused(server: SocketEnd, odd: dict[str, Any]) -> None:
    """A press with missing members, wrong types or too many characters is refused and logged, and later ones work."""
    with capture_logs() as logs:
        assert presses(server, {"changed": odd}).calls == OBEYED
    assert problems(logs) == ["slack_press_refused"]


def test_endless_frame_ends_the_connection(server: SocketEnd) -> None:
    """A frame that is larger than any press is refused by its length, and the buttons work on the next connection."""
    with listening(server) as pressed, capture_logs() as logs:
        server.say_bytes(b"\x81\x7f" + (MAX_FRAME_BYTES + 1).to_bytes(8))  # nothing of its text has arrived
        wait_until(lambda: server.connections == 2, "another connection")
        server.press("actionwatch_ack", envelope_id="valid")
        wait_until(lambda: pressed.calls == OBEYED, "the press")
    assert [each["reason"] for each in logs if each["event"] == "slack_press_refused"] == [
        "it cannot be read: it has 4000001 bytes, and a press at most 4000000"
    ]


def test_endless_message_ends_the_connection(server: SocketEnd) -> None:
    """A message in many frames is refused once it is larger than any press, and the buttons work on the next connection."""
    part = b"\x7f" + (MAX_FRAME_BYTES // 2).to_bytes(8) + b"x" * (MAX_FRAME_BYTES // 2)
    with listening(server) as pressed:
        with contextlib.suppress(OSError):
            server.say_bytes(b"\x01" + part)
            for _ in range(2):
                server.say_bytes(b"\x00" + part)
        wait_until(lambda: server.connections == 2, "another connection")
        server.press("actionwatch_ack", envelope_id="valid")
        wait_until(lambda: pressed.calls == OBEYED, "the press")


@pytest.mark.parametrize("text", ["\ud800", "", "\n", "[" * 100_000, "x" * 3_000_000])
def test_unreadable_text_does_not_stop_the_buttons(server: SocketEnd, text: str) -> None:
    """After a frame that contains no press, the next one is read, on the same connection and with little memory."""
    with listening(server) as pressed:
        tracemalloc.start()
        server.say_text(text)
        server.press("actionwatch_ack", envelope_id="valid")
        wait_until(lambda: pressed.calls == OBEYED, "the press")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10 * MAX_FRAME_BYTES
    assert server.connections == 1


def test_frame_with_a_mask_ends_the_connection(server: SocketEnd) -> None:
    """A frame that only a client may send is not read as another one."""
    with listening(server) as pressed:
        server.say_bytes(b"\x81\x85maskhello")
        wait_until(lambda: server.connections == 2, "another connection")
        server.press("actionwatch_ack", envelope_id="valid")
        wait_until(lambda: pressed.calls == OBEYED, "the press")


def test_frame_in_pieces_is_read(server: SocketEnd) -> None:
    """A press that arrives in tiny pieces, with its header apart, is obeyed."""
    with listening(server) as pressed:
        server.piece_bytes = 1
        server.press("actionwatch_ack", envelope_id="valid")
        wait_until(lambda: pressed.calls == OBEYED, "the press")


def test_odd_blocks_of_a_message_do_not_stop_the_update(server: SocketEnd) -> None:
    """A message whose buttons have an unknown form is updated."""
    blocks = [{"block_id": "actionwatch", "elements": "none"}, {"block_id": "actionwatch", "elements": [1]}]
    odd = {"changed": {"message": {"ts": "1700000000.000100", "blocks": blocks, "attachments": [{"blocks": None}]}}}
    assert presses(server, odd, updates=2).calls == OBEYED * 2


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


class Organisation(SocketEnd):
    """Slack, where the bot is in the Enterprise organisation E1: in the workspace T1, or in all, which are T1 and T2."""

    is_enterprise_install = False

    def _reply(self, request: Request) -> Reply:
        method = request.path.rpartition("/")[2]
        if method == "auth.teams.list?limit=1000" and self.is_enterprise_install:
            return _json({"ok": True, "teams": [{"id": "T1", "name": "one"}, {"id": "T2", "name": "two"}]})
        if method != "auth.test":
            return super()._reply(request)
        is_enterprise_install = self.is_enterprise_install
        team_id = "E1" if is_enterprise_install else "T1"
        return _json(
            {"ok": True, "team_id": team_id, "enterprise_id": "E1", "is_enterprise_install": is_enterprise_install}
        )


def _json(document: object) -> Reply:
    return Reply(200, json.dumps(document).encode(), {"content-type": "application/json"})


@in_one_test(
    ("is_everywhere", "user_team", "is_obeyed"),
    [
        (False, "T1", True),
        (False, "E1", True),
        (False, "T2", False),
        (False, "E2", False),
        (True, "E1", True),
        (True, "T2", True),
        (True, "T9", False),
        (True, "E2", False),
    ],
)
def test_press_in_an_organisation(is_everywhere: bool, user_team: str, is_obeyed: bool) -> None:
    """Slack names the organisation or a workspace as the team of a user. Users of another company are strangers."""
    calls, logged = press_in_organisation(user_team, is_everywhere=is_everywhere)
    assert (calls, logged) == ((OBEYED, []) if is_obeyed else ([], ["slack_press_refused"]))


@pytest.mark.parametrize("is_everywhere", [False, True])
def test_users_may_name_a_user_of_another_company(is_everywhere: bool) -> None:
    """A user of a shared channel whose id is in the list may press, wherever the user is from."""
    assert press_in_organisation("E2", is_everywhere=is_everywhere, users=("U123",)) == (OBEYED, [])


def press_in_organisation(
    user_team: str, *, is_everywhere: bool, users: tuple[str, ...] = ()
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Press as a user of a team. Return what was obeyed, and the problems that were logged."""
    changed = {"enterprise": {"id": "E1"}, **({"team": None} if is_everywhere else {})}
    with Organisation() as server, capture_logs() as logs:
        server.is_enterprise_install = is_everywhere
        with listening(server, users) as pressed:
            server.press("actionwatch_ack", envelope_id="e1", team_id=user_team, changed=changed)
            wait_until(lambda: pressed.calls or problems(logs), "the press")
    return pressed.calls, problems(logs)
