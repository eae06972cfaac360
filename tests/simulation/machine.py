"""The machine of a simulation: virtual time, one thread, and a clock that can be set while the upstream's stays right."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from actionwatch.service.machine import Machine
from actionwatch.store.database import Database
from tests.builders import NOON, Clock

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Turn(Executor):
    """Does each task at once, in the thread that submits it."""

    def submit(self, run: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Do a task. An error is in its future, except the death of the process."""
        future: Future[_T] = Future()
        try:
            future.set_result(run(*args, **kwargs))
        except Exception as exc:
            future.set_exception(exc)
        return future


class Unstarted:
    """A thread that does not run: the simulation does its work."""

    def join(self, timeout: float | None = None) -> None:
        """Return at once."""


class VirtualMachine:
    """The clocks of the machine, which go by those of the world."""

    def __init__(self, world: Clock) -> None:
        self._world = world
        self.off_by = timedelta(0)
        """How far its clock is off."""

    def now(self) -> datetime:
        """Return what its clock shows."""
        return self._world() + self.off_by

    def elapsed(self) -> float:
        """Return the seconds that no setting of the clock changes."""
        return (self._world() - NOON).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._world.advance(seconds=seconds)

    def parts(self, chance: random.Random, database: Database) -> Machine:
        """Return it as the composition root of the service knows it."""
        return Machine(
            now=self.now,
            elapsed=self.elapsed,
            sleep=self.sleep,
            chance=chance.random,
            threads=lambda _: Turn(),
            start_thread=lambda _, __: Unstarted(),
            open_store=lambda _: database,
        )
