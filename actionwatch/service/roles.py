"""The roles of a service: what one replica at a time does for all that share a store.

The `leader` matches, applies rules and silences, and does what the store needs once; each source has a role that tails it. The
roles are spread over the replicas. On a file there is one process, which has them all.

Two threads work here. `keep` renews the leases, and does nothing that can take long: a lease that ends hands the role over.
`spread` takes roles that nobody has, begins them, and hands those over that are too many.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from actionwatch.base.clock import seconds_passed
from actionwatch.base.errors import RoleLost, StoreError
from actionwatch.base.reasons import Reason
from actionwatch.store.membership import Membership, Roster

LOOK_SECONDS = 1.0
LEFT_FOR_SECONDS = 3.0  # then the other replicas do not want the role: they may not know the source

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Role:
    """A role. `begin` makes ready what it needs, before its first step; `end` breaks off what runs for it."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    run: Callable[[], None] = lambda: None
    """Runs its steps now. It is called when `has` returns True already, because a step without its role does nothing."""
    is_movable: bool = True
    """Whether it is handed to a replica that has fewer roles."""


class Roles:
    """The roles that this process has. Safe to share between threads."""

    def __init__(
        self,
        roles: Sequence[Role],
        on_roster: Callable[[Roster, Roster], None] = lambda _, __: None,
        elapsed: Callable[[], float] = seconds_passed,
    ) -> None:
        """`roles` are in the order in which they are taken. `on_roster` gets the roster before and now, when others live."""
        self._roles = {role.name: role for role in roles}
        self._on_roster = on_roster
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._running: Counter[str] = Counter()
        self.roster = Roster("", {})
        """Who ran at the last renewal."""
        self._renewed_at = elapsed()
        self._free_since: dict[str, float] = {}
        self._unwanted: set[str] = set()
        """Roles that no other replica took: they are not handed over again."""
        self._leaving: frozenset[str] = frozenset()
        """The roles that are handed over when their steps end."""

    def has(self, role: str) -> bool:
        """Return whether this process has a role, as far as it knows."""
        return role in self._held

    def held(self) -> dict[str, bool]:
        """Return for each role whether this process has it."""
        return {name: name in self._held for name in self._roles}

    @contextlib.contextmanager
    def working(self, role: str | None) -> Iterator[bool]:
        """Yield whether this process has a role (None: every process has it). It is not handed over before the block ends."""
        with self._lock:
            is_mine = role is None or (role in self._held and role not in self._leaving)
            if is_mine and role is not None:
                self._running[role] += 1
        try:
            yield is_mine
        finally:
            if is_mine and role is not None:
                with self._lock:
                    self._running[role] -= 1

    def start(self, membership: Membership) -> None:
        """Take and begin what nobody has, before any step runs. Raises: whatever a role raises that cannot begin."""
        self.renew(membership)
        while (names := choose(self.roster, list(self._roles)).take) and self._take(membership, names):
            self.renew(membership)

    def add(self, role: Role) -> None:
        """Know one more role. `spread` takes it, if it is the turn of this process."""
        with self._lock:
            self._roles = {**self._roles, role.name: role}

    def remove(self, membership: Membership, names: Sequence[str]) -> None:
        """Forget roles, and break off what runs for them."""
        with self._lock:
            mine = [self._roles[name] for name in names if name in self._held]
            self._roles = {name: role for name, role in self._roles.items() if name not in names}
            self._held.difference_update(names)
        for role in mine:
            role.end()
        if mine:
            with contextlib.suppress(StoreError):  # then nothing renews them
                membership.hand_over([role.name for role in mine])

    def renew(self, membership: Membership) -> None:
        """Renew the leases, and end what was lost. Raises: StoreError."""
        before, self.roster = self.roster, membership.renew()
        self._renewed_at = self._elapsed()
        if self.roster.frozen_writers:
            log.warning("frozen_writer_ended", count=self.roster.frozen_writers)
        if before.hosts.keys() != self.roster.hosts.keys():
            self._unwanted.clear()
            self._on_roster(before, self.roster)
        with self._lock:
            lost = [self._roles[name] for name in self._held if not membership.has(name)]
            self._held.difference_update(role.name for role in lost)
        for role in lost:
            log.warning(
                "role_lost", role=role.name, why="another replica took over, because this one was silent for too long"
            )
            role.end()

    def spread(self, membership: Membership) -> None:
        """Take roles that nobody has, or hand some over. Raises: whatever a role raises that cannot begin; StoreError."""
        now = self._elapsed()
        free = [name for name in self._roles if name not in self.roster.holders and name not in self._held]
        self._free_since = {name: self._free_since.get(name, now) for name in free}
        left = [name for name, since in self._free_since.items() if now - since >= LEFT_FOR_SECONDS]
        move = choose(self.roster, list(self._roles))
        if not move.give:
            self._leaving = frozenset()
        if move.take or left:
            if not move.take:
                self._unwanted.update(left)
            for name in self._take(membership, move.take or left):
                log.info("role_taken", role=name)
        elif move.give:
            self._hand_over(membership, move)

    def silent_seconds(self) -> float:
        """Return how long ago the last renewal of the leases ended."""
        return self._elapsed() - self._renewed_at

    def missing(self) -> Iterator[str]:
        """Describe each role that no replica has, and has not had for a while."""
        now = self._elapsed()
        for name, since in list(self._free_since.items()):
            if now - since >= 2 * LEFT_FOR_SECONDS:
                yield Reason(f"no replica has the role {name}; the log says why")

    def end(self) -> None:
        """Break off what runs for each role."""
        with self._lock:
            held = list(self._held)
        for name in held:
            self._roles[name].end()

    def _take(self, membership: Membership, names: Sequence[str]) -> list[str]:
        """Take those of these roles that nobody has, and return them."""
        free = [name for name in names if name not in self._held]
        taken = membership.take_roles(free) if free else []
        begun = []
        for index, name in enumerate(taken):
            try:
                self._roles[name].begin()
            except BaseException as exc:
                left = [name] if isinstance(exc, RoleLost) else taken[index:]
                with contextlib.suppress(StoreError):  # a lease that has ended too: a renewal would keep it, for no one
                    membership.hand_over(left)
                if not isinstance(exc, RoleLost):
                    raise
                log.warning("role_lost", role=name, why=str(exc))
                continue
            with self._lock:
                self._held.add(name)
            self._roles[name].run()
            begun.append(name)
        return begun

    def _hand_over(self, membership: Membership, move: Move) -> None:
        """Hand over roles for which no step runs.

        For as many as are missing, no other step begins, because they could otherwise stay for ever.
        """
        with self._lock:
            movable = [
                name for name in move.give if name in self._held - self._unwanted and self._roles[name].is_movable
            ]
            idle = [name for name in movable if not self._running[name]][: move.give_count]
            busy = [name for name in movable if self._running[name]][: move.give_count - len(idle)]
            self._leaving = frozenset(busy)
            self._held.difference_update(idle)
        for name in idle:
            self._roles[name].end()
        if idle:
            membership.hand_over(idle)
        for name in idle:
            log.info("role_handed_over", role=name)


