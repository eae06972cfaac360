"""`run --once`: poll each source once, match, and deliver what is due."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from actionwatch.base.errors import ActionwatchError
from actionwatch.service.app import App
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.service.disk import check_disk
from actionwatch.service.reload import Reloader
from actionwatch.service.step_watch import StepWatch

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Round:
    """The result of one round: why steps failed, and up to which time messages were due in it."""

    failures: list[str]
    due_until: datetime


def run_once(app: App, wait: timedelta) -> Round:
    """Poll each source once, match, deliver what is due, and wait for retries due within `wait`.

    A step that fails does not prevent the other steps.
    """
    failures: list[str] = []
    steps = StepWatch(app.self_alerts)
    for name in (*(f"tail {source}" for source in app.tails), "disk", "clock", "match", "deliver"):
        steps.add(name, failures=1)
    with app.database.owned():
        followers = [tail.follow_clock for tail in app.tails.values()]
        clock_watch = ClockWatch(app.clock, app.database, app.self_alerts, followers)
        clock_watch.start()
        Reloader(app).start()
        steps.start()
        attempt = functools.partial(_attempt, steps, failures)
        for source, tail in app.tails.items():
            report = attempt(f"tail {source}", tail.run_once)
            if report is not None and report.error is not None:
                failures.append(str(report.error))
            elif report is not None and app.database.write_failure is not None:
                failures.append(f"poll of {source} not recorded: {app.database.write_failure}")
        attempt("disk", functools.partial(check_disk, app.database.path, app.self_alerts))
        attempt("clock", clock_watch.run_once)  # reading a backlog may have taken hours
        attempt("match", app.matcher.run_once)
        due_until = app.clock() + wait
        attempt("deliver", functools.partial(app.delivery_worker().drain, wait))
    return Round(failures, due_until)


def _attempt(steps: StepWatch, failures: list[str], step: str, run: Callable[[], Result]) -> Result | None:
    """Run a step. Log and report its error, and add it to the failures."""
    try:
        result = run()
    except Exception as exc:
        steps.note_failure(step, exc)
        failures.append(f"{step}: {exc if isinstance(exc, ActionwatchError) else repr(exc)}")
        return None
    steps.note_success(step)
    return result
