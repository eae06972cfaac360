"""The facts about a rule that do not change while it runs: the beginning of its stream, and which alerts may open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from actionwatch.base.model import Group
from actionwatch.rules.correlations.folds import fold_maker
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import Correlation

Beginning = Callable[[Correlation, Group], datetime | None]
"""Since when a group of a rule knows all of its records; None: it knows nothing yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """From when on the stream of records is known.

    `begin` is since when a group knows it completely; `since`, from when on a rule is given records (None: all there are). A
    record may alert if its id is above the `floor` of its rule and it is no backlog; what is missing may alert once the
    verified time of its group has reached `alerts_from`.
    """

    begin: Beginning
    alerts_from: Beginning = lambda *_: None
    since: Callable[[Correlation], datetime | None] = lambda _: None
    floor: Callable[[Correlation], int] = lambda _: -1


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """A rule, and what does not change about it while it runs.

    All hits that matter are known from `complete_from` on (None: always). A record may alert if its id is above `floor` and it
    is no backlog; what is missing in a group may alert once its `alerts_from` is verified.
    """

    rule: Correlation
    complete_from: datetime | None
    floor: int
    alerts_from: Callable[[Group], datetime | None]
    new_fold: Callable[[Group], Fold]
    """Makes the empty state of a group."""

    def may_open(self, found: FoundAlert, group: Group, verified: datetime | None) -> bool:
        """Return whether an alert of a group may open: at least one of its records is no backlog and newer than the rule."""
        if found.is_quiet:
            return False
        if self.rule.is_absence:
            is_over = verified is not None and found.resolved_at is not None and found.resolved_at <= verified
            if found.resolved_by is None or not is_over:
                start = self.alerts_from(group)
                return start is None or (verified is not None and verified >= start)
            return found.resolved_by.may_alert(self.floor)
        return found.may_alert(self.floor)

    def pending_at(self, found: FoundAlert, group: Group, verified: datetime | None) -> datetime | None:
        """Return the verified time at which an alert must be looked at again, None if only another hit can change it."""
        due = [] if found.is_judged(verified) or found.judged_at is None else [found.judged_at]
        start = self.alerts_from(group) if self.rule.is_absence and found.resolved_at is None else None
        if start is not None and (verified is None or verified < start):
            due.append(start)
        return min(due, default=None)


def contexts_of(rules: Sequence[Correlation], bounds: StreamBounds) -> Iterator[RuleContext]:
    """Return what does not change about each rule."""
    for rule in rules:
        since = bounds.since(rule)
        yield RuleContext(
            rule=rule,
            new_fold=_fold_maker(rule, bounds),
            complete_from=None if since is None else since + rule.reach,
            floor=bounds.floor(rule),
            alerts_from=partial(bounds.alerts_from, rule),
        )


def _fold_maker(rule: Correlation, bounds: StreamBounds) -> Callable[[Group], Fold]:
    make = fold_maker(rule)
    return lambda group: make(bounds.begin(rule, group))
