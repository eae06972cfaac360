"""A step that fails or hangs is reported, whatever it raises, and no exception ends the thread that runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import pytest

from actionwatch.base.errors import RoleLost, StoreBusy
from actionwatch.service.step_watch import FAILURES, HUNG_AFTER, UNWATCHED_AFTER, StepWatch
from tests.waiting import join


class Odd(BaseException):
    """An exception that no `except Exception` catches."""


@dataclass
class Reported:
    """Self-alerts in the form that a step watch uses."""

    opened: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None
    read_count: int = 0

    def report(self, trouble: str, subject: str, what: str, remedy: str) -> None:
        """Record a report."""
        assert (trouble, bool(remedy)) == ("step_failing", True)
        if self.error is not None:
            raise self.error
        self.opened.setdefault(subject, what)

    def update(self, trouble: str, subject: str, what: str) -> None:
        """Update nothing: the watch never does."""

    def settle_trouble(self, trouble: str, subject: str, why: str = "") -> None:
        """Record that the problem ended."""
        if self.error is not None:
            raise self.error
        self.opened.pop(subject, None)

    def settle_all(self, ended: Collection[tuple[str, str]]) -> None:
        """Record the problems that ended."""
        self.read_count += 1
        for trouble, subject in ended:
            self.settle_trouble(trouble, subject)

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = lambda _: "") -> None:
        """Record the problems that ended."""
        for subject in self.opened.keys() - subjects:
            assert why(subject)
            self.settle_trouble(trouble, subject)


@dataclass
class Time:
    """Seconds that pass only when a test advances them."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Bench:
    """A watch of one step, and its reports."""

    reported: Reported = field(default_factory=Reported)
    time: Time = field(default_factory=Time)
    progress: int = 0
    watch: StepWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = StepWatch(self.reported, self.time)
        self.watch.add("match", progress=lambda: self.progress)

    def fail(self, error: BaseException) -> None:
        """Let the step fail once, in a thread; the thread must survive."""
        outcomes: list[bool] = []

        def raising() -> None:
            raise error

        thread = threading.Thread(target=lambda: outcomes.append(self.watch.attempt("match", raising)))
        thread.start()
        join(thread)
        assert outcomes == [False]

    def succeed(self) -> None:
        """Let the step succeed once, and look at it."""
        assert self.watch.attempt("match", lambda: None)
        self.watch.look()

    @property
    def reasons(self) -> list[str]:
        return list(self.watch.reasons())


@pytest.fixture
def bench() -> Bench:
    """Make a new watch."""
    return Bench()


@pytest.mark.parametrize(
    "error",
    [ValueError("odd"), MemoryError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Odd(), StoreBusy("locked")],
    ids=repr,
)
def test_a_step_that_keeps_failing_is_reported_until_it_works(bench: Bench, error: BaseException) -> None:
    """An exception does not end the loop. If it repeats, it is reported until the step works again."""
    for _ in range(FAILURES - 1):
        bench.fail(error)
    assert (bench.reported.opened, bench.reasons) == ({}, [])
    bench.fail(error)
    shown = str(error) if isinstance(error, StoreBusy) else repr(error)
    assert bench.reported.opened == {"match": f"failed 3 times in a row: {shown}"}
    assert bench.reasons == [f"step match: failed 3 times in a row: {shown}"]
    bench.succeed()
    assert (bench.reported.opened, bench.reasons) == ({}, [])
    bench.fail(error)
    assert bench.reasons == []


def test_a_step_that_runs_seldom_is_reported_at_its_first_failure(bench: Bench) -> None:
    """A step that runs once an hour is reported at its first failure."""
    bench.watch.add("match", failures=1)
    bench.fail(ValueError("odd"))
    assert bench.reasons == ["step match: failed: ValueError('odd')"]


def test_a_failure_that_cannot_be_stored_is_shown_by_readyz(bench: Bench) -> None:
    """If the store accepts no alert, /readyz shows the failure and the loop continues.

    The alert follows when the store works.
    """
    bench.reported.error = StoreBusy("locked")
    for _ in range(FAILURES):
        bench.fail(ValueError("odd"))
    assert len(bench.reasons) == 1
    bench.reported.error = None
    bench.fail(ValueError("odd"))
    assert "match" in bench.reported.opened
    bench.reported.error = StoreBusy("locked")
    bench.succeed()
    bench.reported.error = None
    bench.succeed()
    assert not bench.reported.opened


