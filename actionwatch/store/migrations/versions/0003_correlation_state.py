"""The state of correlations is saved. An alert that a correlation finds has the number of the saved state to come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table; alerts from before have no number, and no state needs it."""
    op.create_table(
        "correlation_state",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.add_column("correlated_alert", sa.Column("epoch", sa.BigInteger))
    op.create_index("correlated_alert_by_epoch", "correlated_alert", ["epoch"])
