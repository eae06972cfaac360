"""The polls of all sources of a process, in a fixed number of threads: `poll_queue.py` decides which one runs next."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from actionwatch.alerts.self_alerts import OwnAlerts, SelfAlerts
from actionwatch.base.durations import spell_duration, spell_seconds
from actionwatch.base.lateness import Lateness
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.upstream import Upstream
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.service.poll_queue import Ended, PollQueue, Turn
from actionwatch.service.threads import Threads

LOOK_EVERY = timedelta(seconds=15)
_LATE_LOOKS = 4  # in a row, before late polls are reported
_LATE_SHARE = 0.1  # of the polls between two looks, from which on a look counts
_SUBJECT = "sources"
_OUT_LOOKS = 2  # in a row, before an outage is reported
_OUT_LOOKS_ALONE = 4  # the same, of a replica that does not lead
_LATE_REMEDY = (
    "set a longer poll_interval, run another replica (with PostgreSQL), or give the machine more CPU; if the machine is idle, "
    "raise upstream.threads, and upstream.rate if it is set. Nothing is lost: each poll reads what the one before missed"
)
_OUT_REMEDY = (
    "see the status page of the vendor, and check base_url, proxy and the network here. One poll at a time tries it: "
    "when it answers, all sources are read from where they stopped"
)


class Polls:
    """The threads that poll, and the queue before them. Safe to share between threads."""

    def __init__(self, threads: int, elapsed: Callable[[], float], chance: Callable[[], float]) -> None:
        self._count = threads
        self._queue = PollQueue(threads, elapsed, chance)
        self._changed = threading.Condition()

    def add(self, *turns: Turn) -> None:
        """Run the steps of a source from now on."""
        with self._changed:
            self._queue.add(turns)
            self._changed.notify_all()

    def remove(self, source: str) -> None:
        """Run no other step of a source."""
        with self._changed:
            self._queue.remove(source)

    def must_give_way(self, source: str) -> bool:
        """Return whether the poll of a source that runs now is to end at the next window, for the sake of others."""
        with self._changed:
            return self._queue.must_give_way(source)

    def lateness(self) -> Lateness:
        """Return how late polls began, since the start."""
        with self._changed:
            return self._queue.lateness()

    def start(self, threads: Threads) -> None:
        """Start the threads."""
        for number in range(self._count):
            threads.start(f"poll {number + 1}", functools.partial(self._run, threads.stopping))

    def wake(self) -> None:
        """Let the threads see that they are to end."""
        with self._changed:
            self._changed.notify_all()

    def _run(self, stopping: threading.Event) -> None:
        while (turn := self._next(stopping)) is not None:
            ended = Ended()
            try:
                ended = turn.run()
            finally:
                with self._changed:
                    self._queue.end(turn, ended)
                    self._changed.notify()

    def _next(self, stopping: threading.Event) -> Turn | None:
        with self._changed:
            while not stopping.is_set():
                found = self._queue.take()
                if isinstance(found, Turn):
                    self._changed.notify()  # another one may be due
                    return found
                self._changed.wait(None if found == math.inf else found)
        return None


class PollWatch:
    """Reports upstreams that do not answer, and that polls are late.

    The leader reports an outage for all replicas. Another one reports it if the leader does not: only that replica is cut off.
    """

    def __init__(
        self,
        lateness: Callable[[], Lateness],
        upstreams: Callable[[], Mapping[Upstream, int]],
        alerts: SelfAlertStore,
        own_alerts: SelfAlerts,
        leads: Callable[[], bool],
    ) -> None:
        """`upstreams` returns how many sources of the configuration each has. `own_alerts` are those about this process."""
        self._lateness = lateness
        self._upstreams = upstreams
        self._alerts = alerts
        self._own_alerts = own_alerts
        self._leads = leads
        self._before = Lateness()
        self._late_looks = 0
        self._out_looks: Mapping[str, int] = {}

    def run_once(self) -> None:
        """Look at the upstreams, and at the polls since the last look. Raises: StoreError, RoleLost."""
        self._look_at_upstreams()
        self._look_at_lateness()

    def _look_at_upstreams(self) -> None:
        found = self._upstreams()
        looks = {each.name: self._out_looks.get(each.name, 0) + 1 for each in found if each.outage is not None}
        self._out_looks, leads = looks, self._leads()
        alerts: SelfAlerts = self._alerts if leads else self._own_alerts
        for each, count in found.items():
            is_out = looks.get(each.name, 0) >= (_OUT_LOOKS if leads else _OUT_LOOKS_ALONE)
            if is_out and (leads or not self._alerts.is_open("origin_unreachable", each.name)):
                what = f"none of {counted(count, 'source')} can be read: {each.outage}"
                alerts.report("origin_unreachable", each.name, what, _OUT_REMEDY)
        alerts.settle_others("origin_unreachable", {each.name for each in found if not _answers(each)})
        if leads and isinstance(self._own_alerts, OwnAlerts):  # what this replica reported before it was the leader
            self._own_alerts.settle_others("origin_unreachable", set())

    def _look_at_lateness(self) -> None:
        now, before = self._lateness(), self._before
        self._before = now
        count, late_count = now.count - before.count, now.late_count - before.late_count
        is_late = late_count > 0 and late_count >= count * _LATE_SHARE
        self._late_looks = self._late_looks + 1 if is_late else 0
        if self._late_looks >= _LATE_LOOKS:
            lag = spell_seconds(max(now.total - before.total, 0) / max(count, 1))
            share = f"{late_count:,} of {counted(count, 'poll')} within {spell_duration(LOOK_EVERY)}"
            what = f"{share} began late; on average, polls began {lag} late"
            self._own_alerts.report("polls_late", _SUBJECT, what, _LATE_REMEDY)
        elif not self._late_looks:
            self._own_alerts.settle_trouble("polls_late", _SUBJECT)


def _answers(upstream: Upstream) -> bool:
    """Return whether an upstream answers, or this process reads no source of it; not before the first answer of a process."""
    is_asked_first = bool(upstream.sources) and upstream.answered_at == -math.inf
    return upstream.outage is None and not is_asked_first
