"""The surroundings of the service in a schedule: a receiver that fails, and a machine whose clock can be set."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actionwatch.base import clock
from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from tests.builders import NOON, Clock


@dataclass
class Hook:
    """A receiver that survives every process. Some messages fail randomly, and all while it is down."""

    chance: random.Random
    taken: list[Message] = field(default_factory=list)
    is_down: bool = False

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Accept the message, or not."""
        draw = self.chance.random()
        if self.is_down or draw < 0.1:
            raise TransientDeliveryError("503")
        if draw < 0.12:
            raise PermanentDeliveryError("400")
        self.taken.append(message)
        return Receipt()

    def close(self) -> None:
        """Do nothing."""


class Machine:
    """The machine of the service: its clock can be set, while the upstream's stays right."""

    def __init__(self, world: Clock) -> None:
        self._world = world
        self.step = timedelta(0)
        """How far its clock is off."""
        self.restart()

    def restart(self) -> None:
        """Behave like a process that has just started, and that believes the clock."""
        self.clock = clock.Clock(lambda: self._world() + self.step, self.elapsed)

    def __call__(self) -> datetime:
        return self.clock()

    def elapsed(self) -> float:
        """Return the seconds that no setting of the clock changes."""
        return (self._world() - NOON).total_seconds()
