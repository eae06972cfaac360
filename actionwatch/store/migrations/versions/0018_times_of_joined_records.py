"""The newest records of an alert are found by their time, and its alerts of correlations by an index without empty values.

The index with empty values stays, because replicas of the version before need it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the time of each record of an alert, and two indexes."""
    time = sa.Column("occurred_at", sa.BigInteger(), nullable=False, server_default=sa.text(str(2**63 - 1)))
    op.add_column("alert_record", time)
    op.create_index("alert_record_by_time", "alert_record", ["alert_id", "occurred_at"], if_not_exists=True)
    where = sa.text("reported_as IS NOT NULL")
    op.create_index(
        "correlated_alert_reported",
        "correlated_alert",
        ["reported_as"],
        sqlite_where=where,
        postgresql_where=where,
        if_not_exists=True,
    )
