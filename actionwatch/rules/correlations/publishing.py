"""Alerts of a rule are hits of the rules that count them: add, move and remove these as the alerts change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from actionwatch.base.model import CorrelatedAlert, Group, HitAbove, KeptRecord
from actionwatch.rules.correlations.context import RuleContext
from actionwatch.rules.correlations.feed import Feed, GroupHit
from actionwatch.rules.correlations.folding import Folded, Touch
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.rows import Rows
from actionwatch.rules.model import Correlation


class Publisher:
    """Makes the hits of alerts. `touch` returns where a group, of a rule by its number, was touched."""

    def __init__(
        self, contexts: Sequence[RuleContext], feed: Feed, rows: Rows, touch: Callable[[int, Group], Touch]
    ) -> None:
        self._contexts = contexts
        self._numbers = {context.rule.name.id: number for number, context in enumerate(contexts)}
        self._feed = feed
        self._rows = rows
        self._touch = touch

    def publish(self, rule: Correlation, folded: Iterable[Folded]) -> None:
        """Let the rules above count the judged alerts as they are now, and no others."""
        whole = [(each, found) for each in folded for found in each.result.alerts if not found.is_partial]
        newest = [_newest_record(found) for _, found in whole]
        read = [kept for kept in newest if kept is not None]
        records = dict(zip((kept.key for kept in read), self._rows.records.whole(read), strict=True))
        for (each, found), kept in zip(whole, newest, strict=True):
            known = each.known[found.id]
            hits: list[GroupHit] = []
            if known.is_judged and not found.is_quiet:
                record = records[kept.key] if kept is not None else None
                hits = list(self._feed.inner_hits(rule, each.group, found, record))
            self._replace(known, hits)

    def withdraw(self, gone: Iterable[CorrelatedAlert]) -> None:
        """Remove the hits of alerts that are no longer found."""
        for known in gone:
            self._replace(known, ())

    def _replace(self, known: CorrelatedAlert, hits: Sequence[GroupHit]) -> None:
        """Replace the hits that an alert makes in the rules above."""
        above = {
            HitAbove(self._contexts[number].rule.name.id, group, hit.at, hit.step): (number, group, hit)
            for number, group, hit in hits
        }
        for old in known.above:
            if old not in above and old.rule_id in self._numbers:
                self._remove(self._numbers[old.rule_id], old, known.id)
        for place, (number, group, hit) in above.items():
            if place in known.above:
                before = self._rows.hits.at(number, group, hit.order)
                # Without it, the hit is so old that it was forgotten: nothing is found there again.
                if before is None or [each.key for each in before.records] == [each.key for each in hit.records]:
                    continue
            self._rows.hits.replace(number, group, hit)
            self._touch(number, group).add(hit)
        known.above = tuple(above)

    def _remove(self, number: int, old: HitAbove, key: str) -> None:
        order = old.at, old.step, key
        self._rows.hits.remove(number, old.group, order)
        touch = self._touch(number, old.group)
        touch.span.include(order)
        touch.is_changed = True


def _newest_record(found: FoundAlert) -> KeptRecord | None:
    return found.firing.records[-1] if found.firing is not None and found.firing.records else found.last_seen
