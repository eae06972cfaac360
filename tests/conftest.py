"""The settings of property tests: the same examples in every run, and no deadline.

`pytest --hypothesis-profile explore` searches for new examples. `--soak N` plays N schedules, or makes N attacks of each kind,
instead of the default few; `--soak-from SEED` begins at another seed.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import tests.emulator.faults  # noqa: F401  # adds the faults that only tests use
from actionwatch.base.source_labels import use_labels
from tests import balance
from tests.next_release import NextRelease
from tests.plain_logs import log_plainly

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]

settings.register_profile("suite", max_examples=60, deadline=None, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("explore", max_examples=300, deadline=None, suppress_health_check=SLOW, print_blob=True)
settings.load_profile("suite")


_IN_MEMORY = Path("/dev/shm")  # nosec  # a file system in memory, where Linux has one
_NEEDED_BYTES = 4 * 2**30  # several times what all workers together use


@pytest.fixture(autouse=True)
def _labels_left_alone() -> Iterator[None]:
    """Forget the labels of sources that a command of a test left in this process."""
    yield
    use_labels({})


def _put_files_into_memory() -> None:
    """Let the stores of tests be in memory, if there is room: thousands of them wait for a disk otherwise, four at a time.

    Workers inherit the folder. Whoever names another one (`TMPDIR`, `--basetemp`) gets that.
    """
    if "TMPDIR" in os.environ or not os.access(_IN_MEMORY, os.W_OK):
        return
    can_run_programs = not os.statvfs(_IN_MEMORY).f_flag & os.ST_NOEXEC
    if can_run_programs and shutil.disk_usage(_IN_MEMORY).free > _NEEDED_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_IN_MEMORY)


_put_files_into_memory()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options. `pytest tests/attacks --soak 5000` runs for about a quarter of an hour."""
    parser.addoption("--soak", type=int, default=0, metavar="N", help="run N schedules or attacks, from --soak-from on")
    parser.addoption(
        "--store",
        choices=("sqlite", "postgresql", "postgresql-15", "postgresql-17"),
        default="sqlite",
        help="the database of the store and pipeline tests; a version is Debian's package",
    )
    parser.addoption("--soak-from", type=int, default=0, metavar="SEED", help="the first seed")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the server of PostgreSQL and the form of logs, and keep bytecode."""
    log_plainly()
    _keep_bytecode(config)
    _, _, version = config.getoption("--store").partition("-")
    if version:
        from tests import postgresql

        postgresql.choose(version)


def _keep_bytecode(config: pytest.Config) -> None:
    """Let workers and children share their bytecode, as installed commands do: compiling takes half of a collection or a start.

    Where nothing keeps them from it, they share what is beside the modules. Elsewhere they share the cache of pytest.
    """
    cache: pytest.Cache | None = getattr(config, "cache", None)  # `-p no:cacheprovider` leaves it out
    if cache is not None and os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        sys.dont_write_bytecode = False
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(cache.mkdir("bytecode"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker begin with some of the long tests, and remove the timeout of a soak.

    On PostgreSQL, leave out what does not follow the option `--store`: it runs without the option, in the same way.
    """
    if config.getoption("--store") == "postgresql":
        left_out = [item for item in items if "store_kind" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if "store_kind" in getattr(item, "fixturenames", ())]
    if workers := getattr(config, "workerinput", None):
        items[:] = balance.long_first(items, workers["workercount"], lambda item: item.nodeid.startswith(balance.LONG))
    if config.getoption("--soak"):
        for item in items:
            if "soak" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.timeout(0))


def pytest_collection_finish() -> None:
    """Let the garbage collector ignore what collecting made: it would look at thousands of tests again and again."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    """End the server of PostgreSQL and the warm process that tests of this process have started."""
    from tests import forked, postgresql

    postgresql.end()
    forked.end()


@pytest.fixture(scope="session")
def store_kind(request: pytest.FixtureRequest) -> str:
    """The kind of the store under test. Each fixture that opens this store uses it."""
    found: str = request.config.getoption("--store")
    return found


@pytest.fixture
def sydney(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the process be in Sydney. The rules of the zone are spelled out, because a machine may have no files of zones."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "AEST-10AEDT,M10.1.0,M4.1.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> int:
    """Return the requested number of cases; 0 means the default."""
    found: int = request.config.getoption("--soak")
    return found


@pytest.fixture
def first_seed(request: pytest.FixtureRequest) -> int:
    """Return the first seed."""
    found: int = request.config.getoption("--soak-from")
    return found


@pytest.fixture(scope="session")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> NextRelease:
    """The next release, whose schema this version can use: one for all tests, because each compiles a copy of the package."""
    return NextRelease(tmp_path_factory.mktemp("next"))


@pytest.fixture(scope="session")
def excluding_release(tmp_path_factory: pytest.TempPathFactory) -> NextRelease:
    """A next release whose schema this version cannot use."""
    return NextRelease(tmp_path_factory.mktemp("excluding"), is_expanding=False)


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of an empty store in PostgreSQL, which processes share."""
    from tests import postgresql

    with postgresql.empty_store("shared_test") as found:
        yield found
