"""Each person can have a token, and all replicas know the browsers that signed in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create both tables. Browsers that signed in before sign in again, as after each restart of the older version."""
    op.create_table(
        "token",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoked_by", sa.Text),
    )
    op.create_index("token_by_digest", "token", ["digest"], unique=True)
    op.create_table(
        "session",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("token_id", sa.Text),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
    )
    op.create_index("session_by_token", "session", ["token_id", "ends_at"])
    op.create_index("session_by_end", "session", ["ends_at"])
