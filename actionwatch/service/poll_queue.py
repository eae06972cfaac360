"""Which source is polled next: by due time, with limits so that no source and no upstream keeps the others from their polls.

Pure except for the clock it gets; `polls.py` runs it with threads.

- Each step of a source runs once per interval, and never twice at the same time.
- A poll that lasts longer than its interval is long: it reads a backlog, or its upstream hangs. Long ones have at most half of
  the threads: one that reads a backlog gives way at the end of a window, and waits for its next turn.
- An upstream that does not answer has at most half of the threads too. During an outage, one poll at a time tries it.
- A poll waits here, and not in a thread, while the limit of requests of its upstream is used up.
- More sources than threads spread over their interval: each has its second poll, and second listing of accounts, at a random
  time within it.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from actionwatch.base.lateness import Lateness
from actionwatch.instaclustr.upstream import Upstream

ANSWERED_SECONDS = 2.0  # an upstream that has answered within them may have all threads
_LATE_SHARE = 0.5  # of an interval: a poll that begins later is late
_PROBE_SECONDS = 30.0  # at most, between two polls that try an upstream that is out


class Ended(NamedTuple):
    """The end of a run: for how many seconds the next one must wait at least, and whether it gave way to other sources."""

    waits: float = 0.0
    gave_way: bool = False


@dataclass(eq=False, slots=True)
class Turn:
    """A step of a source that is run once per `interval` (seconds). `is_poll`: it reads the log; otherwise, the accounts."""

    source: str
    step: str
    interval: float
    upstream: Upstream
    run: Callable[[], Ended]
    is_poll: bool = True
    rest: float = 0.0
    """For how many seconds the first run may wait."""
    due: float = 0.0
    began: float | None = None
    """When the run began that has not ended; None between two."""
    is_long: bool = False
    """The last run gave way: there is more to read."""
    is_spread: bool = False
    is_removed: bool = False
    follower: Turn | None = None
    """Runs next: the source was removed and added again meanwhile."""

    def lasts(self, now: float) -> bool:
        """Return whether the current run is longer than the interval."""
        return self.began is not None and now - self.began >= self.interval

    def is_late(self, now: float) -> bool:
        """Return whether it is a poll that begins late, if it begins now."""
        return self.is_poll and not self.is_removed and now - self.due > self.interval * _LATE_SHARE


@dataclass(slots=True)
class _Lane:
    """The turns of one upstream."""

    upstream: Upstream
    heap: list[tuple[float, int, Turn]] = field(default_factory=list)
    running: int = 0
    new: set[Turn] = field(default_factory=set)
    """Polls that have not begun once."""
    probe_at: float = -math.inf
    """When one poll may try an upstream that is out."""
    is_out: bool = False


class PollQueue:
    """The turns of all sources of a process. Not safe to share between threads: the caller has a lock."""

    def __init__(self, threads: int, elapsed: Callable[[], float], chance: Callable[[], float] = random.random) -> None:
        """`threads`: how many turns run at the same time."""
        self.half = max(threads // 2, 1)
        self._threads = threads
        self._elapsed = elapsed
        self._chance = chance
        self._lanes: dict[Upstream, _Lane] = {}
        self._turns: dict[str, list[Turn]] = {}
        self._running: set[Turn] = set()
        self._put_off: list[Turn] = []
        """Long ones that wait until another long one ends."""
        self._number = 0
        self._lateness = Lateness()

    def add(self, turns: Iterable[Turn]) -> None:
        """Add the steps of a source, due now or after their rest, in their order."""
        for turn in turns:
            turn.due = self._elapsed() + turn.rest
            self._turns.setdefault(turn.source, []).append(turn)
            lane = self._lanes.setdefault(turn.upstream, _Lane(turn.upstream))
            if turn.is_poll:
                lane.new.add(turn)
            before = next((each for each in self._running if each.step == turn.step), None)
            if before is not None:
                before.follower = turn
            else:
                self._push(turn)

    def remove(self, source: str) -> None:
        """Forget a source. What runs for it ends by itself."""
        for turn in self._turns.pop(source, []):
            turn.is_removed = True
            self._lanes[turn.upstream].new.discard(turn)

    def take(self) -> Turn | float:
        """Return the turn to run now, or for how many seconds none is due."""
        now = self._elapsed()
        best: _Lane | None = None
        wait = math.inf
        for lane in self._lanes.values():
            at = self._ready_at(lane, now)
            if at > now:
                wait = min(wait, at - now)
            elif best is None or lane.heap[0] < best.heap[0]:
                best = lane
        if best is None:
            return wait
        turn = heapq.heappop(best.heap)[2]
        best.running += 1
        best.new.discard(turn)
        self._running.add(turn)
        turn.began = now
        if best.is_out:
            best.probe_at = now + min(turn.interval, _PROBE_SECONDS)
        elif turn.is_poll:
            is_late = not self.new_count() and turn.is_late(now)
            self._lateness = self._lateness.and_one(now - turn.due, is_late=is_late)
        return turn

    def end(self, turn: Turn, ended: Ended) -> None:
        """Note that a turn has ended; its next one is due an interval later, unless `ended` says otherwise."""
        now, lane = self._elapsed(), self._lanes[turn.upstream]
        was_long = turn.is_long or turn.lasts(now)
        turn.began, turn.is_long = None, ended.gave_way
        lane.running -= 1
        self._running.discard(turn)
        if not turn.is_removed:
            turn.due = self._next_due(turn, now, ended)
            self._push(turn)
        elif turn.follower is not None:
            self._push(turn.follower)
        is_out = turn.upstream.outage is not None
        if is_out and not lane.is_out:
            lane.probe_at = now + min(turn.interval, _PROBE_SECONDS)
        elif lane.is_out and not is_out:
            self._spread(lane, now)
        lane.is_out = is_out
        if was_long:
            put_off, self._put_off = self._put_off, []
            for each in put_off:
                self._push(each)

    def _next_due(self, turn: Turn, now: float, ended: Ended) -> float:
        if ended.gave_way:
            return now
        if not turn.is_spread and self._is_large:
            turn.is_spread = True
            return now + max(self._chance() * turn.interval, ended.waits)
        return max(turn.due + turn.interval, now + ended.waits)

    @property
    def _is_large(self) -> bool:
        """Whether there are so many sources that they spread over their interval."""
        return len(self._turns) > self._threads

    def must_give_way(self, source: str) -> bool:
        """Return whether the poll of a source, which is longer than its interval, takes more than its part of the threads."""
        now = self._elapsed()
        long = [each for each in self._running if each.lasts(now)]
        is_one = any(each.source == source and each.is_poll for each in long)
        return is_one and (len(long) > self.half or bool(self._put_off))

    def new_count(self) -> int:
        """Return how many sources wait for their first poll, of upstreams that answer."""
        return sum(len(lane.new) for lane in self._lanes.values() if not lane.is_out)

    def lateness(self) -> Lateness:
        """Return how late polls began, since the start, and those that are due and have not begun.

        None counts as late while sources wait for their first poll, which takes longer than others: a start is no overload.
        """
        now = self._elapsed()
        lanes = [] if self.new_count() else [lane for lane in self._lanes.values() if not lane.is_out]
        waiting = [turn for lane in lanes for _, _, turn in lane.heap if turn.is_late(now)]
        began = self._lateness
        return replace(began, count=began.count + len(waiting), late_count=began.late_count + len(waiting))

    def _ready_at(self, lane: _Lane, now: float) -> float:
        """Return when the first turn of an upstream may run; infinite if another one must end before."""
        while lane.heap:
            turn = lane.heap[0][2]
            if not turn.is_removed and not (turn.is_long and turn.due <= now and not self._has_room(now)):
                break
            heapq.heappop(lane.heap)
            if not turn.is_removed:
                self._put_off.append(turn)
        if not lane.heap:
            return math.inf
        due = max(lane.heap[0][0], now + lane.upstream.pace.free_in())
        if lane.is_out:
            return math.inf if lane.running else max(due, lane.probe_at)
        is_limited = lane.running >= self.half and now - lane.upstream.answered_at > ANSWERED_SECONDS
        return math.inf if is_limited else due

    def _has_room(self, now: float) -> bool:
        """Return whether another long turn may run."""
        return sum(each.is_long or each.lasts(now) for each in self._running) < self.half

    def _spread(self, lane: _Lane, now: float) -> None:
        """Make all polls of an upstream due that answers again: many, each at a random time within its interval."""
        turns = [turn for _, _, turn in lane.heap if not turn.is_removed]
        lane.heap.clear()
        for turn in turns:
            if turn.is_poll:
                turn.due = now + (self._chance() * turn.interval if self._is_large else 0)
            self._push(turn)

    def _push(self, turn: Turn) -> None:
        self._number += 1
        heapq.heappush(self._lanes[turn.upstream].heap, (turn.due, self._number, turn))
