"""Evaluate rules on a batch of records; called by `matching/matcher.py`.

Pure: no clock and no I/O. Matches are in the order of the records, then of the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from actionwatch.base.model import Match, Mode, Record, RuleName
from actionwatch.rules.alert import make_match
from actionwatch.rules.conditions import UNEXPECTED, Every, Predicate, predicate
from actionwatch.rules.fields import Subject
from actionwatch.rules.index import Index
from actionwatch.rules.model import Rule

MAX_FAILURES = 1000  # kept until they are taken, besides the first one of each rule
_MAX_KNOWN_MASKS = 10_000  # distinct sets of possible rules that are cached


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """An error of a rule on a record. The rule continues with the next record.

    `record_key` is empty if a condition failed on a value that records share; `what` then names the value.
    """

    rule: RuleName
    record_key: str
    what: str


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The rules of a bit mask. Those that the index has not decided are `undecided`: their number, and what is left to test."""

    rules: tuple[Rule, ...]
    undecided: tuple[tuple[int, Predicate], ...]


class Failures:
    """The failures of rules until somebody takes them: the first of each rule, and `MAX_FAILURES` in all."""

    def __init__(self) -> None:
        self._kept: list[RuleFailure] = []
        self._rules: set[str] = set()

    def add(self, failure: RuleFailure) -> None:
        """Keep a failure, unless there are many, of the same rule too."""
        if len(self._kept) < MAX_FAILURES or failure.rule.id not in self._rules:
            self._kept.append(failure)
            self._rules.add(failure.rule.id)

    def take_all(self) -> list[RuleFailure]:
        """Return and forget them, oldest first."""
        taken, self._kept, self._rules = self._kept, [], set()
        return taken


class Engine:
    """Evaluates a fixed set of rules, except those that are off. Its state is only a cache."""

    def __init__(self, rules: Sequence[Rule], *, is_feeding: bool = False) -> None:
        """Use the rules that alert by themselves, or with `is_feeding` every rule, for `meet`."""
        alerting = (rule for rule in rules if is_feeding or (rule.correlation is None and not rule.is_silent))
        self.rules = tuple(rule for rule in alerting if rule.mode is not Mode.OFF)
        self._failures = Failures()
        self._index = Index([rule.condition for rule in self.rules], self._fail_all)
        rest = [self._index.rest(rule.condition) for rule in self.rules]
        self._runnable = [None if part == Every(()) else predicate(part) for part in rest]
        self._known: dict[int, _Chosen] = {}

    def evaluate(self, records: Iterable[Record]) -> list[Match]:
        """Return every match. `take_failures` returns the errors of rules."""
        matches: list[Match] = []
        for subject, mask in self.meet(records):
            for rule in self.rules_of(mask):
                try:
                    on_failure = partial(self._fail, rule, subject)
                    matches.append(make_match(rule.name, rule.level, rule.alert, subject, on_failure))
                except UNEXPECTED as exc:
                    self._fail(rule, subject, f"{type(exc).__name__}: {exc}")
        return matches

    def meet(self, records: Iterable[Record]) -> Iterator[tuple[Subject, int]]:
        """Yield each record that meets the condition of any rule, with the bit mask of these rules for `rules_of`."""
        for record, possible in self._index.possible(records):
            subject, mask = Subject(record), possible
            for number, holds in self._chosen(possible).undecided:
                try:
                    is_met = holds(subject)
                except UNEXPECTED as exc:
                    self._fail(self.rules[number], subject, f"{type(exc).__name__}: {exc}")
                    is_met = False
                if not is_met:
                    mask ^= 1 << number
            if mask:
                yield subject, mask

    def rules_of(self, mask: int) -> tuple[Rule, ...]:
        """Return the rules of a bit mask, in their order."""
        return self._chosen(mask).rules

    def take_failures(self) -> list[RuleFailure]:
        """Return and remove the failures since the last call, oldest first."""
        return self._failures.take_all()

    def _fail(self, rule: Rule, subject: Subject, what: str) -> None:
        self._failures.add(RuleFailure(rule.name, subject.record.key, what))

    def _fail_all(self, mask: int, what: str) -> None:
        for number in _bits(mask):
            self._failures.add(RuleFailure(self.rules[number].name, "", what))

    def _chosen(self, mask: int) -> _Chosen:
        known = self._known.get(mask)
        if known is None:
            numbers = list(_bits(mask))
            left = ((number, holds) for number in numbers if (holds := self._runnable[number]) is not None)
            known = _Chosen(tuple(self.rules[number] for number in numbers), tuple(left))
            if len(self._known) >= _MAX_KNOWN_MASKS:
                self._known.clear()
            self._known[mask] = known
        return known


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