def keep(roles: Roles, membership: Membership, stopping: threading.Event) -> None:
    """Keep the leases until `stopping`. While the store does not answer, its transactions say who has a role."""
    while not stopping.wait(LOOK_SECONDS):
        try:
            roles.renew(membership)
        except StoreError as exc:
            log.warning("leases_not_renewed", error=str(exc))


@dataclass(frozen=True, slots=True)
class Move:
    """The next step of a replica: take roles, or give `give_count` of these."""

    take: Sequence[str] = ()
    give: Sequence[str] = ()
    give_count: int = 0


def choose(roster: Roster, roles: Sequence[str]) -> Move:
    """Decide what the replica `roster.mine` does so that each has its share of the roles. Pure.

    A replica takes only what nobody has, and gives only what is more than its share: so only those roles move that must.
    """
    counts = _counts(roster.holders, roster.hosts)
    mine = [name for name in roles if roster.holders.get(name) == roster.mine]
    share = math.ceil(len(roles) / max(len(roster.hosts), 1))
    free = [name for name in roles if name not in roster.holders]
    if free and len(mine) < share:
        return Move(take=free[: share - len(mine)])
    # Others may be about to take what is free: what is given meanwhile would move without need.
    fewest = min((count for name, count in counts.items() if name != roster.mine), default=len(mine)) + len(free)
    if len(mine) - fewest > 1:
        return Move(give=mine[::-1], give_count=max(min(len(mine) - share, (len(mine) - fewest) // 2), 1))
    return Move()


def _counts(holders: Mapping[str, str], replicas: Collection[str]) -> dict[str, int]:
    counts = Counter(holders.values())
    return {name: counts[name] for name in replicas}
