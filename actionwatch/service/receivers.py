"""Build what delivers alerts from the configuration: the routing tree, the notifiers, the policies and the templates."""

from __future__ import annotations

from actionwatch.alerts import routes
from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.alerts.policy import GlobalPolicy
from actionwatch.delivery.attempt import Channel
from actionwatch.matching.addressing import Addressing
from actionwatch.notifiers.base import notifier_module, templates_of
from actionwatch.service.configuration import time_intervals
from actionwatch.service.policies import build_policy, rate_of
from actionwatch.settings import Receiver, Settings
from actionwatch.text.links import Links
from actionwatch.text.matchers import parse_matcher


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


def build_global_policy(settings: Settings) -> GlobalPolicy:
    """Build the policy of all receivers: the inhibition rules, the time intervals and the links."""
    rules = [
        InhibitRule(
            tuple(parse_matcher(text) for text in rule.source_matchers),
            tuple(parse_matcher(text) for text in rule.target_matchers),
            rule.equal,
        )
        for rule in settings.inhibit_rules
    ]
    return GlobalPolicy(tuple(rules), time_intervals(settings), Links(settings.web.url))
