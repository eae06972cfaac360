"""A quiet source is found among the records of others, and what many vanished or held rows have in common is in the index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Create an index of the records of each source, and add columns to two partial ones."""
    op.create_index("record_by_source", "record", ["source", "record_key"], if_not_exists=True)
    _replace_partial("record_vanished", "record", ["source", "record_key", "vanished_at"], "vanished_at IS NOT NULL")
    _replace_partial(
        "delivery_awaiting", "delivery", ["receiver", "awaits", "ref", "mutes", "due_at"], "awaits IS NOT NULL"
    )


def _replace_partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.drop_index(name, table, if_exists=True)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
