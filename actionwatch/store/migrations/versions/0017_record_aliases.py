"""Records that have another key in the log since the upstream changed their fields."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Create the table of aliases."""
    op.create_table(
        "record_alias",
        sa.Column("alias_key", sa.Text(), primary_key=True),
        sa.Column("ordinal", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("record_key", sa.Text(), nullable=False),
    )
