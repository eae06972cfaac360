"""The steps of each source while this process tails it: its polls, and the listing of its accounts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import timedelta

from actionwatch.service.app import App
from actionwatch.service.jobs import attempt_as
from actionwatch.service.poll_queue import Ended, Turn
from actionwatch.service.polls import Polls
from actionwatch.service.roles import Role, Roles
from actionwatch.service.step_watch import StepWatch
from actionwatch.store import backlog_progress
from actionwatch.store.membership import tail_role
from actionwatch.tail.accounts import LIST_EVERY


class SourceSteps:
    """Runs and watches the steps of the sources that this process tails. Sources come and go while it runs."""

    def __init__(self, app: App, steps: StepWatch, polls: Polls) -> None:
        self._app = app
        self._steps = steps
        self._polls = polls
        self._roles: Roles
        self.work: dict[str, Callable[[], None]] = {}
        """What runs each step once."""
        app.tails.gives_way = polls.must_give_way

    def follow(self, roles: Roles) -> None:
        """Run a step only while `roles` say that this process has its role. Call it before any step."""
        self._roles = roles
        self._app.tails.replica_count = lambda: len(roles.roster.hosts)

    def role(self, source: str) -> Role:
        """Return the role of tailing a source, and watch its steps from now on."""
        role, app = tail_role(source), self._app
        listing, polling = _steps_of(source)
        self._steps.add(listing, role=role)
        self._steps.add(polling, progress=functools.partial(_backlog, app, source), role=role)
        self.work[listing] = self._step(role, listing, lambda: app.tails.account_watches[source].run_once())
        self.work[polling] = self._step(role, polling, lambda: app.tails.steps[source].run_once())

        rest = timedelta(0)

        def begin() -> None:
            nonlocal rest
            app.tails.begin(source)
            rest = app.tails.account_watches[source].may_rest()
            for step in (listing, polling):
                self._steps.forget(step)

        def run_now() -> None:
            app.tails.upstream_of(source).sources.add(source)
            self._polls.add(*self._turns(source, rest))

        def end() -> None:
            self._polls.remove(source)
            app.tails.upstream_of(source).sources.discard(source)
            app.tails.steps[source].stop()

        return Role(role, begin, end, run_now)

    def forget(self, source: str) -> None:
        """Watch the steps of a source no longer."""
        for step in _steps_of(source):
            self._steps.remove(step)
            del self.work[step]

    def _step(self, role: str, step: str, run: Callable[[], object]) -> Callable[[], None]:
        return lambda: attempt_as(self._steps, self._roles, role, step, run)

    def _turns(self, source: str, rest: timedelta) -> Iterator[Turn]:
        """Yield the listing first, because the first poll waits a little for it, unless it may rest."""
        listing, polling = _steps_of(source)
        upstream, interval = self._app.tails.upstream_of(source), self._app.tails.sources[source].poll_interval
        every, list_accounts = LIST_EVERY.total_seconds(), self._listing(listing)
        yield Turn(source, listing, every, upstream, list_accounts, is_poll=False, rest=rest.total_seconds())
        yield Turn(source, polling, interval.total_seconds(), upstream, self._polling(source, polling))

    def _listing(self, step: str) -> Callable[[], Ended]:
        work = self.work[step]

        def run() -> Ended:
            work()
            return Ended()

        return run

    def _polling(self, source: str, step: str) -> Callable[[], Ended]:
        work, tail = self.work[step], self._app.tails.steps[source]

        def run() -> Ended:
            work()
            return Ended(tail.waits, tail.gave_way)

        return run


def _steps_of(source: str) -> tuple[str, str]:
    """Return the names of the steps of a source: the listing of its accounts, and its polls."""
    return f"accounts {source}", f"tail {source}"


def _backlog(app: App, source: str) -> object:
    with app.database.read() as connection:
        return backlog_progress.read_all(connection).get(source)
