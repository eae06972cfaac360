"""Which receivers get an alert: Alertmanager's routing tree, applied to the labels of an alert.

Pure: `service/app.py` builds the tree once from the settings, `matching/matcher.py` searches it for every match.
Source: Alertmanager's `dispatch/route.go` (`Route.Match`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from actionwatch.base.model import Alert, Entity, Record
from actionwatch.text.matchers import Labels, Matcher, parse_matcher

RECORD_LABELS = ("actionKind", "userName", "account", "cluster", "scope", "crudOperation")
OWN_LABELS = (*RECORD_LABELS, "rule", "level", "source", "trouble", "mode", "test")
"""The labels that actionwatch sets, which sources cannot have."""
_LABELS_OF_FIELDS = {
    **{name: name for name in (*RECORD_LABELS, "source")},
    **{f"{name}.{part}": name for name in ("account", "cluster") for part in ("id", "name")},
    "clusterId": "cluster",
}


@dataclass(frozen=True, slots=True)
class Route:
    """A node of the tree. `receivers` is not empty if the settings contain any receiver.

    `mutes` are the names of the time intervals in which it delivers nothing. As in Alertmanager, children do not inherit them.

    """

    receivers: tuple[str, ...]
    matchers: tuple[Matcher, ...] = ()
    is_continued: bool = False
    routes: tuple[Route, ...] = ()
    mutes: tuple[str, ...] = ()


class RouteText(Protocol):
    """A node in the form of the settings; empty `targets` inherit those of the parent."""

    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def matchers(self) -> tuple[str, ...]: ...
    @property
    def is_continued(self) -> bool: ...
    @property
    def mute_time_intervals(self) -> tuple[str, ...]: ...
    @property
    def routes(self) -> Sequence[RouteText]: ...


def build(root: RouteText, everyone: Sequence[str]) -> Route:
    """Build the tree. `everyone` are all receivers, in the order of the settings: the default of the root.

    Raises: ValueError, from `parse_matcher`.

    """
    receivers = root.targets or tuple(everyone)
    matchers = tuple(parse_matcher(text) for text in root.matchers)
    children = tuple(build(child, receivers) for child in root.routes)
    return Route(receivers, matchers, root.is_continued, children, root.mute_time_intervals)


def receivers_in(route: Route) -> set[str]:
    """Return the receivers that any alert can reach in the tree."""
    return set(route.receivers).union(*map(receivers_in, route.routes))


def mutes_for(route: Route, labels: Labels) -> dict[str, tuple[str, ...]]:
    """Return the receivers of an alert in the order of the tree, each with the mute intervals of its first route.

    Depth first: the first child that matches ends the search unless it continues. A node without a matching child receives
    itself. Empty only if the root does not match or has no receiver.

    """
    return visit(route, labels).mutes


@dataclass(frozen=True, slots=True)
class Visit:
    """The result of the search at one node. `failed` is the first matcher that the labels do not meet.

    `is_passed_over`: an earlier sibling took the alert and does not continue, so that this node was not tried.
    """

    route: Route
    failed: Matcher | None = None
    is_passed_over: bool = False
    below: tuple[Visit, ...] = ()

    @property
    def is_met(self) -> bool:
        """Whether the node was tried and all its matchers matched."""
        return self.failed is None and not self.is_passed_over

    @property
    def takers(self) -> list[Route]:
        """The nodes whose receivers get the alert: the deepest ones that matched, in the order of the tree."""
        if not self.is_met:
            return []
        return [route for each in self.below for route in each.takers] or [self.route]

    @property
    def mutes(self) -> dict[str, tuple[str, ...]]:
        """The receivers that get the alert, each with the mute intervals of the first node that takes it for them."""
        found: dict[str, tuple[str, ...]] = {}
        for node in self.takers:
            for name in node.receivers:
                found.setdefault(name, node.mutes)
        return found


def visit(route: Route, labels: Labels) -> Visit:
    """Search the tree, and return what happened at each node."""
    failed = next((matcher for matcher in route.matchers if not matcher.is_met(labels)), None)
    if failed is not None:
        return Visit(route, failed)
    below: list[Visit] = []
    is_taken = False
    for child in route.routes:
        found = Visit(child, is_passed_over=True) if is_taken else visit(child, labels)
        below.append(found)
        is_taken = is_taken or (found.is_met and not child.is_continued)
    return Visit(route, below=tuple(below))


def alert_labels(alert: Alert, record: Record | None) -> Labels:
    """Return the labels that routes match. `record` is the newest record of the alert, None if it has none.

    An alert without records (a self-alert, or an absence) has the labels of its group.

    The labels of the rule come first, so that a label `rule` or `source` of a rule does not replace the real one.

    """
    labels: dict[str, str | tuple[str, ...]] = dict(alert.labels)
    labels |= {"rule": alert.rule.name, "level": alert.level.word, "source": alert.source}
    if record is None:
        return {**group_labels(alert), **labels}
    return {**labels, **record_labels(record), "source": alert.source}


def record_labels(record: Record) -> Labels:
    """Return the labels of a record, which its alerts have too."""
    return {
        "actionKind": record.action_kind,
        "userName": record.user_name or "",
        "account": _names(record.account),
        "cluster": _names(record.cluster),
        "scope": record.scope or "",
        "crudOperation": record.operation or "",
        "source": record.source,
    }


def newest_labels(alert: Alert, newest: Mapping[str, Sequence[Record]]) -> Labels:
    """Return the labels of an alert with its newest record. `newest` has the newest records of each alert, newest last."""
    found = newest.get(alert.id)
    return alert_labels(alert, found[-1] if found else None)


def group_labels(alert: Alert) -> dict[str, tuple[str, ...]]:
    """Return the labels that distinguish an alert's group within its rule: `clusterId` as `cluster`; no value if absent.

    A field that is not a label, such as one of `raw`, is omitted, and so is the absent id or name of an entity.

    """
    found: dict[str, tuple[str, ...]] = {}
    for field_name, value in (alert.group or {}).items():
        label = _LABELS_OF_FIELDS.get(field_name)
        if label is not None and (value or label == field_name):
            found[label] = (*found.get(label, ()), *((value,) if value else ()))
    return found


def _names(entity: Entity) -> tuple[str, ...]:
    return tuple(name for name in (entity.id, entity.name) if name)
