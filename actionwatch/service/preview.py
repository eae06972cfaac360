"""Show as files what a receiver would get from a rule. Nothing is sent.

The alert is the newest of that rule in the store, or else the one that the first alerting test of the rule makes.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from actionwatch.base import clock
from actionwatch.base.errors import ActionwatchError
from actionwatch.base.model import Alert, Event, Record, Status
from actionwatch.delivery.compose import message_of
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.notifiers.base import notifier_module, templates_of
from actionwatch.rules.case_runner import make_records, simulate_case
from actionwatch.rules.model import Rule
from actionwatch.service import configuration
from actionwatch.service.rendering import build_renderer
from actionwatch.service.simulation import simulate
from actionwatch.settings import Receiver, Settings
from actionwatch.store import alerts, records
from actionwatch.store.database import StoreReader
from actionwatch.text.links import Links
from actionwatch.text.payloads import RECORDS_SHOWN


def preview_files(settings: Settings, store: StoreReader | None, rule_name: str, receiver: Receiver) -> dict[str, str]:
    """Return file name -> text of what `receiver` would get from the rule of that name or id; from its tests without a store.

    Raises: ActionwatchError, if there is no such rule, or nothing to make an alert of.
    """
    rules = configuration.read_rules(settings).rules
    chosen = [rule for rule in rules if rule_name in (rule.name.name, rule.name.id)]
    if not chosen:
        raise ActionwatchError(f"no rule is called {rule_name}: see 'actionwatch rules list'")
    alert, shown = (store and _stored(store, chosen[0])) or _tested(chosen[0], rules)
    message = message_of("preview", Event.OPENED, alert, shown, clock.utc_now(), links=Links(settings.web.url))
    renderer = build_renderer(settings)
    rendered, _ = renderer.render(templates_of(receiver.type, receiver.options), message)
    return notifier_module(receiver.type).preview(receiver.options, message, rendered, receiver=receiver.name)


def _stored(store: StoreReader, rule: Rule) -> tuple[Alert, Sequence[Record]] | None:
    with store.read() as connection:
        alert = alerts.read_newest_of_rule(connection, rule.name.id)
        if alert is None:
            return None
        return alert, records.read_of_alerts(connection, [alert.id], RECORDS_SHOWN)[alert.id]


def _tested(rule: Rule, rules: Sequence[Rule]) -> tuple[Alert, Sequence[Record]]:
    for case in rule.tests:
        outcome = simulate_case(rule, case, rules, make_records(case, KINDS), simulate)
        own = [alert for alert in outcome.alerts if alert.rule.id == rule.name.id]
        if own:
            opened = replace(own[-1], status=Status.OPEN, opened_at=clock.utc_now(), resolved_by=None, resolved_at=None)
            return opened, outcome.records[opened.id]
    raise ActionwatchError(f"rule {rule.name.name} has opened no alert yet, and none of its tests makes one")
