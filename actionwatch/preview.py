"""What a receiver would get from a rule, as files to look at; nothing is sent.

The alert is the newest the store holds of that rule, else the one that the rule's own first alerting test makes.
"""

from __future__ import annotations

from collections.abc import Sequence

from actionwatch import app
from actionwatch.alerts.grouping import open_alert
from actionwatch.documents import RECORDS_SHOWN, alert_document
from actionwatch.errors import ActionwatchError
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.model import MESSAGE_TYPES, Alert, Event, Message, Record
from actionwatch.notifiers.base import notifier_module, templates_of
from actionwatch.render import Renderer
from actionwatch.rules.check import make_records
from actionwatch.rules.engine import Engine, Rule
from actionwatch.settings import Receiver, Settings
from actionwatch.store import alerts, records
from actionwatch.store.database import Database


def preview_files(settings: Settings, database: Database, rule_name: str, receiver: Receiver) -> dict[str, str]:
    """Give file name -> text of what `receiver` would get from the rule of that name or id.

    Raises: ActionwatchError, where there is no such rule, or nothing to make an alert of.
    """
    rules = app.read_rules(settings).rules
    chosen = [rule for rule in rules if rule_name in (rule.name.name, rule.name.id)]
    if not chosen:
        raise ActionwatchError(f"no rule is called {rule_name}: see 'actionwatch rules list'")
    alert, shown = _stored(database, chosen[0]) or _tested(chosen[0])
    fields = app.field_texts(shown[-1], alert.fields) if shown else ()
    message = Message("preview", MESSAGE_TYPES[Event.OPENED], app.utc_now(), alert_document(alert, shown), fields)
    renderer = Renderer([settings.templates, app.shipped("templates")])
    rendered, _ = renderer.render(templates_of(receiver.type, receiver.options), message)
    return notifier_module(receiver.type).preview(receiver.options, message, rendered, receiver=receiver.name)


def _stored(database: Database, rule: Rule) -> tuple[Alert, Sequence[Record]] | None:
    with database.read() as connection:
        alert = alerts.read_newest_of_rule(connection, rule.name.id)
        if alert is None:
            return None
        return alert, records.read_of_alerts(connection, [alert.id], RECORDS_SHOWN)[alert.id]


def _tested(rule: Rule) -> tuple[Alert, Sequence[Record]]:
    for case in rule.tests:
        matches = Engine([rule]).evaluate(make_records(case, KINDS))
        if matches:
            return open_alert(matches[-1], app.utc_now()), [matches[-1].record]
    raise ActionwatchError(
        f"rule {rule.name.name} has opened no alert yet, and none of its tests makes one of a single record"
    )
