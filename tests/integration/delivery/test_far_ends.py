"""Operator actions as each kind of receiver shows them: an alert that is resolved here is not left open there."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.notifiers import webhook
from actionwatch.text.timeintervals import Period, TimeInterval
from tests.integration.delivery.kit import Desk
from tests.integration.notifiers.conftest import CA
from tests.integration.notifiers.ends import End, WebhookEnd, deliver, open_end, options
from tests.integration.notifiers.http_end import HttpEnd, Reply

MORNING = TimeInterval("mornings", (Period(times=((8 * 60, 13 * 60),)),))


@dataclass
class RealSender:
    """A notifier that sends to a real far end, in place of a test's `Sender`."""

    end: End

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Render like the service, and send."""
        return deliver(self.end.notifier, self.end.type_name, message, reference, self.end.options)

    def close(self) -> None:
        """Keep it open: each delivery of these tests is a separate process, but the far end is the same."""


def webhooks(end: Any) -> list[str]:
    """Read the state that a webhook receiver has."""
    return [f"{request.json['type']} {request.json['data']['status']}" for request in end.server.requests]


def pages(end: Any) -> list[str]:
    """Read the events of the one PagerDuty incident."""
    assert len({request.json["dedup_key"] for request in end.server.requests}) == 1
    return [request.json["event_action"] for request in end.server.requests]


def posts(end: Any) -> list[str]:
    """Read the posts in Slack: updates of the message, and its thread."""
    found = []
    for request in end.server.requests:
        method, sent = request.path.rpartition("/")[2], request.json
        shown = str(sent["attachments"][0]["blocks"]) if "attachments" in sent else sent["text"]
        state = next((word for word in ("resolved by", "Resolved by", "acknowledged by") if word in shown), "open")
        found.append(f"{method}{' in thread' if 'thread_ts' in sent else ''}: {state}")
    return found


def firing(end: Any) -> list[str]:
    """Read the state that a receiver for Alertmanager messages has."""
    assert len({request.json["groupKey"] for request in end.server.requests}) == 1
    return [request.json["status"] for request in end.server.requests]


def mails(end: Any) -> list[str]:
    """Read the mailbox."""
    return [f"{'answer' if mail['References'] else 'first'}: {mail['Subject']}" for mail in end.server.mails]


RECEIVERS: list[tuple[str, Callable[[Any], list[str]], list[str]]] = [
    ("webhook", webhooks, ["alert.opened open", "alert.updated acked", "alert.resolved resolved"]),
    ("alertmanager", firing, ["firing", "firing", "resolved"]),
    ("pagerduty", pages, ["trigger", "acknowledge", "resolve"]),
    (
        "slack",
        posts,
        [
            "chat.postMessage: open",
            "chat.update: acknowledged by",
            "chat.update: resolved by",
            "chat.postMessage in thread: Resolved by",
        ],
    ),
    (
        "email starttls",
        mails,
        ["first: [high] cluster_deleted by eve", "answer: Re: [high] cluster_deleted by eve"],
    ),
]


@pytest.mark.parametrize("reason", ["nothing", "silence", "mute"])
@pytest.mark.parametrize(("name", "look", "expected"), RECEIVERS, ids=[row[0] for row in RECEIVERS])
def test_acknowledge_and_resolve_reach_the_far_end(
    desk: Desk,
    ends: Callable[[str], Any],
    name: str,
    look: Callable[[Any], list[str]],
    expected: list[str],
    reason: str,
) -> None:
    """An alert that is acknowledged and resolved here is so at the far end, also during a silence or a mute interval."""
    end = ends(name)
    desk.senders = {"hook": RealSender(end)}  # type: ignore[dict-item]
    desk.policies["hook"] = ReceiverPolicy(is_updated_last=name.startswith("email"))
    desk.route = Route(("hook",), mutes=("mornings",))
    alert_id = desk.match_records()
    desk.deliver()
    if reason == "silence":
        desk.silence("userName=eve", hours=1)
    if reason == "mute":
        desk.global_policy = GlobalPolicy((), {"mornings": MORNING})
    for decide in (desk.operator.acknowledge, desk.operator.resolve):
        decide(alert_id, "sam")
        desk.later(seconds=11)
    assert look(end) == expected
    assert {row.status.value for row in desk.rows()} == {"sent"}


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Open far ends by their names in the contract suite, and one that reads Alertmanager messages."""
    ca_file = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(context)
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(
            alertmanager_end() if name == "alertmanager" else open_end(name, context, ca_file)
        )


@contextmanager
def alertmanager_end() -> Iterator[WebhookEnd]:
    """Start a webhook receiver for bodies in Alertmanager format."""
    with HttpEnd(lambda _: Reply(200)) as server:
        end = WebhookEnd(server, options(webhook.Options, url=server.url, format="alertmanager"))
        yield end
        end.notifier.close()
