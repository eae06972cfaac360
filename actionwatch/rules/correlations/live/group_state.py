"""The live state of one group of a correlation: its fold, the hits kept to fold it again, and its alerts.

Only `live_rule.py` holds these states and changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.correlations.folds.saved import DoesNotFit, HitReader, HitWriter
from actionwatch.rules.correlations.live.changes import Evaluation, OuterChange, OuterHit, turned_by
from actionwatch.rules.correlations.live.context import LiveContext
from actionwatch.rules.correlations.live.saved import SavedGroup, SavedOuterHit
from actionwatch.rules.correlations.live.shared_alerts import SharedAlerts
from actionwatch.rules.model import NEVER, Correlation, CorrelationType, Group, Hit, KeptRecord

_FEW = 8  # hits that a group may keep even if there is no room

HitsAbove = Callable[[Group, FoundAlert], Iterable[OuterHit]]


class GroupState:
    """One group. `_base` is the fold of the hits that are no longer kept, `hits` are the later ones, `_live` folds both.

    `_known` are its alerts that can still change, `_published` the hits that they made in the rules above.
    """

    def __init__(self, context: LiveContext, group: Group, floor: datetime | None) -> None:
        """`floor`: a hit before it comes too late."""
        self.group = group
        self.hits = HitList()
        self.floor = floor
        self.waiting_at = NEVER
        self._context = context
        self._base = new_fold(context.rule, context.begin)
        self._live = self._base
        self._is_stale = True
        self._known: dict[str, CorrelatedAlert] = {}
        self._published: dict[str, list[OuterHit]] = {}
        self._settled = 0
        self._begun: FoundAlert | None = None  # the alert that a restored state begins with
        self._newest_id: str | None = None  # of the alerts, as last judged; None: since then the group was folded again
        self._last_at: datetime | None = None
        self._left_count = 0  # restored alerts, from the oldest on, that are not over

    # -- hits ----------------------------------------------------------------------------------------------------------

    def keep(self, hit: Hit) -> bool:
        """Keep a hit in its place, once, and return whether that changes anything.

        A record that may alert replaces the same action that another source read as backlog. A hit is left out, or dropped
        later, if those around it make it redundant: memory does not grow with the records that a rule only remembers.
        """
        self._last_at = hit.at if self._last_at is None else max(self._last_at, hit.at)
        hits, newest = self.hits, self.hits.newest
        if newest is None or hit.at > newest.at or hit.order > newest.order:
            if newest is not None and self._context.is_thinned:
                if self._base.is_redundant(newest, hit, None):
                    return False
                if len(hits) > 1 and self._base.is_redundant(hits[-2], newest, hit):
                    del hits[-1]
            hits.append(hit)
            if not self._is_stale:
                self._live.push(hit)
            return True
        place = hits.place_of(hit.order)
        if hits[place].order != hit.order:
            if place and self._is_redundant(hits[place - 1], hit, hits[place]):
                return False
            hits.insert(place, hit)
        elif _is_backlog(hits[place]) and not _is_backlog(hit):
            hits[place] = hit
        else:
            return False
        self._is_stale = True
        return True

    def _is_redundant(self, before: Hit, hit: Hit, after: Hit | None) -> bool:
        """Return whether a hit need not be kept: not where hits are kept for ever, to explain them, or can be removed."""
        return self._context.is_thinned and self._base.is_redundant(before, hit, after)

    def remove(self, hit: Hit) -> bool:
        """Remove the hit of an inner alert, and return whether it was there."""
        place = self.hits.place_of(hit.order)
        if place == len(self.hits) or self.hits[place].order != hit.order:
            return False
        del self.hits[place]
        self._is_stale = True
        return True

    def forget(self, cutoff: datetime, *, is_full: bool) -> int:
        """Drop the hits that are too old to keep, or all but a few if there is no room, after folding them into `_base`.

        Returns: how many hits were dropped.
        """
        count = self.hits.count_before(cutoff)
        if is_full:
            count = max(count, len(self.hits) - _FEW)
        if count <= _FEW:
            return 0
        known = self._base.found
        first = max(len(known) - 1, 0)
        folded = self.hits.take_first(count)
        for hit in folded:
            self._base.push(hit)
        for found, grown in zip(known[first:], self._live.found[first:], strict=False):
            if found.origin == grown.origin:  # the same objects: what was packed are others
                found.hits = grown.hits.copy_first(len(found.hits))
        self.floor = folded[-1].at + MICROSECOND
        self._drop_settled(self.floor)
        self._drop_reported()
        return count

    def around(self, record: KeptRecord) -> tuple[Fold, list[Hit], list[Hit]] | None:
        """Return the fold that the group begins with, the hits before a record, and its own; None if it has none."""
        own = [hit for hit in self.hits if any(each.key == record.key for each in hit.records)]
        if not own:
            return None
        return self._base.copy(), [hit for hit in self.hits if hit.order < own[0].order], own

    # -- alerts --------------------------------------------------------------------------------------------------------

    def evaluate(self, verified: datetime | None, hits_above: HitsAbove | None) -> Evaluation:
        """Return what the fold finds now, with the changes of its hits in the rules above."""
        self._refresh()
        alerts = self.alerts(self._settled)
        judged = [found for found in alerts if found.is_judged(verified)]
        current = {found.id for found in alerts}
        # In order, only the newest alert can still disappear: one that waited for something not to come.
        is_again = self._newest_id is None
        suspects = {*self._known, *self._published} if self._newest_id is None else {self._newest_id, *current}
        self._newest_id = alerts[-1].id if alerts else ""
        outer = list(self._publish(suspects, judged, hits_above, is_again=is_again)) if hits_above is not None else ()
        turned = turned_by(self._known, suspects, current)
        return Evaluation(self._context.rule, self.group, self._known, self._last_at, alerts, judged, turned, outer)

    def alerts(self, start: int = 0) -> list[FoundAlert]:
        """Return the alerts, with their ids, from a position on."""
        alerts = self._live.alerts(start)
        for found in alerts:
            found.id = found.id or self._context.rule.alert_id(self.group, found.origin)
            if self._context.is_waiting:
                found.judged_at = found.fired_at  # no fold waits for longer
        return alerts

    def next_due(self, alerts: Sequence[FoundAlert], verified: datetime | None) -> datetime:
        """Return the verified time at which the group is to be judged next, NEVER if it need not be."""
        context = self._context
        due = [each.judged_at for each in alerts if each.judged_at is not None and not each.is_judged(verified)]
        if context.rule.is_merging:  # a group came back: first it must be verified whether others are missing
            ends = [each.resolved_at for each in alerts if each.resolved_at is not None]
            due += [end for end in ends if verified is None or end > verified]
        start = context.alerts_from
        if context.rule.is_absence and start is not None and (verified is None or verified < start):
            due.append(start)
        return min(due, default=NEVER)

    def settle(self, alerts: Sequence[FoundAlert], verified: datetime | None, shared: SharedAlerts | None) -> None:
        """Note which alerts cannot change unless the group is folded again: all but the newest, as far as they are reported."""
        for found in alerts[:-1]:
            if not found.is_judged(verified) or (shared is not None and not shared.is_settled(found)):
                return
            self._settled += 1
            if shared is not None:
                shared.settle(self.group, found)

    def ended_at(self) -> datetime | None:
        """Return when the last hit came or the last known alert was over: later, nothing happens in the group by itself."""
        # An alert that is no longer found may be found again while hits of its time may still come.
        ends = [known.until for known in self._known.values()]
        return max(ends if self._last_at is None else [self._last_at, *ends], default=None)

    def _refresh(self) -> None:
        """Fold the group again if a hit arrived out of order or was removed."""
        if not self._is_stale:
            return
        self._live = self._base.copy()
        for hit in self.hits:
            self._live.push(hit)
        self._is_stale, self._newest_id, self._settled = False, None, 0
        for known in self._known.values():
            known.taken = 0

    def _drop_settled(self, floor: datetime) -> None:
        """Forget the alerts that can no longer change, because hits before the floor come too late."""
        count = max(min(self._settled, len(self._base.found) - 1), 0)
        del self._base.found[:count]
        del self._live.found[:count]
        self._settled -= count
        left = {found.id for found in self.alerts()}
        for known in list(self._known.values()):
            if known.id not in left and (known.is_current or known.until < floor):
                del self._known[known.id]
                self._published.pop(known.id, None)

    def _drop_reported(self) -> None:
        """Forget which hits the newest alert of `_base` was reported with, and their records if none is taken again.

        A record before the floor comes too late. But an inner alert after the floor may hold one that an earlier one held too.
        """
        if not self._context.is_final or not self._base.found:
            return
        newest, grown = self._base.found[-1], self._live.found[len(self._base.found) - 1]
        known = self._known.get(grown.id)
        if known is None or not known.is_reported:
            return
        keys = {record.key for hit in newest.hits for record in hit.records}
        if not known.keys.issuperset(keys):
            return
        count = len(newest.hits)
        if grown is not newest:
            grown.hits.drop_first(count)
        newest.hits.clear()
        if self._context.is_direct:
            known.keys -= keys
        known.taken = max(known.taken - count, 0)

    # -- the rules above -----------------------------------------------------------------------------------------------

    def _publish(
        self, suspects: Iterable[str], judged: Sequence[FoundAlert], hits_above: HitsAbove, *, is_again: bool
    ) -> Iterator[OuterChange]:
        """Let the rules above count the judged alerts as they are now, and no others."""
        # If all hits arrived in order, only alerts that waited for verified time can change once they are published.
        settled = {found.id for found in judged if not is_again and found.judged_at is None} & self._published.keys()
        now = {found.id: self._hits_above(found, hits_above) for found in judged if found.id not in settled}
        gone = [name for name in suspects if name in self._published and name not in settled and name not in now]
        now.update((name, []) for name in gone)
        for name, hits in now.items():
            before, self._published[name] = self._published.get(name, []), hits
            yield from (OuterChange(False, old) for old in before if old not in hits)
            yield from (OuterChange(True, new) for new in hits if new not in before)

    def _hits_above(self, found: FoundAlert, hits_above: HitsAbove) -> list[OuterHit]:
        """Return the hits that an alert makes in the rules above; the one a state begins with is too old to matter there."""
        if found.is_quiet or (self._begun is not None and found.id == self._begun.id):
            return []
        return list(hits_above(self.group, found))

    # -- saved, for a restart ------------------------------------------------------------------------------------------

    def known(self) -> list[CorrelatedAlert]:
        """Return its alerts that can still change, without what is not stored."""
        return [replace(known, keys=set(), taken=0) for known in self._known.values()]

    def save(self, rule_ids: Sequence[str]) -> SavedGroup:
        """Return what cannot be folded again. `rule_ids` are the ids of the rules by number."""
        writer = HitWriter()
        return SavedGroup(
            self.group,
            self.floor,
            self._last_at,
            self._base.save(writer),
            writer.hit_list(self.hits),
            list(self._known),
            {
                name: [SavedOuterHit(rule_ids[number], group, writer.number(hit)) for number, group, hit in outer]
                for name, outer in self._published.items()
            },
            None if self._begun is None else writer.alert(self._begun),
            writer.hits,
            writer.records,
        )

    def load(
        self,
        saved: SavedGroup,
        known: Mapping[str, CorrelatedAlert],
        deleted: Mapping[str, CorrelatedAlert],
        numbers: Mapping[str, int],
    ) -> None:
        """Continue from what was saved.

        `known` are the alerts as they are stored now, `deleted` the others, `numbers` are those of the rules by id.

        Raises: DoesNotFit.
        """
        reader = HitReader(saved.numbered, saved.records)
        self._last_at = saved.last_at
        self._base.load(saved.base, reader)
        self.hits = reader.hit_list(saved.hits)
        self._known = {name: known.get(name) or deleted[name] for name in saved.known}
        self._note_reported(deleted)
        self._published = {
            name: [_outer(each, reader, numbers) for each in outer] for name, outer in saved.published.items()
        }
        self._begun = None if saved.begun is None else reader.alert(saved.begun)

    def _note_reported(self, deleted: Container[str]) -> None:
        """Note which records of `_base` were reported, even if retention has deleted them since, or the whole alert."""
        alert_id = self._context.rule.alert_id
        for found in self._base.found:
            known = self._known.get(found.id or alert_id(self.group, found.origin)) if self._known else None
            if known is not None and (known.is_reported or known.id in deleted):
                known.keys.update(record.key for hit in found.hits for record in hit.records)

    def share(self, shared: SharedAlerts, others: Iterable[CorrelatedAlert]) -> None:
        """Let the alerts of the group, and `others` that are no longer known, lead those that fire after them."""
        found = {each.id: each for each in (*others, *self._known.values())}.values()
        shared.restore(self.group, [each for each in found if each.is_current and not self._context.is_early(each)])

    # -- after a restart -----------------------------------------------------------------------------------------------

    def restore_alert(self, known: CorrelatedAlert) -> None:
        """Take an alert that the store holds. It ends as this rule says: an older version may have joined hits for longer."""
        if not self._context.rule.is_absence:
            known.until = min(known.until, known.fired_at + self._context.rule.realert)
        self._known[known.id] = known

    def begin(self, shared: SharedAlerts | None) -> None:
        """Begin at the last of its alerts that began before all of its hits are known, if there is one."""
        context, current = self._context, [each for each in self._known.values() if each.is_current]
        if shared is not None:
            self.share(shared, ())
        begun = [each for each in current if context.began_before(each)]
        last = max(begun, key=lambda each: (each.first_at, each.fired_at), default=None)
        if last is not None:
            is_quiet = context.is_early(last)
            self._begun = FoundAlert(
                last.origin, last.first_at, last.fired_at, last.until, HitList(), is_quiet=is_quiet, id=last.id
            )
            self._base.restore(self._begun)

    def restore_hit(self, hit: Hit) -> int:
        """Take a hit from before the restart. Return by how many hits more the group holds now: less than 0 if it folds some.

        It folds those before the hit if no hit can follow there, so that memory is bounded.
        """
        hits, newest, folded = self.hits, self.hits.newest, 0
        if newest is not None:
            if self._context.is_direct and newest.at < hit.at:
                folded = self._fold_settled(newest.at)
            if not folded:
                before = len(hits)
                self.keep(hit)
                return len(hits) - before
        hits.append(hit)  # as almost all: nothing is compared
        self._last_at = hit.at if self._last_at is None else max(self._last_at, hit.at)
        return 1 - folded

    def _fold_settled(self, last_at: datetime) -> int:
        """Fold the hits up to the newest, at `last_at`, if no other hit can come up to there. Return how many."""
        context = self._context
        if context.complete_from is not None and last_at < context.complete_from:
            return self._fold_quietly()
        if context.settled_before is None or last_at >= context.settled_before:
            return 0
        folded = self.hits.take_all()
        for hit in folded:
            self._base.push(hit)
        self.floor = last_at + MICROSECOND
        if context.is_final:
            self._drop_restored()
        return len(folded)

    def _drop_restored(self) -> None:
        """Forget the alerts before the newest that are over. Of those that can never open, drop the records."""
        found = self._base.found
        while self._left_count < len(found) - 1:
            each = found[self._left_count]
            known = (
                self._known.get(each.id or self._context.rule.alert_id(self.group, each.origin))
                if self._known
                else None
            )
            if known is not None and self._context.is_over(each, known):
                del found[self._left_count], self._known[known.id]
                continue
            if known is None and not self._context.may_open(each, NEVER):
                each.hits.clear()
            self._left_count += 1

    def finish_restore(self) -> int:
        """Finish, once all hits from before the restart are restored. Return how many hits it drops."""
        context, begun = self._context, self._begun
        count = self._fold_quietly()
        if begun is not None and context.complete_from is not None:  # its hits may be folded already
            # Only an older version of the rule let more time pass between the first record and the firing. That alert sets no
            # limit: a rebuild for a hit before it would set the same one again.
            after = min(begun.fired_at + MICROSECOND, context.complete_from + context.rule.timespan)
            self.floor = max(after, self.floor or after)
        if self._known:
            left = {context.rule.alert_id(self.group, found.origin) for found in self._base.alerts()}
            self._known = {
                known.id: known for known in self._known.values() if not context.began_before(known) or known.id in left
            }
        return count

    def republish(self, hits_above: HitsAbove) -> Iterator[OuterHit]:
        """After a restore, return the hits that the alerts of the past make in the rules above."""
        self._refresh()
        for found in self.alerts():
            known = self._known.get(found.id)
            if found.judged_at is None or (known is not None and known.is_current):
                hits = self._published[found.id] = self._hits_above(found, hits_above)
                yield from hits

    def _fold_quietly(self) -> int:
        """Fold and drop the hits from before all hits are known: the store holds their alerts. Return how many."""
        if self._context.complete_from is None:
            return 0
        hits = self.hits.drop_before(self._context.complete_from)
        for hit in _since(self._context.rule, self._begun, hits):
            self._base.push(hit, is_quiet=True)
        return len(hits)


def _outer(saved: SavedOuterHit, reader: HitReader, numbers: Mapping[str, int]) -> OuterHit:
    if saved.rule_id not in numbers:
        raise DoesNotFit(f"the rule {saved.rule_id} is gone")
    return numbers[saved.rule_id], saved.group, reader.hit(saved.hit)


def _since(rule: Correlation, begun: FoundAlert | None, hits: Sequence[Hit]) -> Sequence[Hit]:
    """Return the hits without those before the alert that a state begins with, also at its first instant."""
    if begun is None or rule.type is CorrelationType.SPIKE:
        return hits
    kept = [hit for hit in hits if hit.at >= begun.first_at]
    place = next((n for n, hit in enumerate(kept) if hit.key == begun.origin), 0)
    return kept[place:]


def _is_backlog(hit: Hit) -> bool:
    return bool(hit.records) and all(record.is_backlog for record in hit.records)
