"""Find the groups that matter if a rule counts some records: by rule. For explanations."""

from __future__ import annotations

from collections.abc import Sequence

from actionwatch.base.model import Group
from actionwatch.rules.correlations.feed import GroupedHits
from actionwatch.rules.model import Correlation, Rule

_Values = frozenset[tuple[str, str | None]]
"""The values of some fields of a group."""


def involved_in(rule: Rule, rules: Sequence[Rule]) -> list[Rule]:
    """Return a rule and those that feed it, directly or through others, in their order."""
    known = {each.name.id: each for each in rules}
    found, pending = set[str](), [rule.name.id]
    while pending:
        each = known.get(pending.pop())
        if each is not None and each.name.id not in found:
            found.add(each.name.id)
            pending += [step.rule_id for step in each.correlation.steps] if each.correlation is not None else []
    return [each for each in rules if each.name.id in found]


class RelevantGroups:
    """The groups, of a rule and of those that feed it, that can matter to the groups in which the rule counts some records.

    Groups of one rule do not depend on each other. A group of an outer rule has the values of the inner group for the fields
    that both have; what it takes from a record can be anything.
    """

    def __init__(self, rule_id: str, rules: Sequence[Correlation], hits: GroupedHits) -> None:
        """`rules` are in feeding order; `hits` are those of the records, by the number of their rule."""
        self._rules = rules
        self._numbers = {each.name.id: number for number, each in enumerate(rules)}
        counting: list[set[_Values]] = [set() for _ in rules]
        for number, groups in hits.items():
            counting[number].update(frozenset(rules[number].grouping(group).items()) for group in groups)
        for number, inner in self._links():
            counting[number] |= {_shared(values, rules[number], rules[number]) for values in counting[inner]}
        self._values: list[set[_Values]] = [set() for _ in rules]
        if rule_id in self._numbers:
            self._values[self._numbers[rule_id]] = counting[self._numbers[rule_id]]
        for number, inner in reversed(self._links()):
            self._values[inner] |= {_shared(values, rules[inner], rules[number]) for values in self._values[number]}

    def __bool__(self) -> bool:
        return any(self._values)

    def has(self, rule_id: str, group: Group) -> bool:
        """Return whether a group of a rule can matter."""
        number = self._numbers.get(rule_id)
        return number is not None and len(group) == len(self._rules[number].group_fields) and self.has_at(number, group)

    def has_at(self, number: int, group: Group) -> bool:
        """Return whether a group can matter, of the rule with this number."""
        its = self._rules[number].grouping(group).items()
        return any(values <= its for values in self._values[number])

    def values_of(self, rule_id: str, name: str) -> set[str | None]:
        """Return the values that a field has in the groups of a rule that counts only records."""
        return {dict(values)[name] for values in self._values[self._numbers[rule_id]]}

    def _links(self) -> list[tuple[int, int]]:
        """Return which rule counts alerts of which other one, by number, those below first."""
        return [
            (number, self._numbers[step.rule_id])
            for number, rule in enumerate(self._rules)
            for step in rule.steps
            if step.rule_id in self._numbers
        ]


def _shared(values: _Values, rule: Correlation, outer: Correlation) -> _Values:
    """Return the values of the fields that a rule has. Where groups are expected, records can replace absent values."""
    if outer.is_absence:
        return frozenset()
    return frozenset((name, value) for name, value in values if name in rule.group_fields)
