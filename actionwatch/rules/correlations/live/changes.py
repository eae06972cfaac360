"""Compare what a fold finds with what people know: which alerts open, are joined, or resolve. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from actionwatch.base.model import AlertChange, ChangeKind, CorrelatedAlert
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.live.shared_alerts import SharedAlerts
from actionwatch.rules.model import NEVER, Correlation, Group, Hit, KeptRecord

OuterHit = tuple[int, Group, Hit]
"""A hit that an alert makes in a rule above: the number of that rule, the group, the hit."""


@dataclass(frozen=True, slots=True)
class OuterChange:
    """A hit that an alert adds to a rule above, or removes from it."""

    is_added: bool
    hit: OuterHit


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a fold finds in one group now: its alerts, in order; those that are judged; and the known ones that `turned`.

    `known` are the alerts of the group that were stored, by id; `last_at` is the time of its newest hit.
    """

    rule: Correlation
    group: Group
    known: dict[str, CorrelatedAlert]
    last_at: datetime | None
    alerts: Sequence[FoundAlert]
    judged: Sequence[FoundAlert]
    turned: Sequence[CorrelatedAlert]
    outer: Sequence[OuterChange] = ()


class FoundChange(NamedTuple):
    """A change of a known alert, as it is without its records and texts, and the alert that the fold found, if it still does.

    `records` are those that the alert did not hold before, in event order.
    """

    change: AlertChange
    found: FoundAlert | None
    records: tuple[KeptRecord, ...]

    @property
    def described_by(self) -> tuple[KeptRecord, ...]:
        """The records that the texts are made from: the new ones or, for an absence, the newest before it, if there is one."""
        if self.found is None or self.found.last_seen is None or self.change.kind in (None, ChangeKind.RESOLVE):
            return self.records
        return (self.found.last_seen,)


def turned_by(
    known: Mapping[str, CorrelatedAlert], suspects: Iterable[str], current: set[str]
) -> list[CorrelatedAlert]:
    """Note which alerts this fold is the first not to find, or to find again; return those, oldest first."""
    suspected = [known[name] for name in suspects if name in known]
    turned = [each for each in suspected if each.is_current is not (each.id in current)]
    for each in turned:
        each.is_current = not each.is_current
    return sorted(turned, key=lambda each: (each.first_at, each.id))


def compare(
    evaluations: Sequence[Evaluation], may_open: Callable[[FoundAlert], bool], shared: SharedAlerts | None = None
) -> Iterator[FoundChange]:
    """Compare what the folds find with what is known. The alerts that `turned` are no longer found, or are found again.

    There is one evaluation or, with `shared`, one for each of the groups that share an alert.
    """
    orphans: list[tuple[Evaluation, CorrelatedAlert]] = []
    for evaluation in evaluations:
        for known in evaluation.turned:
            yield _change(None, evaluation.rule, known, None)
            if known.is_reported and not known.is_current:
                orphans.append((evaluation, known))
    for evaluation in evaluations:
        for known in evaluation.turned:
            if known.is_current:
                _take_back(known, orphans)
    ended: list[CorrelatedAlert] = []
    for evaluation, found in _in_order(evaluations, shared):
        yield from _compare_found(evaluation, found, orphans, shared)
        yield from _report(evaluation.rule, evaluation.known[found.id], found, may_open, shared, ended)
    if shared is not None:
        yield from _resolve_shared(ended, shared)
    for evaluation, known in orphans:
        if known.is_open:
            known.is_open, known.resolved_at = False, evaluation.last_at
            known.until = max(known.first_at, evaluation.last_at or known.first_at)
            kind = None if shared is not None and shared.is_open(known.alert_id) else ChangeKind.RESOLVE
            yield _change(kind, evaluation.rule, known, None, (), known.resolved_at)


def _in_order(
    evaluations: Sequence[Evaluation], shared: SharedAlerts | None
) -> Iterator[tuple[Evaluation, FoundAlert]]:
    """Return the alerts in the order in which they are reported: a leading one before those that share it."""
    pairs = [(evaluation, found) for evaluation in evaluations for found in evaluation.judged]
    if shared is None:
        return iter(pairs)
    return (pair for pair in sorted(pairs, key=lambda pair: pair[1].firing_order) if not shared.is_held(pair[1]))


def _compare_found(
    evaluation: Evaluation,
    found: FoundAlert,
    orphans: list[tuple[Evaluation, CorrelatedAlert]],
    shared: SharedAlerts | None,
) -> Iterator[FoundChange]:
    """Compare one alert with what is known of it, and note it."""
    rule, known = evaluation.rule, evaluation.known.get(found.id)
    if known is None:
        known = evaluation.known[found.id] = _new_alert(evaluation, found, orphans)
        other = shared.shared_with(known) if shared is not None else None
        is_joining = other is not None and _share(known, other, rule)
        yield _change(ChangeKind.JOIN if is_joining and rule.is_absence else None, rule, known, found)
    elif update_times(known, found):
        yield _change(None, rule, known, found)


