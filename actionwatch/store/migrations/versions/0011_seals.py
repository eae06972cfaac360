"""A chain of seals attests what the store has. It begins with what is there. Who ended a silence is stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_NUMBERED = ("record", "receipt", "rule_history", "alert_history")
_KEYED = (
    ("alert", "id"),
    ("alert_record", "alert_id || ' ' || record_id"),
    ("delivery", "id"),
    ("silence", "id"),
    ("rule_version", "rule_id"),
    ("token", "id"),
)


def upgrade() -> None:
    """Create the tables, and note all rows that are there, so that the service seals them.

    SQLite would give the id of a deleted newest row to another one. Only a new table does not.
    """
    op.add_column("silence", sa.Column("ended_by", sa.Text))
    if op.get_bind().dialect.name == "sqlite":
        for table in _NUMBERED[1:]:
            with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_autoincrement": True}):
                pass
    op.create_table(
        "seal",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("first_id", sa.BigInteger),
        sa.Column("last_id", sa.BigInteger),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("removed_count", sa.BigInteger, nullable=False),
        sa.Column("sealed_count", sa.BigInteger, nullable=False),
        sa.Column("states", sa.Text, nullable=False),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("leaves", sa.LargeBinary),
    )
    op.create_index("seal_by_table", "seal", ["table_name", "number"])
    op.create_index("seal_by_last_id", "seal", ["table_name", "last_id"])
    op.create_index("seal_by_digest", "seal", ["digest"])
    op.create_table(
        "sealed_row",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("row_key", sa.Text, primary_key=True),
        sa.Column("seal", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "unsealed",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("row_key", sa.Text, nullable=False),
        sa.Column("last_id", sa.BigInteger),
    )
    op.create_index("unsealed_by_row", "unsealed", ["table_name", "row_key"])
    _note_what_is_there()


def _note_what_is_there() -> None:
    noted = "INSERT INTO unsealed (table_name, row_key, last_id)"
    for table in _NUMBERED:
        ends = f"(SELECT min(id) AS oldest, max(id) AS newest FROM {table}) AS ends"  # noqa: S608  # nosec
        span = f"'{table}', CAST(oldest AS TEXT), newest"
        op.execute(f"{noted} SELECT {span} FROM {ends} WHERE newest IS NOT NULL")  # noqa: S608  # nosec
    for table, key in _KEYED:
        op.execute(f"{noted} SELECT '{table}', {key}, NULL FROM {table}")  # noqa: S608  # nosec
