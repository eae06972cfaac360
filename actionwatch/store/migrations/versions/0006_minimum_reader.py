"""The oldest schema whose version of actionwatch can still use the store is stored with the revision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column. Whoever migrates sets it, because it belongs to the newest revision alone."""
    op.add_column("alembic_version", sa.Column("minimum_reader", sa.String(32)))
