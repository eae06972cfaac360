"""Compare what folds find with what people know: which alerts open, are joined, or resolve. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from actionwatch.base.model import AlertChange, ChangeKind, CorrelatedAlert, Group, KeptRecord
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import NEVER, Correlation


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of a fold in one group: its judged alerts, in order, and the known ones that `turned`.

    `known` are its alerts, by id. `last_at` is the time of its newest hit, where an absence is no longer found.
    """

    rule: Correlation
    group: Group
    known: dict[str, CorrelatedAlert]
    last_at: datetime | None
    judged: Sequence[FoundAlert]
    turned: Sequence[CorrelatedAlert]


class FoundChange(NamedTuple):
    """A change of a known alert, as it is without its records and texts, and the alert that the fold found, if it still does.

    `records` are those that the alert may not have held before, in event order.
    """

    change: AlertChange
    found: FoundAlert | None
    records: tuple[KeptRecord, ...]

    @property
    def described_by(self) -> tuple[KeptRecord, ...]:
        """The records that the texts are made from: the new ones or, for an absence, the newest before it, if there is one."""
        if self.found is None or self.found.last_seen is None or self.change.kind is ChangeKind.RESOLVE:
            return self.records
        return (self.found.last_seen,)


def compare(evaluation: Evaluation, may_open: Callable[[FoundAlert, Group], bool]) -> Iterator[FoundChange]:
    """Compare what a fold finds with what people know. The alerts that `turned` are no longer found, or are found again."""
    orphans = [known for known in evaluation.turned if known.is_reported and not known.is_current]
    for known in evaluation.turned:
        if known.is_current:
            _take_back(known, orphans)
    for found in evaluation.judged:
        known = evaluation.known[found.id]
        if not known.is_noted:
            _note(found, known, orphans)
        yield from _report(evaluation.rule, known, found, may_open)
    for known in orphans:
        if known.is_open:
            known.is_open, known.resolved_at = False, evaluation.last_at
            known.until = max(known.first_at, evaluation.last_at or known.first_at)
            yield _change(ChangeKind.RESOLVE, evaluation.rule, known, None, (), known.resolved_at)


def _note(found: FoundAlert, known: CorrelatedAlert, orphans: list[CorrelatedAlert]) -> None:
    """Note an alert that is judged for the first time. It replaces one that is no longer found where the two overlap."""
    replaced = next((orphan for orphan in orphans if _overlap(orphan, found)), None)
    if replaced is not None:
        orphans.remove(replaced)
        known.report_as(replaced.alert_id)
        _hand_over(replaced, known)
    known.is_noted = True


def _take_back(known: CorrelatedAlert, orphans: list[CorrelatedAlert]) -> None:
    """Let an alert that is found again replace the one that was reported instead of it."""
    substitute = next((orphan for orphan in orphans if orphan.alert_id == known.alert_id), None)
    if substitute is not None:
        orphans.remove(substitute)
        _hand_over(substitute, known)


def _hand_over(before: CorrelatedAlert, known: CorrelatedAlert) -> None:
    """Let one alert take over what people know of another."""
    known.is_reported, known.is_open, known.resolved_at = True, before.is_open, before.resolved_at
    before.is_open = False
    if before.until == NEVER:  # it lasts; retention deletes the row that is no longer found
        known.until, before.until = NEVER, max(before.first_at, known.first_at)


def _report(
    rule: Correlation, known: CorrelatedAlert, found: FoundAlert, may_open: Callable[[FoundAlert, Group], bool]
) -> Iterator[FoundChange]:
    """Report what is new about an alert."""
    if not known.is_reported and may_open(found, known.group):
        known.is_reported, known.is_open = True, rule.is_absence
        yield _change(ChangeKind.OPEN, rule, known, found, _records_of(found))
    elif known.is_reported and (records := _records_of(found)):
        yield _change(ChangeKind.JOIN, rule, known, found, records)
    end, was_open = found.resolved_at, known.is_open
    if end is None:
        return
    known.is_open = False
    known.resolved_at = known.until = end  # of one that was over, a late record changes the end
    if was_open:
        yield _change(ChangeKind.RESOLVE, rule, known, found, (), end)


def _change(
    kind: ChangeKind,
    rule: Correlation,
    known: CorrelatedAlert,
    found: FoundAlert | None,
    records: tuple[KeptRecord, ...] = (),
    at: datetime | None = None,
) -> FoundChange:
    return FoundChange(AlertChange(kind, known, at or known.first_at, rule.is_absence), found, records)


def _records_of(found: FoundAlert) -> tuple[KeptRecord, ...]:
    """Return the records of an alert's hits, each once, in event order."""
    records = {record.key: record for hit in found.hits for record in hit.records}
    return tuple(sorted(records.values(), key=lambda record: (record.occurred_at, record.key)))


def _overlap(known: CorrelatedAlert, found: FoundAlert) -> bool:
    return found.first_at <= known.until and known.first_at <= found.until
