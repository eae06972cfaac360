"""Correlations store up to when they judged what waits for verified time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column. Until correlations judge again, a rebuild takes verified time for it, as before."""
    op.add_column("position", sa.Column("judged_through", sa.BigInteger))
