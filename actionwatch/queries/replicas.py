"""The replicas that run on a store: host, roles and files of each. `status` and the overview show them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actionwatch.base.plurals import counted
from actionwatch.queries.source_health import MANY
from actionwatch.store.membership import Roster, is_tail_role


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica. `files` is the digest of the files that it runs with; None until it publishes it."""

    id: str
    host: str
    roles: Sequence[str]
    files: str | None

    @property
    def spelled_roles(self) -> str:
        """Its roles as people read them. Those for many sources are only counted."""
        tailed = [role for role in self.roles if is_tail_role(role)]
        if len(tailed) <= MANY:
            return ", ".join(self.roles) or "sends"
        others = [role for role in self.roles if not is_tail_role(role)]
        return ", ".join([*others, counted(len(tailed), "source")])


def list_replicas(roster: Roster) -> list[Replica]:
    """Return the replicas of a roster, the oldest first, each with its roles by name."""
    roles: dict[str, list[str]] = {}
    for role, holder in sorted(roster.holders.items()):
        roles.setdefault(holder, []).append(role)
    return [
        Replica(replica, host, roles.get(replica, []), roster.digests.get(replica) or None)
        for replica, host in roster.hosts.items()
    ]
