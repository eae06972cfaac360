"""Which source is polled next: a fleet on virtual time, with sources that are quick, slow, silent or far behind."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from actionwatch.base.errors import AccessDenied, SourceUnavailable
from actionwatch.instaclustr.upstream import LIMITED_RATE, Pace, Upstream
from actionwatch.service.poll_queue import Ended, PollQueue, Turn

INTERVAL = 10.0
SILENT = SourceUnavailable("no response from https://api.example: connection refused")


class Fleet:
    """A queue and its threads on virtual time. `takes` returns how long a poll of a source lasts at a time."""

    def __init__(self, threads: int = 4, rate: float | None = None) -> None:
        self.now = 0.0
        self.threads = threads
        chance = random.Random(7)
        self.queue = PollQueue(threads, lambda: self.now, chance.random)
        self.rate = rate
        self.takes: dict[str, Callable[[float], float]] = {}
        self.waits: dict[str, float] = {}
        self.began: list[tuple[float, str]] = []
        """Each poll: when it began, and of which source."""
        self.running: list[tuple[float, int, Turn]] = []
        self.number = itertools.count()
        self.behind: set[str] = set()
        """Sources that never have read everything: each poll of them ends only when it must give way."""

    def upstream(self, name: str = "api.example") -> Upstream:
        """Return an upstream that answers each request."""
        return Upstream(name, Pace(lambda: self.now, self._sleep, lambda: self.rate), lambda: self.now)

    def add(self, upstream: Upstream, names: Sequence[str], seconds: float = 0.01, **options: object) -> None:
        """Add sources, whose polls last so long."""
        for name in names:
            self.takes.setdefault(name, lambda _: seconds)
            upstream.sources.add(name)
            turn = Turn(name, f"tail {name}", INTERVAL, upstream, lambda: Ended(), **options)  # type: ignore[arg-type]
            self.queue.add([turn])

    def run(self, until: float) -> None:
        """Run to a time."""
        while self.now < until:
            found: Turn | float = 0.0
            while len(self.running) < self.threads and isinstance(found := self.queue.take(), Turn):
                found.upstream.pace.wait()
                self.began.append((self.now, found.source))
                self._begin(found)
            ends = self.running[0][0] if self.running else float("inf")
            waits = self.now + found if isinstance(found, float) and len(self.running) < self.threads else float("inf")
            self.now = min(max(min(ends, waits), self.now), until)
            while self.running and self.running[0][0] <= self.now:
                self._end(heapq.heappop(self.running)[2])

    def _begin(self, turn: Turn) -> None:
        ends = self.now + (1.0 if turn.source in self.behind else self.takes[turn.source](self.now))
        heapq.heappush(self.running, (ends, next(self.number), turn))

    def _end(self, turn: Turn) -> None:
        if turn.source in self.behind:
            turn.upstream.note(turn.source, None)
        if turn.source in self.behind and not self.queue.must_give_way(turn.source):
            self._begin(turn)
            return
        if turn.source not in self.behind:
            turn.upstream.note(turn.source, SILENT if self.takes[turn.source](self.now) >= 5 else None)
        self.queue.end(turn, Ended(self.waits.get(turn.source, 0.0), gave_way=turn.source in self.behind))

    def _sleep(self, seconds: float) -> None:
        raise AssertionError(f"a thread waits {seconds} s for the limit of requests")

    def gaps(self, since: float = 0.0) -> list[float]:
        """Return the times between two polls of a source."""
        found: list[float] = []
        last: dict[str, float] = {}
        for at, name in self.began:
            if at >= since and name in last:
                found.append(at - last[name])
            last[name] = at
        return found


def names(count: int, prefix: str = "s") -> list[str]:
    """Return names of sources."""
    return [f"{prefix}{number}" for number in range(count)]


def test_each_source_is_polled_once_per_interval_and_all_spread_over_it() -> None:
    """A thousand sources of 10 ms on four threads: all begin at once, and soon no second has many more polls than another."""
    fleet = Fleet()
    fleet.add(fleet.upstream(), names(1000))
    fleet.run(120)
    assert {name for at, name in fleet.began if at < 5} == set(names(1000))
    assert max(fleet.gaps(since=20)) <= INTERVAL + 0.1
    by_second = Counter(int(at) for at, _ in fleet.began if at >= 30)
    assert max(by_second.values()) < 2 * 100
    assert fleet.queue.lateness().late_count == 0


def test_few_sources_keep_their_times() -> None:
    """As many sources as threads are polled at once, and then each interval: nothing is spread."""
    fleet = Fleet()
    fleet.add(fleet.upstream(), names(4))
    fleet.run(35)
    assert [at for at, name in fleet.began if name == "s0"] == [0.0, 10.0, 20.0, 30.0]


def test_sources_that_are_behind_take_half_of_the_threads() -> None:
    """Ten sources with an endless backlog and 100 others: the others keep their interval, and each of the ten gets turns."""
    fleet = Fleet()
    upstream = fleet.upstream()
    fleet.behind = set(names(10, "b"))
    fleet.add(upstream, [*names(10, "b"), *names(100)])
    fleet.run(600)
    others = [(at, name) for at, name in fleet.began if name not in fleet.behind]
    fleet.began, turns = others, Counter(name for _, name in fleet.began if name in fleet.behind)
    assert max(fleet.gaps(since=60)) <= INTERVAL + 1.5
    assert set(turns) == fleet.behind
    assert min(turns.values()) > 5


def test_alone_a_source_that_is_behind_need_not_give_way() -> None:
    """A backlog is read without a pause while nobody waits."""
    fleet = Fleet()
    fleet.behind = {"b0"}
    fleet.add(fleet.upstream(), ["b0", *names(3)])
    fleet.run(300)
    assert sum(name == "b0" for _, name in fleet.began) == 1


def test_upstream_that_hangs_leaves_half_of_the_threads_to_another() -> None:
    """Polls of one upstream last 30 s and fail: those of the other one keep their interval from the beginning."""
    fleet = Fleet()
    fleet.add(fleet.upstream("hangs"), names(50, "h"), seconds=30.0)
    fleet.add(fleet.upstream("works"), names(50))
    fleet.run(100)
    fleet.began = [(at, name) for at, name in fleet.began if not name.startswith("h")]
    assert max(fleet.gaps()) <= INTERVAL + 0.5


def test_one_poll_at_a_time_tries_an_upstream_that_is_out() -> None:
    """During an outage, one poll per interval; afterwards all sources are polled within one interval, and not at once."""
    fleet = Fleet()
    upstream = fleet.upstream()
    fleet.add(upstream, names(200))
    for name in names(200):
        fleet.takes[name] = lambda now: 5.0 if 100 <= now < 400 else 0.01
    fleet.run(100)
    assert not upstream.outage
    fleet.run(400)
    assert str(upstream.outage) == SILENT.what
    tried = [at for at, _ in fleet.began if 130 <= at < 400]
    assert len(tried) == pytest.approx(27, abs=2)
    fleet.run(440)
    assert not upstream.outage
    recovered = min(at for at, _ in fleet.began if at >= 400)
    again = {name: at for at, name in reversed(fleet.began) if at > recovered}
    assert len(again) == 200
    assert max(again.values()) <= recovered + INTERVAL + 0.5
    assert max(Counter(int(at) for at in again.values()).values()) < 60


def test_limit_of_requests_is_waited_for_in_the_queue() -> None:
    """At most 20 requests a second, of 100 sources that need ten; no thread sleeps, and a second upstream is not slowed."""
    fleet = Fleet(rate=20.0)
    fleet.add(fleet.upstream("one"), names(100))
    fleet.add(fleet.upstream("two"), names(100, "t"))
    fleet.run(60)
    one = [at for at, name in fleet.began if name.startswith("s")]
    for begin in range(50):
        assert sum(begin <= at < begin + 1 for at in one) <= 21
    assert max(fleet.gaps(since=20)) <= INTERVAL + 1


def test_a_start_is_no_overload() -> None:
    """While sources wait for their first poll, which takes long, no poll counts as late; afterwards those count that are."""
    fleet = Fleet()
    fleet.add(fleet.upstream(), [f"s{number}" for number in range(200)], seconds=0.5)
    fleet.run(20)
    assert len({source for _, source in fleet.began}) < 200
    assert fleet.queue.lateness().late_count == 0
    fleet.run(120)
    assert fleet.queue.lateness().late_count > 0


def test_polls_that_cannot_keep_their_interval_are_late() -> None:
    """200 sources at 5 requests a second need 40 s instead of 10: most polls are late; the sum shows by how much."""
    fleet = Fleet(rate=5.0)
    fleet.add(fleet.upstream(), names(200))
    fleet.run(300)
    found = fleet.queue.lateness()
    assert found.late_count > found.count / 2
    assert found.total / sum(found.buckets) > INTERVAL


def test_backoff_of_a_failed_poll_is_kept() -> None:
    """A source that fails waits longer than its interval; the others do not."""
    fleet = Fleet()
    fleet.add(fleet.upstream(), names(2))
    fleet.waits["s0"] = 60.0
    fleet.run(100)
    assert [at for at, name in fleet.began if name == "s0"] == pytest.approx([0.0, 60.01])
    assert sum(name == "s1" for _, name in fleet.began) == 10


def test_source_that_is_removed_and_added_again_is_not_polled_twice_at_once() -> None:
    """A source that changes while its poll runs begins again when that poll has ended; one that is removed does not."""
    fleet = Fleet()
    upstream = fleet.upstream()
    fleet.add(upstream, ["a", "b"], seconds=4.0)
    fleet.run(1)
    for name in ("a", "b"):
        fleet.queue.remove(name)
    fleet.add(upstream, ["a"], seconds=4.0)
    fleet.run(10)
    assert fleet.began == [(0.0, "a"), (0.0, "b"), (4.0, "a")]


@pytest.mark.parametrize(
    ("sources", "errors", "is_out"),
    [
        (1, {"s0": SILENT}, False),  # the source reports it itself
        (2, {"s0": SILENT}, False),
        (2, {"s0": SILENT, "s1": SILENT}, True),
        (9, {"s0": SILENT, "s1": SILENT}, False),
        (9, {"s0": SILENT, "s1": SILENT, "s2": SILENT}, True),
        (9, {"s0": SILENT, "s1": SILENT, "s2": SILENT, "s3": AccessDenied("the key was revoked")}, False),
        (9, {"s0": SILENT, "s1": SILENT, "gone": SILENT}, False),
    ],
)
def test_outage_is_what_several_sources_meet(sources: int, errors: dict[str, SourceUnavailable], is_out: bool) -> None:
    """An upstream is out when three sources in a row got no answer, or all that it has; a refusal is an answer."""
    upstream = Fleet().upstream()
    upstream.sources.update(names(sources))
    for name, error in errors.items():
        upstream.note(name, error)
    assert (upstream.outage is not None) is is_out
    upstream.note("s0", None)
    assert upstream.outage is None


def test_refused_request_slows_all_down_for_a_while() -> None:
    """After a 429 no request is sent before its Retry-After ends, at most a minute; then they are spaced for another minute."""
    now, slept = [0.0], [0.0]
    pace = Pace(lambda: now[0], lambda seconds: slept.append(seconds))
    pace.wait()
    assert (pace.free_in() <= 0, slept) == (True, [0.0])
    pace.slow_down(timedelta(seconds=7))
    assert pace.free_in() == pytest.approx(7)
    pace.wait()
    pace.wait()
    assert slept[1:] == pytest.approx([7, 7 + 1 / LIMITED_RATE])
    pace.slow_down(timedelta(hours=5))
    assert pace.free_in() == pytest.approx(60)
    now[0] = 121.0
    before = len(slept)
    for _ in range(3):
        pace.wait()
    assert len(slept) == before


def test_first_run_may_rest() -> None:
    """A step that another process has just run begins later, and then once per interval."""
    fleet = Fleet()
    fleet.add(fleet.upstream(), ["a"], rest=4.0)
    fleet.run(20)
    assert [at for at, _ in fleet.began] == [4.0, 14.0]
