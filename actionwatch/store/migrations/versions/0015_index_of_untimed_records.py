"""Records without a readable time are found in the order of time by an index, however many there are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create the index that `store upgrade` did not build before, while replicas wrote."""
    where = sa.text("record_key >= 'g'")
    op.create_index(
        "record_untimed",
        "record",
        ["occurred_at", "record_key", "source"],
        sqlite_where=where,
        postgresql_where=where,
        if_not_exists=True,
    )
