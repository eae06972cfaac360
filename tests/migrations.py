"""The migrations of a version to come, whose newest revision adds a column that may be null."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import Connection

from actionwatch.store import migrations
from actionwatch.store.revision import SCHEMA_VERSION

LATER = "9999"
_ADDING = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{LATER}", "{SCHEMA_VERSION}"

def upgrade():
    op.add_column("position", sa.Column("note", sa.Text()))
"""


def later_migrations(folder: Path) -> Path:
    """Write them below `folder`, and return their folder."""
    made = folder / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, made)
    (made / "versions" / f"{LATER}_later.py").write_text(_ADDING)
    return made


def migrate_later(connection: Connection, folder: Path, minimum_reader: str = SCHEMA_VERSION) -> None:
    """Upgrade a store like the version to come, which `minimum_reader` and newer versions can use."""
    migrations.migrate(connection, later_migrations(folder))
    connection.exec_driver_sql(f"UPDATE alembic_version SET minimum_reader = '{minimum_reader}'")