def test_ctrl_c_ends_a_step_in_the_main_thread(bench: Bench) -> None:
    """Ctrl-C in the main thread is raised."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.watch.attempt("match", interrupt)


def test_a_step_that_hangs_is_reported_until_it_ends(bench: Bench) -> None:
    """A run without end or progress is reported; one that makes progress is not."""

    def run() -> None:
        bench.time.seconds += HUNG_AFTER.total_seconds() - 1
        bench.watch.look()
        assert not bench.reasons
        bench.time.seconds += 1
        bench.progress = 5
        bench.watch.look()
        assert (bench.reasons, bench.reported.opened) == ([], {})  # it made progress
        assert bench.watch.stuck() == {}
        bench.time.seconds += HUNG_AFTER.total_seconds()
        bench.watch.look()
        assert bench.reported.opened == {"match": "has been running for 10m without progress"}
        assert bench.reasons == ["step match: has been running for 10m without progress"]
        assert bench.watch.stuck() == {"step match": False}

    assert bench.watch.attempt("match", run)
    bench.watch.look()
    assert (bench.reasons, bench.reported.opened) == ([], {})
    assert bench.watch.stuck() == {}


def test_a_step_hangs_also_if_the_store_does_not_answer(bench: Bench) -> None:
    """If its progress cannot be read, a step that runs for too long hangs, and other steps are looked at."""

    def fail() -> object:
        raise StoreBusy("locked")

    bench.watch.add("tail", progress=fail)
    bench.watch.add("match")

    def run() -> None:
        bench.time.seconds += HUNG_AFTER.total_seconds()
        bench.watch.look()

    assert bench.watch.attempt("match", lambda: bench.watch.attempt("tail", run))
    assert set(bench.reported.opened) == {"tail", "match"}


def test_a_watch_that_stops_is_shown(bench: Bench) -> None:
    """If the thread that watches the steps hangs, that is visible."""
    bench.time.seconds = UNWATCHED_AFTER.total_seconds() + 1
    assert bench.reasons == ["the steps have not been watched for 1m1s"]
    assert bench.watch.stuck() == {}
    bench.time.seconds = HUNG_AFTER.total_seconds() + 1
    assert bench.watch.stuck() == {"the watch of the steps": False}
    bench.watch.look()
    assert not bench.reasons
    assert bench.watch.stuck() == {}


def test_self_alert_about_the_step_of_a_removed_source_resolves(bench: Bench) -> None:
    """The self-alert about a step of a removed source resolves; one about a step that still fails does not."""
    bench.reported.opened = {"tail gone": "failed", "match": "failed"}
    bench.watch.start()
    assert bench.reported.opened == {"match": "failed"}
    bench.succeed()
    assert not bench.reported.opened


def test_a_step_of_a_role_that_was_lost_does_not_fail(bench: Bench) -> None:
    """Whoever has the role now does the step: this process reports nothing, however often it was refused."""
    for _ in range(FAILURES + 1):
        bench.fail(RoleLost("another replica took over"))
    assert (bench.reported.opened, bench.reasons) == ({}, [])


def test_a_step_of_a_role_begins_anew(bench: Bench) -> None:
    """With a role, a process forgets how the step went before; its first success settles what another one reported."""
    for _ in range(FAILURES):
        bench.fail(ValueError("odd"))
    bench.watch.forget("match")
    assert bench.reasons == []
    assert bench.reported.opened
    bench.succeed()
    assert bench.reported.opened == {}


def test_many_steps_that_succeed_are_settled_together(bench: Bench) -> None:
    """One look settles what an earlier process reported about any of them; the next one finds nothing to ask for."""
    bench.reported.opened = {"tail 7": "failed", "tail 9": "failed", "match": "failed"}
    for number in range(100):
        bench.watch.add(f"tail {number}", role=f"tail {number}")
        assert number == 9 or bench.watch.attempt(f"tail {number}", lambda: None)
    for _ in range(3):
        bench.watch.look()
    assert (bench.reported.opened, bench.reported.read_count) == ({"tail 9": "failed", "match": "failed"}, 1)


def test_a_failure_before_the_look_keeps_what_is_open(bench: Bench) -> None:
    """A step that succeeded once and fails again is not settled."""
    bench.watch.add("match", failures=1)
    bench.fail(ValueError("odd"))
    assert bench.watch.attempt("match", lambda: None)
    bench.fail(ValueError("odd"))
    bench.watch.look()
    assert bench.reported.opened == {"match": "failed: ValueError('odd')"}


def test_steps_of_each_process_have_their_own_reports() -> None:
    """A step that each replica runs is reported as that of this one, a step of a role for whoever has it."""
    shared, own = Reported(), Reported()
    watch = StepWatch(shared, Time(), own)
    watch.add("deliver", failures=1)
    watch.add("match", failures=1, role="leader")
    for name in ("deliver", "match"):
        assert not watch.attempt(name, lambda: 1 / 0)
    assert (list(shared.opened), list(own.opened)) == (["match"], ["deliver"])


def test_whoever_has_the_role_of_a_step_reports_it_and_settles_it() -> None:
    """A step of a source is reported by the replica that tails it, leader or not, and settled by the one that tails it next."""
    shared, of_leader, of_tail = Reported(), Reported(error=RoleLost("another one leads")), Reported()
    roles = {"leader": of_leader, "tail acme": of_tail}
    watch = StepWatch(shared, Time(), Reported(), roles.__getitem__)
    watch.add("match", failures=1, role="leader")
    watch.add("tail acme", failures=1, role="tail acme")
    for name in ("match", "tail acme"):
        assert not watch.attempt(name, lambda: 1 / 0)
    assert (list(of_leader.opened), list(of_tail.opened), list(shared.opened)) == ([], ["tail acme"], [])
    shared.opened, of_tail.error = dict(of_tail.opened), RoleLost("another one tails it")
    assert watch.attempt("tail acme", lambda: None)
    watch.look()
    assert shared.opened == {}
