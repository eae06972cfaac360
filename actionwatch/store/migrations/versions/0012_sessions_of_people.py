"""A session can be of a person whom an OpenID Connect provider named, with a role and without a token."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the columns. An older version does not find such a session: the digest of its cookie has another key."""
    op.add_column("session", sa.Column("name", sa.Text))
    op.add_column("session", sa.Column("role", sa.Text))
