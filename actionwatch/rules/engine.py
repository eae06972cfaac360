"""Evaluate rules on a batch of records; called by `matching/matcher.py`.

Pure: no clock and no I/O. Matches are in the order of the records, then of the rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from actionwatch.base.model import Match, Mode, Record, RuleName
from actionwatch.rules.alert import make_match
from actionwatch.rules.conditions import Predicate, predicate
from actionwatch.rules.fields import Subject
from actionwatch.rules.index import Index
from actionwatch.rules.model import Rule

MAX_FAILURES = 1000  # kept until they are taken; the same failure repeats with every record
_MAX_KNOWN_MASKS = 10_000  # distinct sets of possible rules that are cached

# Conditions are total, so none of these is expected. If one occurs, it must not stop the other rules.
_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """An error of a rule on a record. The rule continues with the next record."""

    rule: RuleName
    record_key: str
    what: str


class Engine:
    """Evaluates a fixed set of rules, except those that are off. Its state is only a cache."""

    def __init__(self, rules: Sequence[Rule], *, is_feeding: bool = False) -> None:
        """Use the rules that alert by themselves, or with `is_feeding` every rule, for `meet`."""
        alerting = (rule for rule in rules if is_feeding or (rule.correlation is None and not rule.is_silent))
        self.rules = tuple(rule for rule in alerting if rule.mode is not Mode.OFF)
        self.failures: deque[RuleFailure] = deque(maxlen=MAX_FAILURES)
        self._index = Index([rule.condition for rule in self.rules])
        self._runnable = [(rule, predicate(self._index.rest(rule.condition))) for rule in self.rules]
        self._known: dict[int, tuple[tuple[Rule, Predicate], ...]] = {}

    def evaluate(self, records: Iterable[Record]) -> list[Match]:
        """Return every match. Add errors to `failures` instead of raising them."""
        matches: list[Match] = []
        for rule, subject in self.meet(records):
            try:
                on_failure = partial(self._fail, rule, subject)
                matches.append(make_match(rule.name, rule.level, rule.alert, subject, on_failure))
            except _ERRORS as exc:
                self._fail(rule, subject, f"{type(exc).__name__}: {exc}")
        return matches

    def meet(self, records: Iterable[Record]) -> Iterator[tuple[Rule, Subject]]:
        """Yield each rule with each record that meets its condition."""
        for record, mask in self._index.possible(records):
            subject = Subject(record)
            for rule, holds in self._survivors(mask):
                try:
                    is_met = holds(subject)
                except _ERRORS as exc:
                    self._fail(rule, subject, f"{type(exc).__name__}: {exc}")
                    continue
                if is_met:
                    yield rule, subject

    def take_failures(self) -> list[RuleFailure]:
        """Return and remove the failures since the last call, oldest first."""
        taken = list(self.failures)
        self.failures.clear()
        return taken

    def _fail(self, rule: Rule, subject: Subject, what: str) -> None:
        self.failures.append(RuleFailure(rule.name, subject.record.key, what))

    def _survivors(self, mask: int) -> tuple[tuple[Rule, Predicate], ...]:
        known = self._known.get(mask)
        if known is None:
            if len(self._known) >= _MAX_KNOWN_MASKS:
                self._known.clear()
            known = self._known[mask] = tuple(self._runnable[number] for number in _bits(mask))
        return known


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
