"""The active faults of a server, and when each applies."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from threading import Lock

from actionwatch.emulator.faults.fault import FaultError, FaultSpec, parse_fault
from actionwatch.emulator.faults.kinds import OnArrival, OnEntries, OnRequest, Play
from actionwatch.emulator.faults.table import FAULTS
from actionwatch.emulator.log import LAST_MS, Arrival, to_ms
from actionwatch.emulator.stages import Stages
from actionwatch.emulator.state import Organisation


@dataclass
class _ActiveFault:
    """A fault and its counters. `played` counts requests, records or walks."""

    fault: FaultSpec
    since: datetime
    asked: int = 0
    played: int = 0
    memory: dict[object, int] = field(default_factory=dict)

    def is_over(self, now: datetime) -> bool:
        """Return whether it will not be applied again."""
        is_used_up = self.fault.times is not None and self.played >= self.fault.times
        return is_used_up or (self.fault.for_ is not None and now >= self.since + self.fault.for_)


class Faults:
    """The faults of one server, of which each applies to all its organisations. Thread-safe.

    It does not hold its lock while it calls an organisation, because hooks run under the lock of the organisation.
    """

    def __init__(self, organisations: Sequence[Organisation], faults: Iterable[FaultSpec | str] = ()) -> None:
        self._organisations = organisations
        self._clock = organisations[0].clock
        self._lock = Lock()
        self.running: tuple[_ActiveFault, ...] = ()
        """All faults, also those that are over, in the order of composition."""
        for organisation in organisations:
            organisation.attach(self._arrive, partial(self._settle, organisation))
        self.set(*faults)

    def set(self, *faults: FaultSpec | str) -> None:
        """Replace all faults; their limits start at zero.

        Raises: `FaultError`, and then nothing has changed.
        """
        self.add(*faults, keeps_others=False)

    def add(self, *faults: FaultSpec | str, keeps_others: bool = True) -> None:
        """Add faults.

        Raises: `FaultError`, and then nothing has changed.
        """
        now, names = self._clock(), [*FAULTS]
        added = [_ActiveFault(parse_fault(one) if isinstance(one, str) else one, now) for one in faults]
        with self._lock:
            running = [*(self.running if keeps_others else ()), *added]
            self.running = tuple(
                sorted(running, key=lambda one: (one.fault.kind.effect.layer, names.index(one.fault.fault)))
            )
        for organisation in self._organisations:
            self._settle(organisation)

    def clear(self, name: str | None = None) -> None:
        """End all faults, or those with one name. Their changes to the log remain.

        Raises: `FaultError`, if the name is unknown.
        """
        if name is not None and name not in FAULTS:
            raise FaultError(f"unknown fault {name!r}")
        with self._lock:
            self.running = tuple(one for one in self.running if name not in (None, one.fault.fault))

    def compose(self, operation: str, stages: Stages) -> Stages:
        """Return the stages of one request, changed by the faults that apply to it."""
        now = self._clock()
        for running in self.running:
            effect = running.fault.kind.effect
            if not isinstance(effect, OnRequest) or operation not in effect.operations:
                continue
            if running.fault.operation not in (None, operation):
                continue
            if effect.counts != "requests":
                stages = effect.change(stages, self._play(running, now, running.asked))
            elif (number := self._draw(running, now)) is not None:
                stages = effect.change(stages, self._play(running, now, number))
        return stages

    def _draw(self, running: _ActiveFault, now: datetime) -> int | None:
        """Return the number (from 0) of this application of a fault; None if it does not apply."""
        with self._lock:
            if running.is_over(now):
                return None
            running.asked += 1
            if running.asked % running.fault.every:
                return None
            running.played += 1
            return running.played - 1

    def _play(self, running: _ActiveFault, now: datetime, number: int) -> Play:
        fault = running.fault
        return Play(
            fault.arg,
            fault.seed,
            random.Random(f"{fault.seed} {fault.fault} {number}"),
            running.memory,
            self._clock,
            lambda: self._draw(running, now) is not None,
        )

    def _arrive(self, arrival: Arrival) -> list[Arrival]:
        arrivals = [arrival]
        for running in self.running:
            if isinstance(effect := running.fault.kind.effect, OnArrival):
                arrivals = [after for before in arrivals for after in self._arrive_one(running, effect, before)]
        return arrivals

    def _arrive_one(self, running: _ActiveFault, effect: OnArrival, arrival: Arrival) -> list[Arrival]:
        now = self._clock()
        number = self._draw(running, now)
        return [arrival] if number is None else effect.change(arrival, self._play(running, now, number))

    def _settle(self, organisation: Organisation) -> None:
        """Remove the entries of an organisation that are due. It calls this before each read."""
        for running in self.running:
            if isinstance(running.fault.kind.effect, OnEntries):
                self._take_away(organisation, running, running.fault.kind.effect)

    def _take_away(self, organisation: Organisation, running: _ActiveFault, effect: OnEntries) -> None:
        """Remove the entries of a fault that have reached its age; decide once per entry."""
        now = self._clock()
        ends = running.since + running.fault.for_ if running.fault.for_ else None
        moment = min(now, ends - timedelta(milliseconds=1)) if ends else now
        wanted, age = effect.chooses(running.fault.arg)

        def gone_at(row: int, at: int) -> int | None:
            if (organisation.id, row) in running.memory:
                return None
            running.memory[organisation.id, row] = 1
            if self._draw(running, moment) is None:
                return None
            return max(at + age, to_ms(running.since)) if age else to_ms(moment)

        organisation.take_away(wanted, to_ms(moment) - age if age else LAST_MS, gone_at)
