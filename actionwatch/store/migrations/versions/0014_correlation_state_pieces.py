"""The saved state of correlations is stored in pieces, so that neither saving nor loading it holds all of it in memory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the table. What another version saved does not fit, so that the next start rebuilds the state."""
    op.add_column("correlation_state", sa.Column("state", sa.Text))
    op.create_table(
        "correlation_state_piece",
        sa.Column("state", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
