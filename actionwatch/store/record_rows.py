"""Records as rows: the columns that make up a record, and which of the records of one action counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, literal_column, or_, select

from actionwatch.base.clock import MICROSECOND, from_micros, to_micros
from actionwatch.base.model import NOTHING, Entity, Record
from actionwatch.store.column_types import DAMAGES, as_stored, damaged
from actionwatch.store.statements import PageKey
from actionwatch.store.tables import RECORD

# All records of a page have the same `seen_at`.
_seen_at = lru_cache(maxsize=16)(from_micros)
_seen_micros = lru_cache(maxsize=16)(to_micros)
Classification = tuple[bool, timedelta | None]
"""Whether a record is backlog, and by how much it is late."""
READ = (
    "record_key", "source", "occurred_at", "seen_at", "action_kind", "raw", "domain_type", "user_name", "description",
    "account_id", "account_name", "cluster_id", "cluster_name", "organisation_id", "organisation_name",
    "operation", "scope", "severity", "upstream_id", "is_time_readable", "is_backlog", "late_by", "id",
)  # fmt: skip
"""The columns that `record_of` reads, in its order."""
SELECTED = as_stored(RECORD.c[name] for name in READ)
RECORDS = select(*SELECTED)
_OTHER = RECORD.alias("other")


def counted_up_to(newest_id: int | None = None) -> ColumnElement[bool]:
    """Return the condition for the one record of an action that counts: the first that may alert, else the first.

    Equal keys are one action: several sources may read one organisation, and a renamed source may read records again.
    """
    is_first = and_(_OTHER.c.is_backlog == RECORD.c.is_backlog, _OTHER.c.id < RECORD.c.id)
    is_better = or_(is_first, and_(RECORD.c.is_backlog, ~_OTHER.c.is_backlog))
    others: Select[Any] = select(literal_column("1")).where(
        _OTHER.c.record_key == RECORD.c.record_key, _OTHER.c.id != RECORD.c.id
    )
    if newest_id is not None:
        others = others.where(_OTHER.c.id <= newest_id)
    return ~exists(others.where(is_better))


IS_COUNTED = counted_up_to()


def place_of(record: Record) -> PageKey:
    """Return the place of a record in the order of time."""
    return record.occurred_at, record.key, record.source


def columns_of(records: Sequence[Record], classified: Sequence[Classification]) -> dict[str, Sequence[Any]]:
    """Return the columns of records to store: all but the id, which the store assigns."""
    return {
        "record_key": [record.key for record in records],
        "source": [record.source for record in records],
        "occurred_at": [to_micros(record.occurred_at) for record in records],
        "seen_at": [_seen_micros(record.seen_at) for record in records],
        "action_kind": [record.action_kind for record in records],
        "raw": [record.raw for record in records],
        "domain_type": [record.domain_type for record in records],
        "user_name": [record.user_name for record in records],
        "description": [record.description for record in records],
        "account_id": [record.account.id for record in records],
        "account_name": [record.account.name for record in records],
        "cluster_id": [record.cluster.id for record in records],
        "cluster_name": [record.cluster.name for record in records],
        "organisation_id": [record.organisation.id for record in records],
        "organisation_name": [record.organisation.name for record in records],
        "operation": [record.operation for record in records],
        "scope": [record.scope for record in records],
        "severity": [record.severity for record in records],
        "upstream_id": [record.upstream_id for record in records],
        "is_time_readable": [record.is_time_readable for record in records],
        "is_backlog": [is_backlog for is_backlog, _ in classified],
        "late_by": [None if late_by is None else late_by // MICROSECOND for _, late_by in classified],
    }


def record_of(row: Sequence[Any]) -> Record:
    """Return the record of a row with the columns `READ`. Raises: StoreError, when the row is damaged."""
    (
        key, source, occurred, seen, kind, raw, domain_type, user, description,
        account_id, account_name, cluster_id, cluster_name, organisation_id, organisation_name,
        operation, scope, severity, upstream_id, is_time_readable, is_backlog, late_by, local_id,
    ) = row  # fmt: skip
    # By position, because access by name takes five times as long.
    try:
        return Record(
            key,
            source,
            from_micros(occurred),
            _seen_at(seen),
            kind,
            raw,
            domain_type,
            user,
            description,
            _entity(account_id, account_name),
            _entity(cluster_id, cluster_name),
            _entity(organisation_id, organisation_name),
            operation,
            scope,
            severity,
            upstream_id,
            bool(is_time_readable),
            bool(is_backlog),
            None if late_by is None else timedelta(microseconds=late_by),
            local_id,
        )
    except DAMAGES as exc:
        raise damaged(exc) from exc


def _entity(entity_id: str | None, name: str | None) -> Entity:
    return NOTHING if entity_id is None and name is None else Entity(entity_id, name)
