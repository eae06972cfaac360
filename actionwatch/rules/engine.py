"""Rules meet records: `matching/matcher.py` asks here which matches a batch of records makes.

Pure: no clock, no I/O, no order of its own. Matches come in the order of the records, then of the rules.
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

MAX_FAILURES = 1000  # kept until they are taken; the same trouble repeats with every record
MAX_KNOWN_MASKS = 10_000  # distinct sets of survivors whose rules are remembered

# Conditions are total, so none of these is expected; were one to come all the same, it must not stop the other rules.
TROUBLES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with a rule on a record: the rule goes on."""

    rule: RuleName
    record_key: str
    what: str


class Engine:
    """A fixed set of rules over any number of records, those that are off left out; what it remembers only makes it faster."""

    def __init__(self, rules: Sequence[Rule], *, is_feeding: bool = False) -> None:
        """Take the rules that alert by themselves; `is_feeding`: every rule given, to `meet` records with."""
        alerting = (rule for rule in rules if is_feeding or (rule.correlation is None and not rule.is_silent))
        self.rules = tuple(rule for rule in alerting if rule.mode is not Mode.OFF)
        self.failures: deque[Failure] = deque(maxlen=MAX_FAILURES)
        self._index = Index([rule.condition for rule in self.rules])
        self._runnable = [(rule, predicate(self._index.rest(rule.condition))) for rule in self.rules]
        self._known: dict[int, tuple[tuple[Rule, Predicate], ...]] = {}

    def evaluate(self, records: Iterable[Record]) -> list[Match]:
        """Give every match. Failures are added to `failures`, never raised."""
        matches: list[Match] = []
        for rule, subject in self.meet(records):
            try:
                on_failure = partial(self._fail, rule, subject)
                matches.append(make_match(rule.name, rule.level, rule.alert, subject, on_failure))
            except TROUBLES as exc:
                self._fail(rule, subject, f"{type(exc).__name__}: {exc}")
        return matches

    def meet(self, records: Iterable[Record]) -> Iterator[tuple[Rule, Subject]]:
        """Give each record with each rule whose condition it meets."""
        for record, mask in self._index.possible(records):
            subject = Subject(record)
            for rule, holds in self._survivors(mask):
                try:
                    is_met = holds(subject)
                except TROUBLES as exc:
                    self._fail(rule, subject, f"{type(exc).__name__}: {exc}")
                    continue
                if is_met:
                    yield rule, subject

    def take_failures(self) -> list[Failure]:
        """Give the failures since the last call, oldest first, and forget them."""
        taken = list(self.failures)
        self.failures.clear()
        return taken

    def _fail(self, rule: Rule, subject: Subject, what: str) -> None:
        self.failures.append(Failure(rule.name, subject.record.key, what))

    def _survivors(self, mask: int) -> tuple[tuple[Rule, Predicate], ...]:
        known = self._known.get(mask)
        if known is None:
            if len(self._known) >= MAX_KNOWN_MASKS:
                self._known.clear()
            known = self._known[mask] = tuple(self._runnable[number] for number in _bits(mask))
        return known


def _bits(mask: int) -> Iterator[int]:
    """Give the places of the bits that are set, lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
