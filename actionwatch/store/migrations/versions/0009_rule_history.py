"""What each rule did over time is kept. The first start fills the table with the versions that run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table; what ran before is unknown."""
    op.create_table(
        "rule_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("rule_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("may_begin_at", sa.BigInteger, nullable=False),
        sa.Column("begins_at", sa.BigInteger, nullable=False),
        sa.Column("is_held", sa.Boolean, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("lists", sa.Text, nullable=False),
    )
    op.create_index("rule_history_by_rule", "rule_history", ["rule_id", "id"])
