"""A replica of the previous release on the schema of this version: it runs, or says that it needs the newer version."""

from __future__ import annotations

import contextlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.store.database import Database
from actionwatch.store.postgresql import PostgresqlBackend
from tests import postgresql
from tests.children import child, exit_status
from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd

# Built from the last commit before this version, because an sdist and a shallow clone have no history, and the tests have no
# network. A release replaces it: `python -m build --wheel`, and its schema here.
WHEEL = Path(__file__).parent.parent / "releases" / "previous.whl"
ITS_SCHEMA = "0016"
RUN = "import sys; from actionwatch.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the previous release, which uses the packages of this environment."""
    folder = tmp_path_factory.mktemp("previous")
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(folder)
    return folder


@contextlib.contextmanager
def previous(place: kit.Post, release: Path, log: Path) -> Iterator[kit.Service]:
    """Run a replica of the previous release until the block ends."""
    environment = kit.environment(PYTHONPATH=str(release))
    with (
        log.open("w") as stream,
        child(
            [sys.executable, "-c", RUN, "run"], cwd=place.folder, env=environment, stdout=stream, stderr=stream
        ) as process,
    ):
        yield kit.Service(process, log)


def test_replica_of_the_previous_release_restarts_on_this_schema(
    release: Path, up: kit.Upstream, webhook: HttpEnd, soar: kit.Soar, tmp_path: Path
) -> None:
    """The previous release creates the store; after the upgrade, it restarts, or names the newer version as the remedy."""
    with postgresql.other_database("released") as url:
        place = kit.Post(tmp_path / "previous", up, url).write(webhook)
        with previous(place, release, tmp_path / "first.log") as service:
            service.wait_until_up()
            up.delete_cluster("before@example.com")
            soar.wait_for(user="before@example.com")
            service.end()
        with contextlib.closing(Database(url)) as database:
            database.upgrade()
        with previous(place, release, tmp_path / "second.log") as service:
            if PostgresqlBackend.minimum_reader > ITS_SCHEMA:
                assert exit_status(service.process) == 1
                assert "use the newer version on it" in service.log.read_text()
                return
            service.wait_until_up()
            up.delete_cluster("after@example.com")
            soar.wait_for(user="after@example.com")
            service.end()
        assert len({each.id for each in soar.arrivals}) == 2
