"""The migrations of the schema, one file for each revision under `versions/`. `tables.py` describes the newest schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def migrate(connection: Connection, folder: Path = Path(__file__).parent, revision: str = "head") -> None:
    """Bring the schema to a revision in `folder`, within the transaction of the caller, which holds the write lock."""
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
