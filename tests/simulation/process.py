"""The service of a simulation: built by its own composition root, with its own steps, which are called one by one."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

from actionwatch.service.app import App
from actionwatch.service.machine import Machine
from actionwatch.service.service import Service
from actionwatch.settings import Settings
from actionwatch.tail.state import PollReport

_REAL = ("disk", "log", "send")
"""Steps about the real machine: its disk, its log, and threads that hang."""


class Process:
    """One process, from its start to its end or death. `steps` are what its threads would run."""

    def __init__(self, settings: Settings, machine: Machine, on_poll: Callable[[str, PollReport], None]) -> None:
        """`on_poll` gets the name of a source, and the report of its poll that has ended."""
        self._joined = contextlib.ExitStack()
        self.app = App(settings, machine)
        self.service = Service(self.app)
        self._on_poll = on_poll
        try:
            self._joined.enter_context(self.service.ready())
            self.service.worker.begin()
            self._list_steps()
            for name in self.app.tails.sources:
                self.steps[f"accounts {name}"]()
        except BaseException:
            self.die()
            raise

    def _list_steps(self) -> None:
        works = {**self.service.jobs.work, **self.service.source_steps.work}
        self.steps = {name: work for name, work in works.items() if name not in _REAL}
        self.steps |= {f"tail {name}": functools.partial(self._poll, name) for name in self.app.tails.sources}
        self.steps |= {"match": self.service.loops.matching.match, "clock": self.service.loops.look_at_clock}
        self.steps |= {"deliver": self._deliver, "threads": self._send}

    def _poll(self, source: str) -> None:
        def poll() -> None:
            tail = self.app.tails.steps[source]
            if not tail.waits:
                self._on_poll(source, tail.run_once())

        self.service.steps.attempt(f"tail {source}", poll)

    def _deliver(self) -> None:
        """Run a round of the delivery worker."""
        self.service.steps.attempt("deliver", functools.partial(self.service.worker.run_round, 0.0))

    def _send(self) -> None:
        """Send one message of each receiver that has one, like its threads."""
        for worker in self.service.worker.receivers.by_name.values():
            if not worker.jobs.empty():
                worker.send_next()

    def finish(self) -> None:
        """End cleanly: what is being sent is finished and recorded."""
        worker = self.service.worker
        worker.stop()
        while any(not each.jobs.empty() for each in worker.receivers.by_name.values()):
            self._send()
        worker.finish()
        self._joined.close()
        self.app.close()

    def die(self) -> None:
        """End like a process that is killed: only the file stays."""
        self._joined.close()
        self.app.tails.close()
        self.app.database.close()
