"""Inhibition: while a source alert is unresolved, the alerts that it explains are not delivered. Pure.

Source: Alertmanager's `inhibit/inhibit.go`. The labels in `equal` must be equal (two absent ones are), no alert inhibits
itself, and an alert that matches both sides of a rule is not inhibited by another one that does.

Unlike there, an alert that is inhibited inhibits no other one, because nobody gets its message. If two alerts would inhibit
each other by different rules, the source of the first rule wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actionwatch.base.model import Alert, Status
from actionwatch.base.unicode import canonical
from actionwatch.text.matchers import Labels, Matcher

_WORDS = re.compile(r"[\w-]+(?:\|[\w-]+)*", re.ASCII)  # alternatives without any other operator of regular expressions


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """Alerts that match `sources` inhibit alerts that match `targets`, if the labels `equal` are equal."""

    sources: tuple[Matcher, ...]
    targets: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()

    @property
    def source_rules(self) -> tuple[str, ...]:
        """Return the only rule names that can be sources; empty if any can, or if a name can be written in several ways."""
        return _rules_named(self.sources)

    @property
    def target_rules(self) -> tuple[str, ...]:
        """Return the only rule names that can be targets, as `source_rules` does."""
        return _rules_named(self.targets)


def _rules_named(matchers: Iterable[Matcher]) -> tuple[str, ...]:
    for matcher in matchers:
        if (matcher.label, matcher.operator) == ("rule", "=") and matcher.value.isascii():
            return (matcher.value,)
        if (matcher.label, matcher.operator) == ("rule", "=~") and _WORDS.fullmatch(matcher.value):
            return tuple(matcher.value.split("|"))
    return ()


@dataclass(frozen=True, slots=True)
class Labelled:
    """An alert and its labels."""

    alert: Alert
    labels: Labels


def inhibitor_of(target: Labelled, rules: Sequence[InhibitRule], candidates: Iterable[Labelled]) -> Alert | None:
    """Return the alert that inhibits a target, the first one in the order of the rules and then of the candidates.

    The candidates are `uninhibited`.
    """
    own = [(number, rule) for number, rule in enumerate(rules) if _meets(rule.targets, target.labels)]
    near = [each for each in candidates if _is_near(each.alert, target.alert)] if own else []
    for number, rule in own:
        for source in near:
            if _inhibits(rule, source, target) and not _is_contrary(rules[:number], source, target):
                return source.alert
    return None


def uninhibited(rules: Sequence[InhibitRule], candidates: Sequence[Labelled]) -> list[Labelled]:
    """Return the candidates that no other candidate would inhibit: only these inhibit, so that nothing is silent."""
    sources = [each for each in candidates if rules_with_source(each.labels, rules)]
    return [each for each in candidates if inhibitor_of(each, rules, sources) is None]


def _is_contrary(rules: Iterable[InhibitRule], source: Labelled, target: Labelled) -> bool:
    """Return whether a target would inhibit its source by one of these rules."""
    return _is_near(target.alert, source.alert) and any(_inhibits(rule, target, source) for rule in rules)


def rules_with_source(labels: Labels, rules: Iterable[InhibitRule]) -> list[InhibitRule]:
    """Return the rules of which an alert with these labels is a source."""
    return [rule for rule in rules if _meets(rule.sources, labels)]


def rules_with_target(labels: Labels, rules: Iterable[InhibitRule]) -> list[InhibitRule]:
    """Return the rules of which an alert with these labels is a target."""
    return [rule for rule in rules if _meets(rule.targets, labels)]


def _inhibits(rule: InhibitRule, source: Labelled, target: Labelled) -> bool:
    if not (_meets(rule.sources, source.labels) and _meets(rule.targets, target.labels)):
        return False
    if _meets(rule.sources, target.labels) and _meets(rule.targets, source.labels):
        return False  # each would inhibit the other, and an alert itself
    return all(_agree(source.labels.get(name, ""), target.labels.get(name, "")) for name in rule.equal)


def _is_near(source: Alert, target: Alert) -> bool:
    """Return whether a source is active at the time of the target. It uses event time, so that late records change nothing."""
    end = source.last_at + source.realert
    return source.status is not Status.RESOLVED and source.first_at <= target.last_at <= end


def _meets(matchers: Iterable[Matcher], labels: Labels) -> bool:
    return all(matcher.is_met(labels) for matcher in matchers)


def _agree(one: str | tuple[str, ...], other: str | tuple[str, ...]) -> bool:
    """Compare two labels. Of the names of one object (a cluster's id and name), one in common is sufficient."""
    values, others = (
        {canonical(text) for text in ((label,) if isinstance(label, str) else label) if text} for label in (one, other)
    )
    return bool(values & others) or not (values or others)
