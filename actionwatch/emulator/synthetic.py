"""Make the prototypes of synthetic actions."""

import random
from collections.abc import Callable

from actionwatch.emulator.catalogue import KINDS
from actionwatch.emulator.log import Action, EntityRef, from_ms

PROTOTYPES = 4999  # a prime, so that no period of the synthetic actions coincides with a page size


def prototypes(seed: int, accounts: list[EntityRef], new_id: Callable[[], str]) -> list[Action]:
    """Return actions of all kinds in these accounts (or in a new one if there are none), all at the epoch."""
    chance = random.Random(seed)
    owners = accounts or [EntityRef(new_id(), "synthetic")]
    clusters = [EntityRef(new_id(), f"synthetic-{number}") for number in range(50)]
    kinds, epoch = list(KINDS), from_ms(0)
    return [
        Action(
            chance.choice(kinds),
            epoch,
            f"user{chance.randrange(100)}@example.com",
            f"Synthetic action {number % 1009}",
            owners[number % len(owners)],
            clusters[chance.randrange(50)],
        )
        for number in range(PROTOTYPES)
    ]
