"""Build what delivers alerts from the configuration: the routing tree, the notifiers, the policies and the templates."""

from __future__ import annotations

from actionwatch.alerts import routes
from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.delivery.receiver_worker import Channel
from actionwatch.matching.addressing import Addressing
from actionwatch.notifiers.base import WithDigest, notifier_module, templates_of
from actionwatch.service.configuration import time_intervals
from actionwatch.settings import Receiver, Settings
from actionwatch.text.links import Links


def build_addressing(settings: Settings) -> Addressing:
    """Build the routing tree and its receivers."""
    policies = {receiver.name: build_policy(receiver) for receiver in settings.receivers}
    return Addressing(routes.build(settings.route, list(policies)), policies)


def build_channel(receiver: Receiver) -> Channel:
    """Build a receiver's notifier, with its templates and policy."""
    module = notifier_module(receiver.type)
    return Channel(
        name=receiver.name,
        notifier=module.build(receiver.options, receiver=receiver.name),
        templates=templates_of(receiver.type, receiver.options),
        retry=receiver.retry,
        concurrency=receiver.concurrency,
        rate_per_second=rate_of(receiver),
        policy=build_policy(receiver),
    )


def rate_of(receiver: Receiver) -> float | None:
    """Return how many messages per second a receiver takes at most: as configured, or by its type."""
    own = receiver.rate_per_second
    return notifier_module(receiver.type).TRAITS.rate_per_second if own is None else own


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
        objective=receiver.slo.p99 if receiver.slo else None,
    )


def _storm(receiver: Receiver) -> Storm | None:
    if receiver.storm is None:
        return Storm() if notifier_module(receiver.type).TRAITS.is_read_by_people else None
    return None if receiver.storm == "off" else Storm(receiver.storm.above, receiver.storm.per)


def build_global_policy(settings: Settings) -> GlobalPolicy:
    """Build the policy of all receivers: the inhibition rules, the time intervals and the links."""
    rules = [
        InhibitRule(
            tuple(routes.parse_matcher(text) for text in rule.source_matchers),
            tuple(routes.parse_matcher(text) for text in rule.target_matchers),
            rule.equal,
        )
        for rule in settings.inhibit_rules
    ]
    return GlobalPolicy(tuple(rules), time_intervals(settings), Links(settings.web.url))
