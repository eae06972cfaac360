"""The changes of rules that no person was shown yet: `reload` shows them, also those that the file watcher loaded before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from actionwatch.text.times import spell_time

ADDED, CHANGED, REMOVED = "added", "changed", "removed"
_TOGETHER = {(ADDED, CHANGED): ADDED, (CHANGED, REMOVED): REMOVED, (REMOVED, ADDED): CHANGED, (ADDED, REMOVED): None}
"""What two changes of a rule are together, if not the second one; None for nothing."""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule that was added, changed or removed, and its file: of the version that ran last."""

    kind: str
    name: str
    file: str


class RuleChanges:
    """The changes that were not reported yet, by rule."""

    def __init__(self) -> None:
        self._unreported: dict[str, tuple[RuleChange, datetime]] = {}

    def note(self, changes: Iterable[RuleChange], at: datetime) -> None:
        """Note changes that were applied at a time."""
        for each in changes:
            before = self._unreported.pop(each.name, None)
            kind = _TOGETHER.get((before[0].kind, each.kind), each.kind) if before else each.kind
            if kind is not None:
                self._unreported[each.name] = RuleChange(kind, each.name, each.file), at

    def report(self) -> Iterator[str]:
        """Yield a line for each change, once."""
        unreported, self._unreported = self._unreported, {}
        for each, at in sorted(unreported.values(), key=lambda pair: (pair[0].kind, pair[0].name)):
            yield f"{each.kind} {each.name} ({each.file}), loaded {spell_time(at, form='%H:%M:%S')}"
