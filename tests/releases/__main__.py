"""Write the stores of this version: `python -m tests.releases`."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from actionwatch.store.database import Database
from actionwatch.store.revision import SCHEMA_VERSION
from tests import postgresql
from tests.releases import dump_postgresql, dump_sqlite, file_of, fill_all


def write() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        _make(f"sqlite:///{path}")
        file_of(SCHEMA_VERSION, "sqlite").write_text(dump_sqlite(path))
    with postgresql.other_database("written") as url:
        _make(url)
        file_of(SCHEMA_VERSION, "postgresql").write_text(dump_postgresql(url))


def _make(url: str) -> None:
    with closing(Database(url)) as database:
        database.upgrade()
        fill_all(database)


if __name__ == "__main__":
    write()
