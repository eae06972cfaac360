"""Fixtures of the tests of streams: an empty store, and the far end of each driver."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.fixtures import database, new_store
from tests.integration.notifiers.http_end import FAR_END
from tests.integration.streams.end import End
from tests.integration.streams.ends import ENDS
from tests.waiting import wait_until

__all__ = ["database", "new_store"]


@pytest.fixture(scope="session", params=ENDS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[End]:
    """The far end of each driver in turn, one for all tests of the process."""
    end = ENDS[request.param](tmp_path_factory.mktemp(request.param.replace(" ", "_")))
    with closing(end):
        yield end


@pytest.fixture
def end(running: End) -> Iterator[End]:
    """The far end. A driver leaves no thread behind, not even one that Python does not know."""
    before = _threads()
    yield running
    wait_until(lambda: not _threads() - before, "the end of every thread of the driver", _threads)


def _threads() -> set[str]:
    ours = {str(each.native_id) for each in threading.enumerate() if each.name == FAR_END}
    return set(os.listdir("/proc/self/task")) - ours  # noqa: PTH208
