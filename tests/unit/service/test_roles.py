"""Roles: how they are spread over replicas, and what a replica does when it gets or loses one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.errors import RoleLost
from actionwatch.service.roles import LEFT_FOR_SECONDS, Role, Roles, choose
from actionwatch.store.membership import Roster

NAMES = ["leader", "tail a", "tail b", "tail c"]


class Cluster:
    """Replicas on one store: who lives, and who has which role."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.living: list[str] = []

    def join(self, name: str) -> Member:
        """Let a replica join."""
        self.living.append(name)
        return Member(self, name)

    def die(self, name: str) -> None:
        """Let a replica die, and its leases end."""
        self.living.remove(name)
        self.holders = {role: owner for role, owner in self.holders.items() if owner != name}


class Member:
    """The membership of one replica."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def write(self, note: bytes) -> None:
        """Drop the note."""

    def publish(self, digest: str) -> None:
        """Drop the digest."""

    def renew(self) -> Roster:
        """Return who lives."""
        cluster = self.cluster
        return Roster(self.name, dict.fromkeys(cluster.living, "host"), holders=dict(cluster.holders))

    def take_roles(self, roles: Sequence[str]) -> list[str]:
        """Take the roles that nobody has."""
        return [role for role in roles if self.cluster.holders.setdefault(role, self.name) == self.name]

    def has(self, role: str) -> bool:
        """Return whether this replica has a role."""
        return self.cluster.holders.get(role) == self.name

    def hand_over(self, roles: Sequence[str]) -> None:
        """Give up roles."""
        for role in roles:
            del self.cluster.holders[role]


class Replica:
    """One replica: its roles, and what it began and ended."""

    def __init__(self, cluster: Cluster, name: str, roles: list[str] = NAMES) -> None:
        self.member = cluster.join(name)
        self.done: list[str] = []
        self.now = 0.0
        self.roles = Roles([self._role(each) for each in roles], elapsed=lambda: self.now)
        self.roles.start(self.member)

    def _role(self, name: str) -> Role:
        return Role(
            name,
            begin=lambda: self.done.append(f"begin {name}"),
            end=lambda: self.done.append(f"end {name}"),
            is_movable=name != "leader",
        )

    def step(self) -> None:
        """Renew and spread once; a second passes."""
        self.now += 1
        self.roles.renew(self.member)
        self.roles.spread(self.member)

    def held(self) -> set[str]:
        """Return the roles that the replica has."""
        return {name for name in NAMES if self.roles.has(name)}


def settled(*replicas: Replica) -> list[int]:
    """Let time pass until nothing changes. Return how many roles each replica has."""
    for _ in range(20):
        for replica in replicas:
            replica.step()
    return [len(replica.held()) for replica in replicas]


def test_one_replica_has_all_roles_at_once() -> None:
    """A replica that is alone begins each role before its start returns, the leader first."""
    replica = Replica(Cluster(), "one")
    assert replica.done == [f"begin {name}" for name in NAMES]


def test_roles_are_spread_and_taken_over() -> None:
    """Roles are spread over replicas that join, the leader stays, and those that live have all of them after each death."""
    cluster = Cluster()
    first = Replica(cluster, "one")
    second = Replica(cluster, "two")
    third = Replica(cluster, "three")
    assert sorted(settled(first, second, third)) == [1, 1, 2]
    assert first.roles.has("leader")
    cluster.die("one")
    assert settled(second, third) == [2, 2]
    cluster.die("three")
    assert settled(second) == [4]
    assert second.held() == set(NAMES)


def test_role_that_no_other_knows_stays() -> None:
    """A role that the other replica does not know is taken although it is too many, and not handed over again."""
    cluster = Cluster()
    first = Replica(cluster, "one")
    second = Replica(cluster, "two", ["leader"])
    settled(first, second)
    assert first.held() == set(NAMES)
    before = len(first.done)
    settled(first, second)
    assert len(first.done) == before


def test_role_is_not_handed_over_while_it_works() -> None:
    """A step of a role that runs keeps it; afterwards it is handed over, and its steps no longer run here."""
    cluster = Cluster()
    first = Replica(cluster, "one", ["leader", "tail a"])
    second = Replica(cluster, "two", ["leader", "tail a"])
    with first.roles.working("tail a") as is_mine:
        assert is_mine
        assert settled(first, second) == [2, 0]
    assert settled(first, second) == [1, 1]
    with first.roles.working("tail a") as is_mine:
        assert not is_mine
    with first.roles.working(None) as is_mine:
        assert is_mine


def test_role_whose_steps_follow_each_other_is_handed_over() -> None:
    """A role whose next step would begin before each look is handed over too: no further step begins, unless it is to stay."""
    cluster = Cluster()
    first = Replica(cluster, "one", ["leader", "tail a"])
    second = Replica(cluster, "two", ["leader", "tail a"])
    with first.roles.working("tail a"):
        settled(first, second)
        with first.roles.working("tail a") as is_mine:
            assert not is_mine
        cluster.die("two")
        settled(first)
        with first.roles.working("tail a") as is_mine:
            assert is_mine
        third = Replica(cluster, "three", ["leader", "tail a"])
        settled(first, third)
    assert settled(first, third) == [1, 1]


def test_lost_role_ends() -> None:
    """A replica whose role another one took breaks off what runs for it."""
    cluster = Cluster()
    first = Replica(cluster, "one", ["leader"])
    cluster.holders["leader"] = "two"
    first.step()
    assert first.done == ["begin leader", "end leader"]
    assert not first.roles.has("leader")


def test_role_that_cannot_begin_is_free_again() -> None:
    """A role whose begin fails is free for another replica, and the failure is raised."""
    cluster = Cluster()

    def fail() -> None:
        raise ValueError("no rules")

    roles = Roles([Role("leader", fail, lambda: None)])
    with pytest.raises(ValueError, match="no rules"):
        roles.start(cluster.join("one"))
    assert cluster.holders == {}


def test_role_that_is_lost_while_it_begins_is_not_held() -> None:
    """A role whose beginning took so long that another replica took over is not held, and that is no failure."""
    cluster = Cluster()

    def lose() -> None:
        raise RoleLost("another replica took over")

    roles = Roles([Role("leader", lose, lambda: None)])
    roles.start(cluster.join("one"))
    assert not roles.has("leader")


def test_steps_run_when_the_role_is_held() -> None:
    """A role runs its steps after it counts as held: a step that starts earlier does nothing until its next time."""
    seen: list[bool] = []
    roles: Roles
    roles = Roles(
        [
            Role(
                "leader",
                lambda: seen.append(roles.has("leader")),
                lambda: None,
                lambda: seen.append(roles.has("leader")),
            )
        ]
    )
    roles.start(Cluster().join("one"))
    assert seen == [False, True]


def test_role_that_nobody_has_is_reported() -> None:
    """A role that no replica has for a while is a reason why the replica is not ready."""
    cluster = Cluster()
    replica = Replica(cluster, "one", ["leader"])
    cluster.holders["leader"] = "gone"
    replica.step()
    cluster.living.append("gone")
    cluster.holders.clear()
    taken = cluster.join("three")
    replica.member.take_roles = lambda roles: []  # type: ignore[method-assign]  # whoever has it does not say so
    for _ in range(int(2 * LEFT_FOR_SECONDS) + 2):
        replica.step()
    assert list(replica.roles.missing()) == ["no replica has the role leader; the log says why"]
    assert taken.take_roles(["leader"])


@given(
    count=st.integers(1, 6),
    roles=st.integers(1, 9),
    data=st.data(),
)
def test_spreading_ends_with_every_role_held_once(count: int, roles: int, data: st.DataObject) -> None:
    """From any distribution, moves in any order end: each role has an owner, and the shares differ by at most one."""
    names = [f"r{number}" for number in range(roles)]
    replicas = [f"n{number}" for number in range(count)]
    holders = {name: data.draw(st.sampled_from(replicas)) for name in names if data.draw(st.booleans())}
    for _ in range(4 * roles + 4):
        for mine in data.draw(st.permutations(replicas)):
            move = choose(Roster(mine, dict.fromkeys(replicas, "host"), holders=holders), names)
            holders |= dict.fromkeys(move.take, mine)
            for name in move.give[: move.give_count]:
                del holders[name]
    assert set(holders) == set(names)
    counts = [list(holders.values()).count(name) for name in replicas]
    assert max(counts) - min(counts) <= 1


def test_few_steps_spread_a_thousand_roles_and_no_other_role_moves() -> None:
    """A thousand roles are spread in a few steps; when a replica dies, only its roles move, to both others alike."""
    names = [f"r{number}" for number in range(1000)]
    replicas = ["n0", "n1", "n2"]
    holders: dict[str, str] = {}

    def step() -> None:
        for mine in replicas:
            move = choose(Roster(mine, dict.fromkeys(replicas, "host"), holders=holders), names)
            holders.update(dict.fromkeys(move.take, mine))
            for name in move.give[: move.give_count]:
                del holders[name]

    def counts() -> list[int]:
        return sorted(list(holders.values()).count(name) for name in replicas)

    holders |= dict.fromkeys(names, "n0")
    for _ in range(4):
        step()
    assert counts() == [333, 333, 334]
    before = dict(holders)
    replicas.remove("n1")
    holders = {name: owner for name, owner in holders.items() if owner != "n1"}
    replicas.insert(0, "n0")  # looks twice before the other one has taken any
    step()
    assert sorted(Counter(holders.values()).items()) == [("n0", 500), ("n2", 500)]
    assert all(holders[name] == owner for name, owner in before.items() if owner != "n1")
