"""Envelopes of Slack with anything in them: none is obeyed for another workspace or channel, and the next press works."""

from __future__ import annotations

import contextlib
import random
import uuid
from collections.abc import Iterator

from structlog.testing import capture_logs

from tests.attacks.soak import hostile
from tests.attacks.soak.case import Attack
from tests.attacks.test_slack_presses import OBEYED as VALID
from tests.attacks.test_slack_presses import listening
from tests.integration.notifiers.socket_end import SocketEnd
from tests.waiting import wait_until

PAYLOAD = {
    "type": "block_actions",
    "user": {"id": "U666", "username": "eve", "team_id": "T1"},
    "team": {"id": "T1", "domain": "example"},
    "enterprise": None,
    "channel": {"id": "C0123456789"},
    "message": {
        "ts": "1700000000.000100",
        "text": "text",
        "blocks": [{"type": "actions", "block_id": "actionwatch", "elements": []}],
    },
    "actions": [{"action_id": "actionwatch_ack", "value": "alert-1", "block_id": "actionwatch"}],
}
FOREIGN = (
    ("team", {"id": "T2"}),
    ("channel", {"id": "C666"}),
    ("user", {"id": "U666", "username": "eve", "team_id": "T2"}),
)


@contextlib.contextmanager
def attack() -> Iterator[Attack]:
    """Yield the attack: one listener for all cases."""
    with SocketEnd() as server, capture_logs() as logs, listening(server) as pressed:
        connections = 0

        def is_valid_obeyed() -> bool:
            """Press as an honest user, again on each new connection, as Slack does until it has an acknowledgement."""
            nonlocal connections
            if connections != server.connections:
                connections = server.connections
                with contextlib.suppress(OSError):  # this connection ends: the next one gets the press
                    server.press("actionwatch_ack", envelope_id=str(uuid.uuid4()))
            return pressed.calls[-1:] == VALID

        def one(chance: random.Random) -> str:
            nonlocal connections
            connections = 0
            is_foreign = _send(server, chance)
            wait_until(is_valid_obeyed, "the valid press", logs.copy)
            obeyed = [call for call in pressed.calls if call not in VALID]
            failures = [each for each in logs if each["log_level"] in ("error", "critical")]
            pressed.calls.clear()
            logs.clear()
            del server.api.requests[1:-50]
            assert not failures, failures
            assert not (is_foreign and obeyed), obeyed
            return "obeyed" if obeyed else "refused"

        yield one


def _send(server: SocketEnd, chance: random.Random) -> bool:
    """Send a changed envelope. Return whether it comes from elsewhere, so that it must not be obeyed."""
    name, other = chance.choice(FOREIGN)
    is_foreign = chance.random() < 0.5
    payload = hostile.changed(chance, PAYLOAD, chance.choice([0, 1, 2, 5])) | ({name: other} if is_foreign else {})
    envelope = {"type": "interactive", "envelope_id": str(uuid.uuid4()), "payload": payload}
    text = hostile.text(envelope if is_foreign else hostile.changed(chance, envelope, chance.choice([0, 0, 1])))
    with contextlib.suppress(OSError):  # the client may close the connection
        server.say_text(text)
    return is_foreign
