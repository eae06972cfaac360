"""The release after this one: its schema has one more column, and its migration adds that to stores of this version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import actionwatch
from actionwatch.store.revision import SCHEMA_VERSION
from tests.children import run_child

NEXT = str(int(SCHEMA_VERSION) + 1)
_COLUMN = '\nPOSITION.append_column(Column("note", Text))\n'
_MIGRATION = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{NEXT}", "{SCHEMA_VERSION}"

def upgrade():
    op.add_column("position", sa.Column("note", sa.Text()))
"""
_MAIN = "import sys; from actionwatch.cli import main; sys.exit(main())"


class NextRelease:
    """Its package in a folder, which uses the libraries of this environment."""

    def __init__(self, folder: Path, *, is_expanding: bool = True) -> None:
        """`is_expanding`: this version can use its schema too."""
        self._folder = folder / "next release"
        package = self._folder / "actionwatch"
        shutil.copytree(
            Path(actionwatch.__file__).parent, package
        )  # with the bytecode, which compiling would take seconds
        store = package / "store"
        with (store / "tables.py").open("a") as tables:
            tables.write(_COLUMN)
        (store / "migrations" / "versions" / f"{NEXT}_note.py").write_text(_MIGRATION)
        _replace(store / "revision.py", f'SCHEMA_VERSION = "{SCHEMA_VERSION}"', f'SCHEMA_VERSION = "{NEXT}"')
        for name in ("sqlite.py", "postgresql.py") if not is_expanding else ():
            _replace(store / name, 'minimum_reader = "', f'minimum_reader = "{NEXT}"  # "')

    def run(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script that uses it, to its end."""
        environment = {**os.environ, "PYTHONPATH": str(self._folder)}
        environment.pop("PYTHONPYCACHEPREFIX", None)  # its bytecode goes with its folder
        return run_child([sys.executable, "-c", code, *arguments], cwd=self._folder, env=environment)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        return self.run(_MAIN, *arguments)

    def upgrade(self, url: str) -> subprocess.CompletedProcess[str]:
        """Upgrade a store. Its output is the schema that the store had."""
        code = "import sys; from actionwatch.store.database import Database; print(Database(sys.argv[1]).upgrade())"
        return self.run(code, url)


def _replace(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1, (file, before)
    file.write_text(text.replace(before, after))
