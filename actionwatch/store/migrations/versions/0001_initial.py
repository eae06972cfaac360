"""The first schema.

A new store is created with the newest schema (`database.py`), so nothing is ever migrated to this revision. It is the start of
the migrations that follow. Its tables are in `tests/integration/store/schema_0001.sql`, from which a test migrates.
"""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: the tables exist."""
