"""Watch the service's steps: one that keeps failing, or does not end, becomes the self-alert `step_failing`.

`attempt` runs a step and survives every exception. The state is kept in memory, so that `/readyz` shows it even if the store
cannot store an alert.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import structlog

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_seconds
from actionwatch.base.errors import ActionwatchError, RoleLost, StoreClosed, StoreError
from actionwatch.base.reasons import Reason

FAILURES = 3  # in a row, before a step counts as failing: a store may be busy once
HUNG_AFTER = timedelta(minutes=10)  # without an end or progress; requests and writes have shorter time limits
UNWATCHED_AFTER = timedelta(minutes=1)  # `look` is called each second

_TROUBLE = "step_failing"
_FAILED_REMEDY = (
    "see the log for the error (step_failed, store_failed). The step runs again by itself; if the error persists, restart the "
    "service, and report it with the traceback in the log"
)
_HUNG_REMEDY = "restart the service; see the log for what the step did last"

log = structlog.get_logger()


@dataclass(slots=True)
class _Step:
    role: str | None
    """The role for which it runs; None if every replica runs it."""
    failures_allowed: int
    """How many failures in a row are not reported."""
    progress: Callable[[], object]
    failure_count: int = 0
    error: str = ""
    began: float | None = None
    """When the current run began or last made progress; None between two runs."""
    progressed_to: object = None
    is_hung: bool = False
    has_succeeded: bool = False
    """Whether its last run did."""
    is_open: bool = True
    """Whether a self-alert may be open; at the start, an earlier process may have opened it."""

    def end(self) -> None:
        """Note that the current run has ended."""
        self.began, self.is_hung = None, False


class StepWatch:
    """The steps of one process. Safe to share between threads."""

    def __init__(
        self,
        self_alerts: SelfAlerts,
        elapsed: Callable[[], float] = time.monotonic,
        own_alerts: SelfAlerts | None = None,
        of_role: Callable[[str], SelfAlerts] | None = None,
    ) -> None:
        """`self_alerts` are for steps that one replica at a time runs, `own_alerts` for those that each runs.

        `of_role` returns those in which only the replica that has a role reports; by default, they are `self_alerts`.
        """
        self._self_alerts = self_alerts
        self._own_alerts = own_alerts or self_alerts
        self._of_role = of_role or (lambda _: self_alerts)
        self._elapsed = elapsed
        self._steps: dict[str, _Step] = {}
        """Other threads add and remove some: go through a copy."""
        self._lock = threading.Lock()
        self._looked_at = elapsed()

    def add(
        self,
        name: str,
        *,
        failures: int = FAILURES,
        progress: Callable[[], object] = lambda: None,
        role: str | None = None,
    ) -> None:
        """Watch a step. It counts as failing after so many `failures` in a row.

        `progress` returns what changes while a long run moves on; it is asked only when a run is longer than HUNG_AFTER.
        `role`: only the replica that has it runs the step.
        """
        with self._lock:
            self._steps[name] = _Step(role, failures - 1, progress)

    def remove(self, name: str) -> None:
        """Watch a step no longer. Its self-alert is over."""
        with self._lock:
            step = self._steps.pop(name)
        alerts = self._own_alerts if step.role is None else self._self_alerts
        _try(name, functools.partial(alerts.settle_trouble, _TROUBLE, name))

    def forget(self, name: str) -> None:
        """Forget how a step went, because another replica runs it now. Its next success here settles what is open."""
        step = self._steps[name]
        with self._lock:
            step.failure_count, step.has_succeeded, step.is_open = 0, False, True

    def names(self) -> list[str]:
        """Return the names of the steps."""
        return list(self._steps)

    def start(self) -> None:
        """Settle what an earlier process reported about steps that this one does not have."""
        # A step that each replica runs is reported with the name of the replica: without it, by a file that was copied.
        is_alone = self._own_alerts is self._self_alerts
        known = {name for name, step in self._steps.copy().items() if is_alone or step.role is not None}
        self._self_alerts.settle_others(_TROUBLE, known, lambda name: f"the step {name} no longer runs")

    def attempt(self, name: str, work: Callable[[], object]) -> bool:
        """Run a step once. Return whether it succeeded. Every exception is logged and counted, and ends no loop."""
        step = self._steps.get(name)
        if step is None:  # it was removed
            return False
        step.progressed_to, step.began = None, self._elapsed()
        try:
            work()
        except (StoreClosed, RoleLost) as exc:
            step.end()
            log.info("step_interrupted", step=name, why=str(exc))
            return False
        except BaseException as exc:
            if threading.current_thread() is threading.main_thread() and not isinstance(exc, Exception):
                raise  # ends the process visibly; in another thread it would end only that thread
            step.end()
            self._note_failure(name, step, exc)
            return False
        step.end()
        with self._lock:
            step.failure_count, step.has_succeeded = 0, True
        return True

    def error_of(self, name: str) -> str:
        """Return the last error of a step."""
        return self._steps[name].error

    def _note_failure(self, name: str, step: _Step, exc: BaseException) -> None:
        """Log a failure, and report the step if it keeps failing."""
        if isinstance(exc, StoreError):
            log.warning("store_failed", step=name, error=str(exc))
        elif isinstance(exc, ActionwatchError):
            log.error("step_failed", step=name, error=str(exc))
        else:
            log.error("step_failed", step=name, error=repr(exc), exc_info=exc)
        with self._lock:
            step.failure_count, step.has_succeeded = step.failure_count + 1, False
            step.error = str(exc) if isinstance(exc, ActionwatchError) else repr(exc)
        if step.failure_count > step.failures_allowed:
            self._report(name, step, _spell_failures(step), _FAILED_REMEDY)

    def look(self) -> None:
        """Report each step that hangs, and settle what is open about those that succeed again."""
        now = self._looked_at = self._elapsed()
        for name, step in self._steps.copy().items():
            began = step.began
            if began is None or now - began < HUNG_AFTER.total_seconds():
                continue
            try:
                progressed_to = step.progress()
            except StoreError:  # perhaps the step hangs for the same reason
                progressed_to = step.progressed_to
            if progressed_to != step.progressed_to:
                step.progressed_to, step.began = progressed_to, now
                step.is_hung = False
                continue
            if not step.is_hung:
                log.error("step_hung", step=name, seconds=round(now - began))
            step.is_hung = True
            self._report(
                name, step, f"has been running for {spell_seconds(now - began)} without progress", _HUNG_REMEDY
            )
        self._settle_open()

    def reasons(self, has_role: Callable[[str], bool] = lambda _: True) -> Iterator[str]:
        """Describe each step that keeps failing or hangs. A failure for a role that another replica has does not count."""
        now = self._elapsed()
        if now - self._looked_at > UNWATCHED_AFTER.total_seconds():
            yield Reason(f"the steps have not been watched for {spell_seconds(now - self._looked_at)}")
        for name, step in self._steps.copy().items():
            is_mine = step.role is None or has_role(step.role)
            if is_mine and step.failure_count > step.failures_allowed:
                yield Reason(f"step {name}: {_spell_failures(step)}", f"step {name}: it fails")
            if step.is_hung and (began := step.began) is not None:
                yield Reason(f"step {name}: has been running for {spell_seconds(now - began)} without progress")

    def stuck(self) -> dict[str, bool]:
        """Return the steps that made no progress for their limit, as threads that are not alive: a restart helps."""
        found = [f"step {name}" for name, step in self._steps.copy().items() if step.is_hung]
        is_unwatched = self._elapsed() - self._looked_at > HUNG_AFTER.total_seconds()
        return dict.fromkeys([*found, *["the watch of the steps"] * is_unwatched], False)

    def _report(self, name: str, step: _Step, what: str, remedy: str) -> None:
        step.is_open, step.has_succeeded = True, False
        alerts = self._own_alerts if step.role is None else self._of_role(step.role)
        _try(name, functools.partial(alerts.report, _TROUBLE, name, what, remedy))

    def _settle_open(self) -> None:
        """Settle all together: a replica that begins to tail has thousands of steps, nearly always with nothing open."""
        for alerts, is_own in ((self._self_alerts, False), (self._own_alerts, True)):
            over = {
                name: step
                for name, step in self._steps.copy().items()
                if (step.role is None) is is_own and step.is_open and step.has_succeeded
            }
            for step in over.values():
                step.is_open = False  # before anything is settled: a failure meanwhile reports it again
            ended = [(_TROUBLE, name) for name in over]
            if ended and not _try("watch the steps", functools.partial(alerts.settle_all, ended)):
                for step in over.values():
                    step.is_open = True


def _try(name: str, report: Callable[[], None]) -> bool:
    """Report something about a step, if the store can store it. Return whether it did."""
    try:
        report()
    except (StoreClosed, RoleLost):
        return False
    except Exception as exc:  # the store may be the cause: /readyz and the log show it
        log.error("self_alert_failed", trouble=_TROUBLE, subject=name, error=str(exc))
        return False
    return True


def _spell_failures(step: _Step) -> str:
    times = "failed" if step.failure_count == 1 else f"failed {step.failure_count} times in a row"
    return f"{times}: {step.error}"
