"""The schema of 1.0, from which all migrations start.

A new store is created with the newest schema (`revision.py`), so nothing is ever migrated to this revision. A store of
1.0 is in `tests/releases/`, and a test upgrades it.
"""

from __future__ import annotations

revision = "1000"
down_revision = None


def upgrade() -> None:
    """Do nothing: the tables exist."""
