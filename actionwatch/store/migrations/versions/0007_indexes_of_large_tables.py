"""Lists, retention and inhibition find their rows by an index, however many rows a table has."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the indexes that `store upgrade` did not build before, while replicas wrote."""
    op.create_index("receipt_by_end", "receipt", ["ends_at"], if_not_exists=True)
    op.create_index("alert_by_end", "alert", ["last_at"], if_not_exists=True)
    op.create_index("alert_by_realert", "alert", ["realert"], if_not_exists=True)
    op.create_index("delivery_by_creation", "delivery", ["created_at"], if_not_exists=True)
    op.create_index("delivery_by_receiver", "delivery", ["receiver", "created_at"], if_not_exists=True)
    op.create_index("correlated_alert_by_end", "correlated_alert", ["until"], if_not_exists=True)
