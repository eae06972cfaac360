"""Correlate live records: hits in any order decide which alerts open, are joined, or resolve.

Each group keeps the state of its fold. A hit in order is pushed into it. After a hit out of order the group is folded again,
and the result is compared with the known alerts: late records, any batching and a rebuild from the store take the same path.
An alert is a hit of the rules above it; when it changes, so does that hit, and their groups are folded again in turn.
Pure: the caller passes in what the store knows, and stores the changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice

from actionwatch.base.clock import EPOCH
from actionwatch.base.model import AlertChange, CorrelatedAlert, Record
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.correlations.live.changes import FoundChange, OuterHit
from actionwatch.rules.correlations.live.context import StreamBounds, contexts_of
from actionwatch.rules.correlations.live.description import describe
from actionwatch.rules.correlations.live.feed import Feed
from actionwatch.rules.correlations.live.kept_records import KeptRecords, ReadStored
from actionwatch.rules.correlations.live.live_rule import Limits, LiveRule
from actionwatch.rules.correlations.live.order import running
from actionwatch.rules.correlations.live.saved import SavedState
from actionwatch.rules.engine import Failures, RuleFailure
from actionwatch.rules.model import Correlation, Group, Hit, Rule

_MAX_GROUPS = 100_000  # per rule; beyond it the least recently used is dropped
MAX_KEPT = 200_000  # hits kept to fold again, over all rules; beyond it only those are kept whose time is not verified
MAX_UNVERIFIED = 4 * MAX_KEPT  # beyond it groups keep only what their state needs


class Correlator:
    """All correlations over one stream of records. Each has a `LiveRule`, which owns all that is known of its groups."""

    def __init__(
        self,
        rules: Sequence[Rule],
        bounds: StreamBounds,
        *,
        keep: timedelta | None = None,
        max_groups: int = _MAX_GROUPS,
        read: ReadStored | None = None,
    ) -> None:
        """`keep`: for how long hits are kept to fold them again when one is late (None: forever).

        `read`: reads the records of hits when an alert needs them, so that hits keep references (None: they keep the records).
        """
        self.rules = running(rules)
        self._records = KeptRecords(read)
        self._all_rules = rules
        self._feed = Feed(rules, self.rules, self._records)
        self._loaded: set[int] = set()  # the numbers of the rules that continue from what was saved
        self._bounds = bounds
        self._keep = keep
        self._too_late = False
        self._left_count = 0  # hits, when they were last dropped from all groups, or fewer since
        self._failures = Failures()
        self._unjudged_from: datetime | None = None
        fed = {step.rule_id for rule in self.rules for step in rule.steps}
        self._rules = [
            LiveRule(
                context,
                partial(self._feed.inner_hits, context.rule) if context.rule.name.id in fed else None,
                max_groups,
            )
            for context in contexts_of(self.rules, bounds, is_thinned=keep is not None)
        ]

    @property
    def too_late(self) -> datetime | None:
        """The time from which the caller must rebuild the state, where a hit arrived too late for the hits that are kept.

        It is the time of the oldest hit that is not judged yet: a state that begins later would count that hit as judged.
        """
        return self._unjudged_from if self._too_late else None

    @property
    def evicted(self) -> int:
        """How many groups were dropped because there was no room."""
        return sum(rule_state.evicted for rule_state in self._rules)

    def restore(self, known: Iterable[CorrelatedAlert], records: Iterable[Record]) -> None:
        """Rebuild the state of the rules that were not loaded, from the alerts that the store holds, and the records by time.

        Each record is read once for all rules. Records before what a rule needs are left out, and hits that were judged long
        ago are folded at once: memory is bounded, however many records a rule learns from.
        """
        rebuilt = {number: each for number, each in enumerate(self._rules) if number not in self._loaded}
        feed = Feed(self._all_rules, self.rules, self._records, rebuilt) if self._loaded else self._feed
        since = {number: each.since for number, each in rebuilt.items() if each.since is not None}
        self._restore(list(rebuilt.values()), known, feed.hits_by_time(records, since))
        for failure in feed.take_failures():
            self._failures.add(failure)

    def restore_hits(self, known: Iterable[CorrelatedAlert], hits: Iterable[OuterHit]) -> None:
        """Rebuild the state of all rules as `restore` does, from the hits that a feed of the same rules made of the records."""
        self._restore(self._rules, known, hits)

    def _restore(self, rebuilt: Sequence[LiveRule], known: Iterable[CorrelatedAlert], hits: Iterable[OuterHit]) -> None:
        by_id = {each.rule.name.id: each for each in rebuilt}
        for each in known:
            if (rule_state := by_id.get(each.rule_id)) is not None:
                rule_state.restore_alert(each)
        for rule_state in rebuilt:
            rule_state.begin_groups()
        for number, group, hit in hits:
            self._rules[number].restore_hit(group, hit)
        for rule_state in rebuilt:
            for number, group, hit in rule_state.finish_restore():
                self._rules[number].restore_hit(group, hit)

    def save(self) -> SavedState:
        """Return the state as it is saved: not between `take` and `changes`. Who loads it judges every group next.

        Reading its groups raises ValueError, if one holds a record that is not stored.
        """
        rule_ids = [rule.name.id for rule in self.rules]
        return SavedState(self._bounds.alerts_from, [rule_state.save(rule_ids) for rule_state in self._rules])

    def load(
        self,
        saved: SavedState,
        known: Mapping[str, CorrelatedAlert],
        newer: Iterable[CorrelatedAlert],
        leading: Iterable[CorrelatedAlert],
    ) -> None:
        """Continue from what was saved of some rules, as `fitting` returns it.

        Then `restore` the other rules, with the records that were read until then; take the records since; let `changes` judge.

        `known` are its alerts, as they are stored now; `newer` were stored since; `leading` are those that may still lead
        others, where groups share an alert.

        Raises: DoesNotFit, if it cannot be read, or its parts do not belong together.
        """
        try:
            self._load(saved, known, newer, leading)
        except (IndexError, KeyError, OverflowError, TypeError, ValueError) as exc:
            raise DoesNotFit(f"its parts do not belong together: {exc!r}") from exc

    def _load(
        self,
        saved: SavedState,
        known: Mapping[str, CorrelatedAlert],
        newer: Iterable[CorrelatedAlert],
        leading: Iterable[CorrelatedAlert],
    ) -> None:
        chosen = saved.rule_ids()
        numbers = {rule.name.id: number for number, rule in enumerate(self.rules) if rule.name.id in chosen}
        self._loaded = set(numbers.values())
        for each in saved.rules:
            self._rules[numbers[each.identity.rule_id]].load(each, known, numbers)
        for alert in newer:
            if alert.rule_id in numbers:
                self._rules[numbers[alert.rule_id]].restore_alert(alert)
        by_rule: dict[str, list[CorrelatedAlert]] = {}
        for alert in leading:
            by_rule.setdefault(alert.rule_id, []).append(alert)
        for name, number in numbers.items():
            if self._rules[number].rule.is_merging:
                self._rules[number].share(by_rule.get(name, ()))

    def take(self, records: Iterable[Record]) -> None:
        """Take further records, in any order."""
        batch = list(records)
        self._records.hold(batch)
        for hit in self._feed.hits(batch):
            self._update(hit, is_added=True)

    def changes(self, verified: datetime | None) -> list[AlertChange]:
        """Return what becomes of alerts as of a verified time. Cheap if nothing is due and nothing came.

        Raises: DoesNotFit, if the store no longer has a record that an alert needs: the state must be rebuilt.
        """
        described = self._described(self._judged(verified))
        self._records.hold(())
        return described

    def judge(self, verified: datetime | None) -> None:
        """Let alerts become hits of the rules above as of a verified time, as `changes` does, without what becomes of them."""
        self._judged(verified)
        self._records.hold(())

    def _judged(self, verified: datetime | None) -> list[tuple[Correlation, FoundChange]]:
        changes: list[tuple[Correlation, FoundChange]] = []
        self._unjudged_from = None
        kept_count = self.count_hits()
        limits = Limits(verified, self._cutoff(verified, kept_count), kept_count > MAX_UNVERIFIED)
        for rule_state in self._rules:  # inner rules first: their alerts are hits of the rules above
            if rule_state.is_due(verified):
                found, outer = rule_state.evaluate(limits)
                changes += ((rule_state.rule, each) for each in found)
                for each in outer:
                    self._update(each.hit, is_added=each.is_added)
        if limits.cutoff is not None:
            self._forget(limits.cutoff, min(kept_count, self.count_hits()), is_full=limits.is_full)
        return changes

    def is_due(self, verified: datetime | None) -> bool:
        """Return whether `changes` has anything to look at."""
        return any(rule_state.is_due(verified) for rule_state in self._rules)

    def hits_around(self, rule_id: str, record: Record) -> Iterator[tuple[Group, Fold, list[Hit], list[Hit]]]:
        """Return the groups of a rule that a record has hits in: the fold they begin with, the hits before, and its own."""
        for rule_state in self._rules:
            if rule_state.rule.name.id == rule_id:
                yield from rule_state.hits_around(record)

    def take_failures(self) -> list[RuleFailure]:
        """Return what went wrong with rules since the last call."""
        return [*self._feed.take_failures(), *self._failures.take()]

    def count_groups(self) -> int:
        """Count the groups held."""
        return sum(rule_state.count_groups() for rule_state in self._rules)

    def count_hits(self) -> int:
        """Count the hits kept to be folded again."""
        return sum(rule_state.kept for rule_state in self._rules)

    def _forget(self, cutoff: datetime, kept_count: int, *, is_full: bool) -> None:
        """Drop old hits from all groups if there are too many, and more than the last time left: groups keep what they need."""
        if kept_count <= max(MAX_KEPT, self._left_count * 11 // 10):
            self._left_count = min(self._left_count, kept_count)
            return
        for rule_state in self._rules:
            rule_state.forget(cutoff, is_full=is_full)
        self._left_count = self.count_hits()

    def _described(self, changes: Sequence[tuple[Correlation, FoundChange]]) -> list[AlertChange]:
        """Return changes with their records and texts. The records of all are read at once."""
        needed = [made.described_by for _, made in changes]
        records = iter(self._records.whole(list(chain.from_iterable(needed))))
        return [
            describe(rule, made, list(islice(records, len(kept))), self._failures.add)
            for (rule, made), kept in zip(changes, needed, strict=True)
        ]

    def _update(self, change: OuterHit, *, is_added: bool) -> None:
        """Add a hit to a rule, or remove it."""
        number, group, hit = change
        update = self._rules[number].insert if is_added else self._rules[number].remove
        self._unjudged_from = hit.at if self._unjudged_from is None else min(self._unjudged_from, hit.at)
        self._too_late = not update(group, hit) or self._too_late

    def _cutoff(self, verified: datetime | None, kept_count: int) -> datetime | None:
        """Return before when hits are dropped: `keep` before verified time, or all of verified time if there is no room.

        Without verified time, because a source was never polled, none is old enough, but there may be no room.
        The newest record alone means little while a backlog is read. What an inner alert that waited makes above is never
        dropped by that: it fires at a time that was not verified before.
        """
        newest = max((rule_state.newest for rule_state in self._rules if rule_state.newest is not None), default=None)
        if self._keep is None or newest is None:
            return None
        if verified is None:
            return EPOCH if kept_count > MAX_UNVERIFIED else None
        return min(newest, verified) - (self._keep if kept_count <= MAX_KEPT else timedelta(0))
