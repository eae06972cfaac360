"""Answer which receivers an alert would get to now, and what would hold its messages: the routes and gates of the service.

`actionwatch routes test` prints it. Nothing is stored or sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts import routes
from actionwatch.alerts.routes import Route, Visit, alert_labels
from actionwatch.base.delivery import new_delivery
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Alert, Event, Level, Record, RuleName
from actionwatch.delivery.gate_check import GateCheck
from actionwatch.delivery.gates import GateContext, decisions
from actionwatch.delivery.lifecycle import GateDecision, Hold, Suppress
from actionwatch.rules.model import Rule
from actionwatch.service.policies import build_policy, rate_of
from actionwatch.service.receivers import build_global_policy
from actionwatch.settings import Receiver, Settings
from actionwatch.store import receivers
from actionwatch.store.outbox import DueDelivery
from actionwatch.store.receivers import Health
from actionwatch.text.matchers import Labels
from actionwatch.text.payloads import instant


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A gate that would stop a message. `by` and `ref` are those of `alerts list`: the silence, the interval, the alert."""

    by: str
    ref: str | None
    what: str


@dataclass(frozen=True, slots=True)
class ReceiverForecast:
    """The messages that a receiver would get. `places` are its routes; the mute intervals are those of the first one.

    `held_by` is empty if the message would be sent. The `notes` delay it: the rate, a pause, a receiver that fails.
    """

    name: str
    places: tuple[str, ...]
    mutes: tuple[str, ...]
    held_by: tuple[Obstacle, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Routing:
    """The labels of an alert, the search in the tree, and each receiver in the order of the settings."""

    labels: Labels
    visit: Visit
    receivers: list[ReceiverForecast]


def example_alert(
    name: str, rule: Rule | None, level: Level, source: str, labels: Mapping[str, str], now: datetime
) -> Alert:
    """Return an alert that a rule could open now. `labels` are those of its source and of its record, which it has not."""
    own = rule.alert.labels if rule is not None else {}
    title = rule.name.title if rule is not None else name
    return Alert(
        id="",
        rule=RuleName(rule.name.id if rule is not None else name, name, title),
        level=level,
        title=title,
        body="",
        source=source,
        first_at=now,
        last_at=now,
        opened_at=now,
        labels={**own, **labels},
    )


def forecast(
    settings: Settings, connection: Connection | None, alert: Alert, newest: Record | None, now: datetime
) -> Routing:
    """Route an alert by its newest record, and evaluate each gate. Without a store, only gates that need none can stop it."""
    labels = alert_labels(alert, newest)
    root = routes.build(settings.route, [receiver.name for receiver in settings.receivers])
    visit = routes.visit(root, labels)
    mutes = visit.mutes
    global_policy = build_global_policy(settings)
    health = receivers.read_all(connection) if connection is not None else {}
    found = []
    for receiver in settings.receivers if not alert.is_shadow else ():
        if receiver.name not in mutes:
            continue
        row = new_delivery(alert.id, receiver.name, Event.OPENED, 1, now, now, mutes[receiver.name])
        policy = build_policy(receiver)
        if connection is not None:
            due = DueDelivery(row, alert, is_notified=False)
            stopped = GateCheck(global_policy).foresee(connection, policy, due, now)
        else:
            context = GateContext(row, Event.OPENED, alert, labels, False, now, policy, global_policy)
            stopped = list(decisions(context))
        places = tuple(place for place, route in _places_of(visit) if receiver.name in route.receivers)
        obstacles = tuple(map(_obstacle, stopped))
        notes = tuple(_notes(receiver, health.get(receiver.name, Health()), now))
        found.append(ReceiverForecast(receiver.name, places, row.mutes, obstacles, notes))
    return Routing(labels, visit, found)


def _places_of(visit: Visit, place: str = "route") -> list[tuple[str, Route]]:
    """Return the nodes that take the alert, each with its place in the configuration: `route.routes[1]`."""
    if not visit.is_met:
        return []
    below = [found for index, each in enumerate(visit.below) for found in _places_of(each, f"{place}.routes[{index}]")]
    return below or [(place, visit.route)]


def _obstacle(decision: GateDecision) -> Obstacle:
    if isinstance(decision, Suppress):
        later = "; a summary reports it at the end" if decision.awaits else ""
        return Obstacle(decision.by, decision.ref, f"{decision.what}{later}")
    return Obstacle("digest" if isinstance(decision, Hold) else "storm", None, decision.what)


def _notes(receiver: Receiver, health: Health, now: datetime) -> list[str]:
    """Return what delays a message without stopping it."""
    notes = []
    rate = rate_of(receiver)
    if rate:
        notes.append(f"rate: at most {rate:g} per second" if rate >= 1 else f"rate: one in {1 / rate:g} s")
    if health.paused_until is not None and health.paused_until > now:
        notes.append(f"paused until {instant(health.paused_until)}")
    if health.failing_since is not None:
        fallback = receiver.fallback
        copy = f"; {fallback} gets a copy after {spell_duration(receiver.fallback_after)}" if fallback else ""
        notes.append(f"failing since {instant(health.failing_since)}: {health.last_error}{copy}")
    return notes
