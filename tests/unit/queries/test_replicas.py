"""The list of replicas."""

from __future__ import annotations

from actionwatch.queries.replicas import Replica, list_replicas
from actionwatch.queries.source_health import MANY
from actionwatch.store.membership import LEADER, Roster, stream_role, tail_role

TAILS = [tail_role(f"org-{number:02}") for number in range(MANY + 1)]


def test_each_replica_has_its_roles_by_name() -> None:
    """Each replica has the roles that it holds, in the order of their names, and the digest that it published."""
    holders = {tail_role("b"): "one", LEADER: "two", tail_role("a"): "one"}
    roster = Roster(
        "one", {"one": "web-1", "two": "web-2", "new": "web-3"}, holders=holders, digests={"one": "01", "two": ""}
    )
    assert list_replicas(roster) == [
        Replica("one", "web-1", [tail_role("a"), tail_role("b")], "01"),
        Replica("two", "web-2", [LEADER], None),
        Replica("new", "web-3", [], None),
    ]


def test_roles_for_many_sources_are_counted() -> None:
    """People read each role; those for more sources than they see at once are one number. Without a role, a replica sends."""
    for roles, spelled in (
        ([], "sends"),
        ([LEADER, *TAILS[:2]], "leader, tail org-00, tail org-01"),
        (TAILS[:MANY], ", ".join(TAILS[:MANY])),
        ([LEADER, stream_role("lake"), *TAILS], "leader, stream lake, 21 sources"),
    ):
        assert Replica("a", "web-1", roles, None).spelled_roles == spelled
