"""Send a test message with the configuration of the calling process, whether or not a service delivers from the store.

The outbox gets the message together with its outcome, in one transaction. A service that has an older configuration would give
up a message that waits for a receiver that it does not know. A test is never retried: the person who sent it sees the error.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from actionwatch.alerts.ledger import RESOLVED_BY, open_test_alert, resolve
from actionwatch.base.delivery import new_delivery
from actionwatch.base.model import Event
from actionwatch.delivery import lifecycle
from actionwatch.delivery.attempt import Attempt, Channel, MessageRenderer, Sending, send_once
from actionwatch.delivery.compose import Job, freeze, message_of
from actionwatch.delivery.lifecycle import Accepted
from actionwatch.delivery.retry import Bury
from actionwatch.store import alert_history, alerts, delivery_transitions
from actionwatch.store.database import Database
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.text.escaping import visible
from actionwatch.text.links import NO_LINKS, Links

_NOT_RETRIED = "a test is not retried"
_COMMAND = "receivers test"


def send_test(
    database: Database,
    channel: Channel,
    renderer: MessageRenderer,
    clock: Callable[[], datetime],
    links: Links = NO_LINKS,
) -> Attempt:
    """Send the message about a test alert once, record how that ended, and return it.

    The alert is stored as resolved, because no action is needed.
    """
    now = clock()
    alert = resolve(open_test_alert(channel.name, now), RESOLVED_BY, now)
    delivery = new_delivery(alert.id, channel.name, Event.TEST, 1, now, now)
    message = message_of(delivery.id, Event.TEST, alert, (), now, links=links)
    delivery = replace(delivery, attempts=1, body=freeze(message))
    ended = send_once(Sending(channel, renderer), Job(delivery, message, alert))
    outcome: Accepted | Bury
    if ended.error is None:
        outcome = Accepted(message.type, ended.receipt.note and visible(ended.receipt.note))
    else:
        outcome = Bury(_NOT_RETRIED, str(ended.error))
    with database.write() as connection:
        alerts.insert_new(connection, [(alert, alert.id)])
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "tested", channel.name)])
        delivery_transitions.enqueue(connection, [delivery])
        lifecycle.apply(connection, [(delivery, outcome)], clock())
        if ended.error is not None:
            delivery_transitions.drop(connection, DeliveryFilter(ids=[delivery.id]), _COMMAND)
    return ended
