"""Recognise a quiet poll: the upstream answers what it answered when the last full poll proved the window.

The window begins where the one before began, and ends later. If the response is the same, byte for byte, it proves the same
records again, up to a later time. Then nothing of the store need be read, and nothing of the response. Only the marks, the
receipt and the time of the poll are written, for all sources that poll at the same moment in one transaction (`Rounds`). The
write fails if the store is no longer as the last poll left it.

Whatever is not quiet is a full poll, which begins with the response that is here already. So is the first poll of a process,
one after an error, and one each minute, which does what else there is to do: it looks for troubles, and begins sweeps. What
this module remembers can be forgotten at any instant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from actionwatch.base.clock import is_due
from actionwatch.instaclustr.client import digest_of
from actionwatch.net.http_response import HttpResponse
from actionwatch.store.polls import Poll
from actionwatch.tail.cursor import IGNORED_SKEW, Window
from actionwatch.tail.pager import Pager
from actionwatch.tail.rounds import Outdated, QuietPoll, Rounds
from actionwatch.tail.state import PollReport, Proof, Received, TailState
from actionwatch.tail.sweeping import Sweeper
from actionwatch.tail.walk import proved_until

FULL_EVERY = timedelta(minutes=1)
# The part of an overlap by which a window may be longer than that: after a new record it could begin later. Then most of the
# polls that follow are quiet, and a source with a record a minute seldom needs another full poll.
_LONGER_BY = 3


@dataclass(frozen=True, slots=True)
class _Known:
    """The last proof, and what the last full poll knew with it, at a time."""

    proof: Proof
    skew: timedelta
    has_records: bool
    full_at: datetime
    swept_until: datetime


class QuietPolls:
    """The quiet polls of one source."""

    def __init__(self, state: TailState, pager: Pager, sweeper: Sweeper, rounds: Rounds) -> None:
        self._state = state
        self._pager = pager
        self._sweeper = sweeper
        self._rounds = rounds
        self._known: _Known | None = None

    def forget(self) -> None:
        """Let the next poll be a full one."""
        self._known = None

    def note_full(self, report: PollReport) -> None:
        """Note that a full poll ended without an error, and remember what it proved if that can repeat itself."""
        proof, swept_until = self._state.proof, self._sweeper.is_due_at
        is_clear = not (report.unproved or report.ignored_filters or report.mark_ahead)
        if is_clear and proof is not None and swept_until is not None:
            skew, now = self._state.server.skew, self._state.clock()
            self._known = _Known(proof, skew, report.has_records, full_at=now, swept_until=swept_until)

    def run_once(self, report: PollReport) -> bool:
        """Poll, unless a full poll is due; return whether the poll was quiet. Otherwise, a full one must follow.

        Raises: SourceError, Stopped, RoleLost, StoreError.
        """
        state = self._state
        state.received = state.proof = None
        known, self._known = self._known, None  # whatever happens, until the poll turns out to be quiet
        if known is None or is_due(known.full_at, FULL_EVERY, state.clock()) or state.server.now() >= known.swept_until:
            return False
        window = self._window(known.proof.window.start)
        response = None if window is None else self._ask(known, window, report)
        if window is None or response is None:
            return False
        through = proved_until(window, response.date, state.server.prove_until())
        receipt = known.proof.receipt.repeated(through, state.clock(), known.proof.request_count)
        if receipt is None:
            return False
        before = state.marks
        seen, proved = max(before.seen_through, through), max(before.proved_through, through)
        marks = replace(before, seen_through=seen, proved_through=proved)
        poll = Poll(state.clock(), failures=0, last_error=None, clock_skew=state.server.skew)
        ended = QuietPoll((before, marks), (known.proof.receipt, receipt), poll, lambda: state.is_stopping)
        try:
            self._rounds.commit(ended)
        except Outdated:
            return False
        state.marks, state.received = marks, None
        self._known = replace(known, proof=replace(known.proof, receipt=receipt), skew=state.server.skew)
        report.request_count += 1  # the last one; a full poll would count it too
        report.proved_count += 1
        report.has_records = known.has_records
        return True

    def _window(self, start: datetime) -> Window | None:
        """Return the window of this poll, with the start of the last one; None if that is too long ago."""
        window = self._state.next_window()
        earliest = window.start - self._state.options.overlap / _LONGER_BY
        return Window(start, window.end) if earliest <= start <= window.start else None

    def _ask(self, known: _Known, window: Window, report: PollReport) -> HttpResponse | None:
        """Make the requests of the last proof; return the last response, or None if one differs from what is known."""
        state = self._state
        for _ in range(known.proof.request_count):
            report.request_count += state.received is not None
            response = self._pager.first_page(window)
            state.received = Received(window, state.widened(window), response)
            state.server.compare(response.date)
            if abs(state.server.skew - known.skew) > IGNORED_SKEW:
                state.received = None  # its window does not end now
                report.request_count += 1
                return None
            if digest_of(response.body) != known.proof.digest:
                return None
        return response