def _new_alert(
    evaluation: Evaluation, found: FoundAlert, orphans: list[tuple[Evaluation, CorrelatedAlert]]
) -> CorrelatedAlert:
    """Note an alert that is found for the first time. It replaces one that is no longer found where the two overlap."""
    known = CorrelatedAlert(
        found.id, evaluation.rule.name.id, evaluation.group, found.origin, found.first_at, found.fired_at, found.until
    )
    replaced = _replaced(evaluation, found, orphans) if orphans else None
    if replaced is not None:
        orphans.remove(replaced)
        known.report_as(replaced[1].alert_id)
        _hand_over(replaced[1], known)
        update_times(known, found)
    return known


def _replaced(
    evaluation: Evaluation, found: FoundAlert, orphans: Sequence[tuple[Evaluation, CorrelatedAlert]]
) -> tuple[Evaluation, CorrelatedAlert] | None:
    """Return the alert that `found` replaces: of its group, or of another group whose new alerts do not replace it."""

    def replaces(pair: tuple[Evaluation, CorrelatedAlert]) -> bool:
        owner, orphan = pair
        if not _overlap(orphan, found):
            return False
        own = (each for each in owner.judged if each.id not in owner.known)
        return owner is evaluation or not any(_overlap(orphan, each) for each in own)

    return min(filter(replaces, orphans), key=lambda pair: pair[0] is not evaluation, default=None)


def update_times(known: CorrelatedAlert, found: FoundAlert) -> bool:
    """Note the times that a late record has changed, and return whether there are any. An end that was reported stays."""
    before = (known.first_at, known.fired_at, known.until, known.resolved_at)
    known.first_at, known.fired_at = found.first_at, found.fired_at
    if found.until != NEVER:
        known.until = found.until
    elif known.is_reported and not known.is_open and found.resolved_at is not None:
        known.until = known.resolved_at = found.resolved_at
    return before != (known.first_at, known.fired_at, known.until, known.resolved_at)


def _take_back(known: CorrelatedAlert, orphans: list[tuple[Evaluation, CorrelatedAlert]]) -> None:
    """Let an alert that is found again replace the one that was reported instead of it."""
    substitute = next((pair for pair in orphans if pair[1].alert_id == known.alert_id), None)
    if substitute is not None:
        orphans.remove(substitute)
        _hand_over(substitute[1], known)


def _hand_over(before: CorrelatedAlert, known: CorrelatedAlert) -> None:
    """Let one alert take over what people know of another."""
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
    found: FoundAlert,
    may_open: Callable[[FoundAlert], bool],
    shared: SharedAlerts | None,
    ended: list[CorrelatedAlert],
) -> Iterator[FoundChange]:
    """Report what is new about an alert. Those of groups that share an alert do not resolve: they are added to `ended`."""
    if not known.is_reported:
        if not may_open(found):
            if found.resolved_at is not None and known.resolved_at is None:
                known.resolved_at = known.until = found.resolved_at
                yield _change(None, rule, known, found)
            return
        known.is_reported, known.is_open = True, rule.is_absence
        yield _change(ChangeKind.OPEN, rule, known, found, _new_records(known, found))
    elif records := _new_records(known, found):
        yield _change(ChangeKind.JOIN, rule, known, found, records)
    if found.resolved_at is None or not known.is_open or (shared and not shared.is_verified(found.resolved_at)):
        return
    known.is_open, known.resolved_at, known.until = False, found.resolved_at, found.resolved_at
    if shared is None:
        yield _change(ChangeKind.RESOLVE, rule, known, found, (), found.resolved_at)
        return
    yield _change(None, rule, known, found)
    ended.append(known)


def _resolve_shared(ended: Iterable[CorrelatedAlert], shared: SharedAlerts) -> Iterator[FoundChange]:
    """Resolve the shared alerts in which nothing is missing any longer, with each alert that people know once."""
    resolved: set[str] = set()
    for known in ended:
        if known.id in resolved or (end := shared.end_of(known)) is None:
            continue
        at, together = end
        resolved.update(each.id for each in together)
        for each in together:
            yield FoundChange(AlertChange(ChangeKind.RESOLVE, each, at, is_absence=True, has_changed=False), None, ())


def _change(
    kind: ChangeKind | None,
    rule: Correlation,
    known: CorrelatedAlert,
    found: FoundAlert | None,
    records: tuple[KeptRecord, ...] = (),
    at: datetime | None = None,
) -> FoundChange:
    at = at or (found.first_at if found is not None else known.first_at)
    return FoundChange(AlertChange(kind, known, at, rule.is_absence), found, records)


def _new_records(known: CorrelatedAlert, found: FoundAlert) -> tuple[KeptRecord, ...]:
    """Return the records that an alert did not hold before, each once, and note that it holds them."""
    new: dict[str, KeptRecord] = {}
    for hit in found.hits.since(known.taken):
        for record in hit.records:
            if record.key not in known.keys:
                new[record.key] = record
    known.taken = len(found.hits)
    known.keys.update(new)
    return tuple(sorted(new.values(), key=lambda record: (record.occurred_at, record.key)))


def _overlap(known: CorrelatedAlert, found: FoundAlert) -> bool:
    return found.first_at <= known.until and known.first_at <= found.until
