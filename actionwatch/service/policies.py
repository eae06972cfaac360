"""The rate and the policy of each receiver, and which get alerts, from the configuration: `check` needs no more of them."""

from __future__ import annotations

from actionwatch.alerts import routes
from actionwatch.alerts.policy import ReceiverPolicy, Storm
from actionwatch.notifiers.base import WithDigest, notifier_module
from actionwatch.settings import Receiver, Settings


def rate_of(receiver: Receiver) -> float | None:
    """Return how many messages per second a receiver takes at most: as configured, or by its type."""
    own = receiver.rate_per_second
    return notifier_module(receiver.type).TRAITS.rate_per_second if own is None else own


def unrouted(settings: Settings) -> list[str]:
    """Return the receivers that no alert is routed to, and that are no fallback: only escalations of rules reach them."""
    names = [receiver.name for receiver in settings.receivers]
    reached = routes.receivers_in(routes.build(settings.route, names))
    reached |= {receiver.fallback for receiver in settings.receivers if receiver.fallback is not None}
    return [name for name in names if name not in reached]


def build_policy(receiver: Receiver) -> ReceiverPolicy:
    """Build the policy of one receiver."""
    digest = receiver.options.digest if isinstance(receiver.options, WithDigest) else None
    return ReceiverPolicy(
        min_level=receiver.min_level,
        storm=_storm(receiver),
        digest=digest.crontab if digest else None,
        updates=receiver.updates,
        is_updated_last=notifier_module(receiver.type).TRAITS.is_updated_last,
        fallback=receiver.fallback,
        fallback_after=receiver.fallback_after,
    )


def _storm(receiver: Receiver) -> Storm | None:
    if receiver.storm is None:
        return Storm() if notifier_module(receiver.type).TRAITS.is_read_by_people else None
    return None if receiver.storm == "off" else Storm(receiver.storm.above, receiver.storm.per)
