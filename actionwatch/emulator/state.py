"""One organisation: its people, its log, and what is linked to it. All methods are thread-safe."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from threading import RLock

import msgspec

from actionwatch.emulator.catalogue import KINDS
from actionwatch.emulator.inventory import Account, Inventory
from actionwatch.emulator.log import (
    FIRST_MS,
    LAST_MS,
    Action,
    ActionLog,
    Arrange,
    Arrival,
    ArrivalHook,
    EntityRef,
    LogFilter,
    LogPage,
    LogQuery,
    from_ms,
    to_ms,
)

Clock = Callable[[], datetime]
_PROTOTYPES = 4999  # a prime, so that no period of the synthetic actions coincides with a page size


def system_clock() -> datetime:
    """Return the wall clock time. No other function of the emulator reads it."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Person:
    """A person or service that acts."""

    user_name: str
    role: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Planted:
    """An incident that was simulated, for comparison with alerts."""

    incident: str
    at: datetime
    user_name: str
    kinds: tuple[str, ...]
    cluster: str | None = None
    account: str | None = None
    time_zone: str = "UTC"


@dataclass
class Organisation:
    id: str = "11111111-2222-4333-8444-555555555555"
    name: str = "Acme"
    clock: Clock = system_clock
    seed: int = 0
    time_zone: str = "UTC"  # of the head office
    people: list[Person] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = RLock()
        self._log = ActionLog()
        self._on_arrival: ArrivalHook = lambda arrival: [arrival]
        self._before_read: Callable[[], None] = lambda: None
        self.inventory = Inventory(self.seed, self._lock)

    def link_account(self, name: str, user_name: str, at: datetime | None = None) -> Account | None:
        """Create and link an account, and log it; None if that name is taken."""
        with self._lock:
            if any(account.name == name for account in self.inventory.accounts):
                return None
            account = self.inventory.add_account(name)
            text = f"Linked account {name}"
            self.append("LINK_ACCOUNT", user_name=user_name, at=at, description=text, account=account)
            return account

    def unlink_account(self, account_id: str, user_name: str) -> Account | None:
        """Unlink an account, and log it; None if it is not linked."""
        with self._lock:
            if (account := self.inventory.remove_account(account_id)) is None:
                return None
            text = f"Unlinked account {account.name}"
            self.append("UNLINK_ACCOUNT", user_name=user_name, description=text, account=account)
            return account

    def append(
        self,
        kind: str,
        *,
        user_name: str = "alice@example.com",
        at: datetime | None = None,
        description: str = "",
        account: EntityRef | None = None,
        cluster: EntityRef | None = None,
        times: int = 1,
    ) -> Action:
        """Log an action `times` times. `at` defaults to now; an older action is late and visible only from now on."""
        with self._lock:
            now = self.clock()
            moment = from_ms(to_ms(at or now))
            action = Action(kind, moment, user_name, description, account, cluster)
            for arrival in [arrived for _ in range(times) for arrived in self._on_arrival(Arrival(action))]:
                self._log.append(arrival, to_ms(now))
            return action

    def attach(self, on_arrival: ArrivalHook, before_read: Callable[[], None]) -> None:
        """Pass every new action, except synthetic ones, through a hook, and call another one before each read of the log.

        The organisation holds its lock while it calls the first hook, so that must not wait for a lock whose owner calls the
        organisation.
        """
        self._on_arrival, self._before_read = on_arrival, before_read

    def extend_synthetic(self, count: int, start: datetime, end: datetime) -> None:
        """Log many synthetic actions, evenly distributed over [start, end): a million in about three seconds."""
        first, span = to_ms(start), to_ms(end) - to_ms(start)
        with self._lock:
            times = (from_ms(first + number * span // count) for number in range(count))
            made = zip(cycle(_prototypes(self.inventory, self.seed)), times, strict=False)
            actions = (msgspec.structs.replace(prototype, at=at) for prototype, at in made)
            self._log.extend(actions, to_ms(self.clock()))

    def page(self, query: LogQuery, arrange: Arrange | None = None) -> LogPage:
        """Return a page of the visible actions, newest first or as arranged. A page is a consistent view."""
        self._before_read()
        with self._lock:
            return self._log.page(query, to_ms(self.clock()), arrange)

    def take_away(self, wanted: LogFilter, until: int, gone_at: Callable[[int, int], int | None]) -> None:
        """Remove entries up to `until` (ms).

        `gone_at` receives each remaining row and its time, and returns when the row disappeared; None: it stays.
        """
        with self._lock:
            self._log.take_away(wanted, until, gone_at)

    def truth(self, since: int = 0) -> list[Action]:
        """Return all actions from arrival number `since` on, in order of arrival, removed ones with `gone_at`."""
        self._before_read()
        with self._lock:
            return [self._log.action(row) for row in range(since, len(self._log))]

    def visible(self, at: datetime, start: datetime | None = None, end: datetime | None = None) -> list[Action]:
        """Return what was visible at a time in a window (both bounds included), oldest first."""
        self._before_read()
        first, last = to_ms(start) if start else FIRST_MS, to_ms(end) if end else LAST_MS
        with self._lock:
            return self._log.visible(to_ms(at), first, last)

    def __len__(self) -> int:
        with self._lock:
            return len(self._log)


def _prototypes(inventory: Inventory, seed: int) -> list[Action]:
    """Return actions of all kinds in these accounts (or in a new one if there are none), all at the epoch."""
    chance = random.Random(seed)
    owners: Sequence[EntityRef] = inventory.accounts or [EntityRef(inventory.new_id(), "synthetic")]
    clusters = [EntityRef(inventory.new_id(), f"synthetic-{number}") for number in range(50)]
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
        for number in range(_PROTOTYPES)
    ]
