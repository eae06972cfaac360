"""One self-alert for each source reports its unknown kinds. Before, there was one for each kind.

The open ones become a trouble that this version does not report, so that the next start resolves them. Their kinds are kept
for the sources that have records of them; the first poll of each source reports them together.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_KEEP = """
INSERT INTO unknown_kind (source, name, is_reported)
SELECT DISTINCT record.source, record.action_kind, 0 FROM record
WHERE record.action_kind IN (SELECT subject FROM self_alert WHERE trouble = 'unknown_kind') AND length(action_kind) <= 100
LIMIT 1000
"""


def upgrade() -> None:
    """Create the table, and fill it from the open self-alerts."""
    op.create_table(
        "unknown_kind",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("is_reported", sa.Boolean, nullable=False),
    )
    op.execute(_KEEP)
    op.execute("UPDATE self_alert SET trouble = 'unknown_kind_of_all' WHERE trouble = 'unknown_kind'")
