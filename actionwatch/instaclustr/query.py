"""A query of the user-actions listing: its parameters, and the same filters on our side. Pure.

The upstream ignores invalid filter values, so a misspelt filter may return everything. Therefore `Query.matches` filters every
response again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.clock import to_micros
from actionwatch.base.model import Entity, Record
from actionwatch.base.unicode import canonical
from actionwatch.instaclustr.kinds import ACCOUNT, KINDS, OPERATIONS, ORGANISATION, normalise_kind

_LOGS_ONLY = {ACCOUNT: "accountLogsOnly", ORGANISATION: "organisationLogsOnly"}
_CRUD_PREFIXES = {ACCOUNT: "ACCOUNT_LEVEL_USER_ACTIONS_", ORGANISATION: "ORG_LEVEL_USER_ACTIONS_"}
_UNDOCUMENTED = "ORG_LEVEL_USER_ACTIONS_READ"  # the documentation has no READ at the level of the organisation


@dataclass(frozen=True, slots=True)
class Query:
    """All documented filters. A record must satisfy all that are set; empty, None and false are not set.

    `start` and `end` are aware, sent as whole milliseconds, and inclusive on our side (unknown for the upstream). `account` is
    an id or a name. `operations` are CREATE, READ, UPDATE or DELETE; `scope` is organisation or account.
    """

    start: datetime | None = None
    end: datetime | None = None
    kinds: tuple[str, ...] = ()
    keyword: str | None = None
    account: str | None = None
    cluster_id: str | None = None
    operations: tuple[str, ...] = ()
    scope: str | None = None
    user_name: str | None = None
    with_counts: bool = False

    def parameters(self) -> list[tuple[str, str]]:
        """Return the query parameters without those for paging. Arrays repeat their name."""
        return [(name, value) for name, value in self._pairs() if value is not None]

    def matches(self, record: Record, accounts: Mapping[str, str] | None = None) -> bool:
        """Return whether a record satisfies the filters, ignoring case. `accounts` are the linked accounts, id to name.

        A record without a readable time passes every time filter.
        """
        return (
            self._is_in_time(record)
            and (not self.kinds or record.action_kind in {normalise_kind(kind) for kind in self.kinds})
            and (self.keyword is None or _fold(self.keyword) in _fold(record.description))
            and (self.account is None or _is_account(self.account, record.account, accounts or {}))
            and (self.cluster_id is None or _is_cluster(self.cluster_id, record.cluster))
            and (not self.operations or record.operation in {name.upper() for name in self.operations})
            and (self.scope is None or record.scope == self.scope)
            and (self.user_name is None or _fold(record.user_name) == _fold(self.user_name))
        )

    def _pairs(self) -> Iterator[tuple[str, str | None]]:
        if self.start is not None:
            yield "startTime", str(to_micros(self.start) // 1000)
        if self.end is not None:
            # Rounded outwards, as is the start; `matches` removes the surplus.
            yield "endTime", str(-(-to_micros(self.end) // 1000))
        kinds = [normalise_kind(kind) for kind in self.kinds]
        if all(kind in KINDS for kind in kinds):
            # The upstream may ignore an undocumented kind and so omit its records. Then request all kinds.
            yield from (("actionKinds", kind) for kind in dict.fromkeys(kinds))
        yield "descriptionKeyword", self.keyword
        yield "account", self.account
        yield "clusterId", self.cluster_id
        yield from (("crudOperations", value) for value in crud_values(self.operations, self.scope))
        yield "userName", self.user_name
        yield "getActionCounts", "true" if self.with_counts else "false"
        if self.scope is not None and not self.operations:
            yield _LOGS_ONLY[self.scope], "true"

    def _is_in_time(self, record: Record) -> bool:
        if not record.is_time_readable:
            return True
        at = record.occurred_at
        return (self.start is None or at >= self.start) and (self.end is None or at <= self.end)


def crud_values(operations: Iterable[str], scope: str | None = None) -> list[str]:
    """Return the values of `crudOperations` for operations in one scope (None: in both)."""
    asked = {name.upper() for name in operations}
    scopes = [scope] if scope else [ACCOUNT, ORGANISATION]
    values = [_CRUD_PREFIXES[each] + name for each in scopes for name in OPERATIONS if name in asked]
    return [value for value in values if value != _UNDOCUMENTED]


def _is_account(asked: str, account: Entity, accounts: Mapping[str, str]) -> bool:
    """Compare by id or name, as the upstream does, and by the other name of the account among the linked accounts."""
    wanted = {_fold(asked)}
    wanted |= {_fold(other) for pair in accounts.items() if _fold(asked) in map(_fold, pair) for other in pair}
    return bool(wanted & {_fold(account.id), _fold(account.name)} - {""})


def _is_cluster(asked: str, cluster: Entity) -> bool:
    """Compare by id. If the record has only the name of the cluster, trust the upstream."""
    return _fold(cluster.id) == _fold(asked) if cluster.id else cluster.name is not None


def _fold(text: str | None) -> str:
    return canonical(canonical(text or "").casefold())
