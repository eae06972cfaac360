"""`run --once`: poll each source once, match, and deliver what is due; once a day, apply the retention."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.base.errors import StoreError
from actionwatch.service.app import App
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.service.disk import check_disk
from actionwatch.service.reload import Reloader
from actionwatch.service.roles import Role, Roles, keep
from actionwatch.service.step_watch import StepWatch
from actionwatch.service.streams import forget_removed
from actionwatch.store import polls
from actionwatch.store.membership import LEADER, stream_role, tail_role
from actionwatch.streams.stream import Stream
from actionwatch.tail.source import SourceTail


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
    app.tails.begin(*app.tails.sources)
    of_sources = [f"{what} {source}" for source in app.tails.steps for what in ("accounts", "tail")]
    of_streams = [f"stream {name}" for name in app.streams]
    for name in (*of_sources, *of_streams, "disk", "clock", "match", "deliver", "prune"):
        steps.add(name, failures=1)

    def attempt(step: str, run: Callable[[], object]) -> None:
        if not steps.attempt(step, run):
            failures.append(f"{step}: {steps.error_of(step)}")

    def poll(source: str, tail: SourceTail) -> None:
        watch = app.tails.account_watches[source]
        listing = threading.Thread(target=attempt, args=(f"accounts {source}", watch.run_once), daemon=True)
        listing.start()
        error = tail.run_once().error
        listing.join()  # its requests have time limits
        if error is None:
            watch.note_poll()
        if error is not None:
            failures.append(str(error))
        elif app.database.write_failure is not None:
            failures.append(f"poll of {source} not recorded: {app.database.write_failure}")

    followers = [tail.follow_clock for tail in app.tails.steps.values()]
    clock_watch = ClockWatch(app.clock, app.leading, app.leading_alerts, followers)
    with _all_roles(app):
        attempt("clock", clock_watch.start)
        forget_removed(app.leading, app.settings.streams)
        Reloader(app).start()
        steps.start()
        is_first_today = _is_first_today(app)
        for source, tail in app.tails.steps.items():
            attempt(f"tail {source}", functools.partial(poll, source, tail))
        if app.database.path is not None:
            attempt("disk", functools.partial(check_disk, app.database.path, app.self_alerts))
        attempt("clock", clock_watch.run_once)  # reading a backlog may have taken hours
        attempt("match", app.matcher.run_once)
        steps.look()  # what ended is delivered in this round
        due_until = app.clock() + wait
        for name, stream in app.streams.items():
            attempt(f"stream {name}", functools.partial(_send, stream))
        attempt("deliver", functools.partial(app.delivery_worker().drain, wait))
        if is_first_today:
            attempt("prune", app.apply_retention)
        steps.look()
    return Round(failures, due_until)


def _send(stream: Stream) -> None:
    stream.begin()
    stream.drain()


def _is_first_today(app: App) -> bool:
    """Return whether no source was polled on this day (in UTC), or it cannot be read: retention is applied once a day."""
    try:
        with app.database.read() as connection:
            return all(poll.last_poll_at.date() != app.clock().date() for poll in polls.read_all(connection).values())
    except StoreError:  # the steps that need it report it
        return True


@contextlib.contextmanager
def _all_roles(app: App) -> Iterator[None]:
    """Have all roles until the block ends. If one is lost, the next write of its step fails and says so.

    Raises: StoreBusy, when a service runs on the store; StoreError.
    """
    names = [LEADER, *map(tail_role, app.tails.steps), *map(stream_role, app.streams)]
    roles = Roles([Role(name, lambda: None, lambda: None) for name in names])
    ended = threading.Event()
    with app.database.joined(alone=True) as membership:
        roles.start(membership)
        threading.Thread(target=keep, args=(roles, membership, ended), name="lease", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
