"""Many organisations behind one URL, each with a key and a log that grows at a steady rate. Everything follows from the seed.

An organisation that nobody reads costs nothing: its records are made when it is read, for the time since the last read.
"""

import hashlib
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from actionwatch.emulator.catalogue import KINDS
from actionwatch.emulator.log import ArrivalHook
from actionwatch.emulator.state import Clock, Organisation, system_clock

HISTORY = timedelta(hours=1)  # of the log at the start: longer than the overlap of a poll
_ROUTINE = (
    "DESCRIBE_KAFKA_TOPIC", "DISPLAY_KAFKA_TOPIC_CONFIG", "LIST_KAFKA_ACLS", "LIST_BUNDLE_USERS", "CREATE_KAFKA_TOPIC",
    "EDIT_KAFKA_TOPIC", "RELOAD_BUNDLE", "BACKUP",
)  # fmt: skip
_TIERS = ("basic", "basic", "basic", "silver", "silver", "gold")
_MOST_OF_CUSTOMER = 4


@dataclass(frozen=True, slots=True)
class Member:
    """One organisation of a fleet, as a client must know it."""

    organisation: Organisation
    name: str
    """The name for a source: letters, digits and `-`."""
    user_name: str
    api_key: str
    customer: str
    tier: str


def create_fleet(
    count: int, every: timedelta, *, seed: int = 1, clock: Clock = system_clock, unusual_in: int = 200
) -> list[Member]:
    """Create organisations. Each logs an action every so often, at another time within that period than the others.

    One action in `unusual_in` is of any kind; the others are routine.
    """
    chance = random.Random(f"fleet {seed}")
    start, members = clock() - HISTORY, list[Member]()
    customer, left, tier = 0, 0, ""
    for number in range(1, count + 1):
        if not left:
            customer, left, tier = customer + 1, chance.randint(1, _MOST_OF_CUSTOMER), chance.choice(_TIERS)
        left -= 1
        organisation = _SteadyOrganisation(
            id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            name=f"Organisation {number}",
            clock=clock,
            seed=seed * 1_000_003 + number,
            first=start + every * chance.random(),
            every=every,
            unusual_in=unusual_in,
        )
        key = hashlib.sha256(f"fleet {seed} {number}".encode()).hexdigest()[:32]
        members.append(Member(organisation, f"org-{number:04}", "demo", key, f"customer-{customer:03}", tier))
    return members


def sources_of(members: list[Member], base_url: str) -> str:
    """Return the sources of a configuration that read these organisations, as a YAML list."""
    return "".join(
        f"- name: {member.name}\n"
        f"  organisation_id: {member.organisation.id}\n"
        f"  username: {member.user_name}\n"
        f"  api_key: {member.api_key}\n"
        f"  base_url: {base_url}\n"
        f"  labels: {{customer: {member.customer}, tier: {member.tier}}}\n"
        for member in members
    )


@dataclass
class _SteadyOrganisation(Organisation):
    """Logs an action each time that `every` has passed since `first`."""

    first: datetime = field(kw_only=True)
    every: timedelta = field(kw_only=True)
    unusual_in: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._due = self.first
        self._chance = random.Random(self.seed)
        self._people = [f"user{number}@{self.name.replace(' ', '-').lower()}.example" for number in range(1, 6)]
        account = self.inventory.add_account("Production")
        names = (f"{purpose}-{self.seed % 1_000_003}" for purpose in ("orders", "events", "search"))
        self._clusters = [self.inventory.add_cluster(name, account=account) for name in names]
        self._account = account
        self.attach(lambda arrival: [arrival], lambda: None)

    def attach(self, on_arrival: ArrivalHook, before_read: Callable[[], None]) -> None:
        def catch_up_first() -> None:
            self._catch_up()
            before_read()

        super().attach(on_arrival, catch_up_first)

    def _catch_up(self) -> None:
        """Log what is due since the last read. It was not visible before, so that nobody can see that it comes late."""
        with self._lock:
            now = self.clock()
            while self._due <= now:
                self._act(self._due)
                self._due += self.every

    def _act(self, at: datetime) -> None:
        chance = self._chance
        kind = chance.choice(list(KINDS) if not chance.randrange(self.unusual_in) else _ROUTINE)
        cluster = chance.choice(self._clusters)
        text = f"{kind.replace('_', ' ').capitalize()} on {cluster.name}"
        self.append(
            kind, user_name=chance.choice(self._people), at=at, description=text, account=self._account, cluster=cluster
        )
