"""Compare what a fold finds with what people know: which alerts open, are joined, or resolve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from actionwatch.base.model import ChangeKind, CorrelatedAlert, Record
from actionwatch.rules.model import NEVER, Correlation, Found, Group

FiringOrder = tuple[datetime, bool, str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a known alert, before it is described to people; see `base.model.AlertChange`."""

    kind: ChangeKind | None
    rule: Correlation
    known: CorrelatedAlert
    found: Found | None
    records: tuple[Record, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """From when on the stream of records is known.

    `begin` returns, for a rule, from when on the stream is known completely; `since`, from when on the rule is given records at
    first (None: all there are). A record may alert if its id is above its rule's `floors` and it is no backlog; what is missing
    may alert once verified time has reached `alerts_from`.
    """

    begin: Callable[[Correlation], datetime | None]
    since: Callable[[Correlation], datetime | None] = lambda _: None
    floors: Callable[[Correlation], int] = lambda _: -1
    alerts_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a fold finds in one group now: its alerts, in order; those that are judged; and the known ones that `turned`.

    `known` are the alerts of the group that were stored, by id; `last_at` is the time of its newest hit.
    """

    rule: Correlation
    group: Group
    known: dict[str, CorrelatedAlert]
    last_at: datetime | None
    alerts: Sequence[Found]
    judged: Sequence[Found]
    turned: Sequence[CorrelatedAlert]


class SharedAlerts(Protocol):
    """Decides which alerts of several groups share one alert that people see: `merging.py`."""

    def is_held(self, found: Found) -> bool:
        """Return whether an alert that fired before it is still to be judged."""
        ...

    def shared_with(self, known: CorrelatedAlert) -> CorrelatedAlert | None:
        """Return the alert that this one is reported as, if it is another."""
        ...

    def is_verified(self, at: datetime) -> bool:
        """Return whether all that was missing at a time is known."""
        ...

    def end_of(self, known: CorrelatedAlert) -> tuple[datetime, list[CorrelatedAlert]] | None:
        """Return when the last missing group came back, and what was missing until then; None while something is."""
        ...

    def is_open(self, alert_id: str) -> bool:
        """Return whether anything is still missing in an alert that people see."""
        ...


def compare(
    evaluations: Sequence[Evaluation], may_open: Callable[[Found], bool], shared: SharedAlerts | None = None
) -> Iterator[Change]:
    """Compare what the folds find with what is known. What `turned` is no longer found, or is found again.

    There is one evaluation or, with `shared`, one for each of the groups that share an alert.
    """
    orphans: list[tuple[Evaluation, CorrelatedAlert]] = []
    for evaluation in evaluations:
        for known in evaluation.turned:
            yield Change(None, evaluation.rule, known, None)
            if known.is_reported and not known.is_current:
                orphans.append((evaluation, known))
    for evaluation in evaluations:
        for known in evaluation.turned:
            if known.is_current:
                _take_back(known, orphans)
    for evaluation, found in _in_order(evaluations, shared):
        yield from _compare_found(evaluation, found, orphans, shared)
        yield from _report(evaluation.rule, evaluation.known[found.id], found, may_open, shared)
    for evaluation, known in orphans:
        if known.is_open:
            known.is_open, known.resolved_at = False, evaluation.last_at
            known.until = max(known.first_at, evaluation.last_at or known.first_at)
            kind = None if shared is not None and shared.is_open(known.alert_id) else ChangeKind.RESOLVE
            yield Change(kind, evaluation.rule, known, None, (), known.resolved_at)


def turned_by(
    known: Mapping[str, CorrelatedAlert], suspects: Iterable[str], current: set[str]
) -> list[CorrelatedAlert]:
    """Note which alerts this fold is the first not to find, or to find again; return those, oldest first."""
    suspected = [known[name] for name in suspects if name in known]
    turned = [each for each in suspected if each.is_current is not (each.id in current)]
    for each in turned:
        each.is_current = not each.is_current
    return sorted(turned, key=lambda each: (each.first_at, each.id))


def firing_order(found: Found) -> FiringOrder:
    """Return the order of firing: at one instant, what a record fired comes before what waited for that instant."""
    firing = found.firing
    if firing is not None and firing.at == found.fired_at:
        return found.fired_at, False, firing.key, found.id
    return found.fired_at, True, found.origin, found.id


def _in_order(evaluations: Sequence[Evaluation], shared: SharedAlerts | None) -> Iterator[tuple[Evaluation, Found]]:
    """Return the alerts in the order in which they are reported: a leading one before those that share it."""
    pairs = [(evaluation, found) for evaluation in evaluations for found in evaluation.judged]
    if shared is None:
        return iter(pairs)
    return (pair for pair in sorted(pairs, key=lambda pair: firing_order(pair[1])) if not shared.is_held(pair[1]))


def _compare_found(
    evaluation: Evaluation,
    found: Found,
    orphans: list[tuple[Evaluation, CorrelatedAlert]],
    shared: SharedAlerts | None,
) -> Iterator[Change]:
    """Compare one alert with what is known of it, and know it from now on."""
    rule, known = evaluation.rule, evaluation.known.get(found.id)
    if known is None:
        known = evaluation.known[found.id] = _new_alert(evaluation, found, orphans)
        other = shared.shared_with(known) if shared is not None else None
        is_joining = other is not None and _share(known, other, rule)
        yield Change(ChangeKind.JOIN if is_joining and rule.is_absence else None, rule, known, found)
    elif update_times(known, found):
        yield Change(None, rule, known, found)


def _new_alert(
    evaluation: Evaluation, found: Found, orphans: list[tuple[Evaluation, CorrelatedAlert]]
) -> CorrelatedAlert:
    """Note an alert that is found for the first time. It replaces one that is no longer found where the two overlap."""
    known = CorrelatedAlert(
        found.id, evaluation.rule.name.id, evaluation.group, found.origin, found.first_at, found.fired_at, found.until
    )
    replaced = next((pair for pair in orphans if _overlap(pair[1], found)), None)
    if replaced is not None:
        orphans.remove(replaced)
        known.report_as(replaced[1].alert_id)
        _hand_over(replaced[1], known)
        update_times(known, found)
    return known


def update_times(known: CorrelatedAlert, found: Found) -> bool:
    """Take over the times that a late record has changed, and return whether it has. An end that was reported stays."""
    before = (known.first_at, known.fired_at, known.until, known.resolved_at)
    known.first_at, known.fired_at = found.first_at, found.fired_at
    if found.until != NEVER:
        known.until = found.until
    elif known.is_reported and not known.is_open and found.resolved_at is not None:
        known.until = known.resolved_at = found.resolved_at
    return before != (known.first_at, known.fired_at, known.until, known.resolved_at)


def _take_back(known: CorrelatedAlert, orphans: list[tuple[Evaluation, CorrelatedAlert]]) -> None:
    """Let an alert that is found again replace the one that was reported in its place."""
    meanwhile = next((pair for pair in orphans if pair[1].alert_id == known.alert_id), None)
    if meanwhile is not None:
        orphans.remove(meanwhile)
        _hand_over(meanwhile[1], known)


def _hand_over(before: CorrelatedAlert, known: CorrelatedAlert) -> None:
    """Have one alert stand for what people know of another."""
    known.is_reported, known.is_open, known.resolved_at = True, before.is_open, before.resolved_at
    known.keys = before.keys
    before.is_open = False


def _share(known: CorrelatedAlert, other: CorrelatedAlert, rule: Correlation) -> bool:
    """Report an alert as another one, unless people know it already. Return whether it joins what they know."""
    if known.is_reported:
        return False
    known.report_as(other.alert_id)
    known.is_reported, known.keys = other.is_reported, other.keys
    known.is_open = known.is_reported and rule.is_absence
    return known.is_reported


def _report(
    rule: Correlation,
    known: CorrelatedAlert,
    found: Found,
    may_open: Callable[[Found], bool],
    shared: SharedAlerts | None,
) -> Iterator[Change]:
    if not known.is_reported:
        if not may_open(found):
            if found.resolved_at is not None and known.resolved_at is None:
                known.resolved_at = known.until = found.resolved_at
                yield Change(None, rule, known, found)
            return
        known.is_reported, known.is_open = True, rule.is_absence
        yield Change(ChangeKind.OPEN, rule, known, found, _new_records(known, found))
    elif records := _new_records(known, found):
        yield Change(ChangeKind.JOIN, rule, known, found, records)
    if found.resolved_at is None or not known.is_open or (shared and not shared.is_verified(found.resolved_at)):
        return
    known.is_open, known.resolved_at, known.until = False, found.resolved_at, found.resolved_at
    if shared is None:
        yield Change(ChangeKind.RESOLVE, rule, known, found, (), found.resolved_at)
        return
    yield Change(None, rule, known, found)
    if (end := shared.end_of(known)) is not None:
        for each in end[1]:
            yield Change(ChangeKind.RESOLVE, rule, each, None, (), end[0])


def _new_records(known: CorrelatedAlert, found: Found) -> tuple[Record, ...]:
    """Return the records that an alert did not hold before, each once, and note that it holds them."""
    new: dict[str, Record] = {}
    for hit in found.hits[known.taken :]:
        for record in hit.records:
            if record.key not in known.keys:
                new[record.key] = record
    known.taken = len(found.hits)
    known.keys.update(new)
    return tuple(sorted(new.values(), key=lambda record: (record.occurred_at, record.key)))


def _overlap(known: CorrelatedAlert, found: Found) -> bool:
    return found.first_at <= known.until and known.first_at <= found.until
