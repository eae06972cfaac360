"""The hits of correlations are rows, and what is known of the alerts that they make."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_ALERT = "correlated_alert"


def upgrade() -> None:
    """Create the tables of hits and of touched groups, and add the columns that replace the saved state."""
    op.create_table(
        "hit",
        sa.Column("rule", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.Text(), primary_key=True),
        sa.Column("at", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("step", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("record_id", sa.BigInteger(), nullable=False),
        sa.Column("is_backlog", sa.Boolean(), nullable=False),
        sa.Column("value", sa.Text()),
        sa.Column("records", sa.Text()),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "touched_group",
        sa.Column("rule", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.Text(), primary_key=True),
        sa.Column("group_values", sa.Text(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
    )
    for column in (
        sa.Column("group_id", sa.Text()),
        sa.Column("shared_id", sa.Text()),
        sa.Column("firing_at", sa.BigInteger()),
        sa.Column("firing_step", sa.Integer()),
        sa.Column("firing_key", sa.Text()),
        sa.Column("has_waited", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("is_quiet", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("back_at", sa.BigInteger()),
        sa.Column("is_judged", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("is_noted", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("pending_at", sa.BigInteger()),
        sa.Column("is_held", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("leader", sa.Text()),
        sa.Column("above", sa.Text()),
    ):
        op.add_column(_ALERT, column)
    op.create_index("correlated_alert_by_group", _ALERT, ["group_id", "fired_at"])
    for name, columns, condition in (
        ("pending", ["pending_at"], "pending_at IS NOT NULL"),
        ("shared", ["shared_id", "fired_at"], "shared_id IS NOT NULL"),
        ("held", ["shared_id"], "is_held = 1" if op.get_bind().dialect.name == "sqlite" else "is_held = true"),
    ):
        where = sa.text(condition)
        op.create_index(f"{_ALERT}_{name}", _ALERT, columns, sqlite_where=where, postgresql_where=where)
    for column in (
        sa.Column("number", sa.Integer()),
        sa.Column("digest", sa.Text()),
        sa.Column("fed_from", sa.BigInteger()),
        sa.Column("fed_through", sa.BigInteger()),
        sa.Column("begins_at", sa.BigInteger()),
        sa.Column("alerts_from", sa.BigInteger()),
    ):
        op.add_column("correlation_version", column)
