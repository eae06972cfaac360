"""A schedule: what happens in a simulation, as a list of events that depends on a seed alone.

Each event has its own seed, so that the others stay the same when one is left out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.simulation.correlations import CORRELATIONS
from tests.simulation.site import FIRST, HOOK, RECEIVERS, SECOND, Setup
from tests.simulation.upstream_faults import NATURES

LENGTHS = (1, 1, 1, 1, 1, 2, 2, 2, 3, 6)  # rounds; most problems need few
DISTURBANCES = ("clock", "clock", "reload", "reload", "decide", "decide", "receivers", "restart", "outage", "sweep")


class Event(NamedTuple):
    """Something that happens: a method of `Simulation`, and the seed of its details."""

    what: str
    seed: int


@dataclass(frozen=True)
class Schedule:
    """The meaning of a seed. `nature` is what the upstream always does wrong."""

    seed: int
    nature: tuple[str, ...]
    """Of the first source's upstream. That of the second source does nothing wrong permanently."""
    setup: Setup
    events: tuple[Event, ...]
    settling: int
    """How many hours pass at the end, each with new actions."""

    def __str__(self) -> str:
        events = ", ".join(f"{what} {seed}" for what, seed in self.events)
        return f"{self.nature} {self.setup}: {events}"

    def nature_of(self, kind: str) -> tuple[str, ...]:
        """Return what the upstream of a kind of source always does wrong."""
        return self.nature if kind == FIRST else ()

    def without(self, event: Event) -> Schedule:
        """Leave an event out."""
        return replace(self, events=tuple(each for each in self.events if each != event))


def schedule_of(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    chance = random.Random(seed)
    nature = chance.choice(NATURES)
    kinds = chance.sample(sorted(RECEIVERS.keys() - {HOOK}), chance.choice((0, 0, 1, 2, 4)))
    setup = Setup(
        receivers={HOOK: HOOK} | {kind: kind for kind in kinds},
        page_size=chance.choice((4, 7, 20, 1000)),
        start=chance.choice(("now", "20m", "2h")),
        overlap=chance.choice(("5m", "15m")),
        sources={FIRST: FIRST} | ({SECOND: SECOND} if chance.random() < 0.4 else {}),
        customers=chance.choice(({}, {FIRST: "one"}, {FIRST: "one", SECOND: "one"}, {FIRST: "one", SECOND: "two"})),
        correlations=tuple(sorted(chance.sample(sorted(CORRELATIONS), chance.choice((0, 2, 4, 6, 10))))),
        is_inhibiting=chance.random() < 0.3,
    ).with_files(chance)
    events: list[str] = []
    for _ in range(chance.choice(LENGTHS)):
        events.append("arrive")
        if chance.random() < 0.5:
            events.append("trouble_upstream")
        events.append("wait")
        if chance.random() < 0.4:
            events.append(chance.choice(DISTURBANCES))
        events.append("run")
    if SECOND in setup.sources and chance.random() < 0.5:
        events.append("outage")  # of one source, or of both
    events += ["decide"] * chance.randrange(3)  # now there are alerts
    timeline = tuple(Event(what, chance.getrandbits(32)) for what in events)
    return Schedule(seed, nature, setup, timeline, settling=chance.choice((1, 1, 1, 2)))
