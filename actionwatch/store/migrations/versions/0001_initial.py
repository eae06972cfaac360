"""The first schema."""

from __future__ import annotations

from alembic import op

from actionwatch.store.tables import METADATA

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table of the first release."""
    METADATA.create_all(op.get_bind())


def downgrade() -> None:
    """Drop them again."""
    METADATA.drop_all(op.get_bind())
