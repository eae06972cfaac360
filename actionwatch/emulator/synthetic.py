"""Make up the actions that a bulk of synthetic ones is cut from."""

import random
from collections.abc import Callable

from actionwatch.emulator.catalogue import KINDS
from actionwatch.emulator.log import Action, Named, from_ms

PROTOTYPES = 4999  # a prime: no period of the synthetic actions falls together with a page size


def prototypes(seed: int, accounts: list[Named], new_id: Callable[[], str]) -> list[Action]:
    """Return actions of every kind over the given accounts (one is made up if there are none), all at the epoch."""
    chance = random.Random(seed)
    owners = accounts or [Named(new_id(), "synthetic")]
    clusters = [Named(new_id(), f"synthetic-{number}") for number in range(50)]
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
