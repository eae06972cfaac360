"""A delivery that is being sent names the process that sends it, so that its lease ends with that process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column. Leases of an older version name nobody, so they end at the next start."""
    op.add_column("delivery", sa.Column("leased_by", sa.Text))
    if op.get_bind().dialect.name == "postgresql":  # that of one owner; `prepare` creates those of replicas and roles
        op.execute("DROP TABLE IF EXISTS lease")
