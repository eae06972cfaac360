"""What a correlation found and is still missing has an index, however much all of them found in the past."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the index that `store upgrade` did not build before, while replicas wrote."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    where = sa.text("is_open = 1" if is_sqlite else "is_open = true")
    op.create_index(
        "correlated_alert_open",
        "correlated_alert",
        ["rule_id"],
        sqlite_where=where,
        postgresql_where=where,
        if_not_exists=True,
    )
