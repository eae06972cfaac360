"""A poll that failed stores how long its source waits before the next one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; a source of an older version did not wait."""
    op.add_column("poll", sa.Column("backoff", sa.BigInteger))
