"""`store upgrade`, backups and starts across an upgrade: what a person calls, and what is printed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from actionwatch.store.revision import SCHEMA_VERSION
from tests import postgresql
from tests.integration.cli.conftest import Desk, new_desk
from tests.next_release import NEXT, NextRelease


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Desk]:
    """A desk with an empty database in PostgreSQL."""
    with postgresql.other_database("shared") as url, new_desk(tmp_path, url) as fresh:
        yield fresh


def commands_of(release: NextRelease, desk: Desk) -> Callable[..., CompletedProcess[str]]:
    """Return what calls a command of a release with the configuration of a desk."""
    return lambda *arguments: release.call("-c", str(desk.config), *arguments)


def test_shared_store_is_upgraded_only_on_request(shared: Desk, next_release: NextRelease) -> None:
    """`run` of a newer version refuses an older schema with exit status 1 and names the command, which upgrades it once."""
    assert shared.call("run", "--once").status == 0
    call = commands_of(next_release, shared)
    for arguments in (("run", "--once"), ("alerts", "list")):
        refused = call(*arguments)
        assert refused.returncode == 1
        assert f"older schema {SCHEMA_VERSION}" in refused.stderr + refused.stdout
        assert "run 'actionwatch store upgrade'" in refused.stderr + refused.stdout
    done = call("store", "upgrade")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("postgresql+psycopg://postgres@/shared?")
    assert done.stdout.endswith(f": upgraded from schema {SCHEMA_VERSION} to {NEXT}\n")
    assert call("store", "upgrade").stdout.endswith(f": has schema {NEXT}, nothing to upgrade\n")
    assert call("run", "--once").returncode == 0
    ours = shared.call("store", "upgrade")
    assert ours.out.endswith(f": has the newer schema {NEXT}, which this version can use: nothing to upgrade\n")
    assert shared.call("store", "upgrade", "-o", "json").json["schema"] == NEXT
    assert shared.call("run", "--once").status == 0


def test_empty_database_is_created(shared: Desk) -> None:
    """In an empty database, the command creates the tables, as the first start of a service does."""
    done = shared.call("store", "upgrade")
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(f": was empty, created with schema {SCHEMA_VERSION}\n")
    again = shared.call("store", "upgrade", "-o", "json")
    assert (again.json["before"], again.json["schema"]) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert shared.call("store", "upgrade").out.endswith("nothing to upgrade\n")
    assert shared.call("run", "--once").status == 0


def test_file_is_upgraded_by_the_command_or_a_start(tmp_path: Path, next_release: NextRelease) -> None:
    """A file is upgraded by both, but not below a service. The newer version restores a backup of before, and upgrades it."""
    with new_desk(tmp_path) as desk:
        call, backup = commands_of(next_release, desk), str(tmp_path / "before.db")
        missing = call("store", "upgrade")
        assert (missing.returncode, missing.stdout) == (1, "")
        assert "there is no store" in missing.stderr
        assert not desk.file.exists()
        desk.act("DELETE_CLUSTER", 20)
        assert desk.call("run", "--once").status == 0
        alerts = desk.call("alerts", "list", "-o", "json").json
        assert call("store", "backup", backup).returncode == 0
        with contextlib.closing(desk.open_store()) as database, database.joined():
            refused = call("store", "upgrade")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "another actionwatch runs on" in refused.stderr
        assert call("store", "upgrade").stdout == f"{desk.file}: upgraded from schema {SCHEMA_VERSION} to {NEXT}\n"
        assert call("store", "restore", backup, "--replace").returncode == 0
        assert f"older schema {SCHEMA_VERSION}" in call("alerts", "list").stderr
        assert call("run", "--once").returncode == 0
        assert desk.call("alerts", "list", "-o", "json").json == alerts
        assert desk.call("run", "--once").status == 0
