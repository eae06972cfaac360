"""Run the migrations on a connection that already holds the write lock, so that concurrent starts migrate once."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from actionwatch.store.tables import METADATA


def migrate(connection: Connection, target: str = "head") -> None:
    """Bring the schema behind `connection` to `target`, within its transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    script = ScriptDirectory.from_config(config)

    def upgrade(revision: str | tuple[str, ...], _: MigrationContext) -> object:
        return script._upgrade_revs(target, revision)  # type: ignore[arg-type]

    with EnvironmentContext(config, script, fn=upgrade, destination_rev=target) as environment:
        environment.configure(connection=connection, target_metadata=METADATA)
        environment.run_migrations()
