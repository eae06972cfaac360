"""Hints that another process has stored records, against a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psycopg
import pytest

from actionwatch.store import records
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER, tail_role
from tests import debian, postgresql
from tests.builders import make_record
from tests.positions import move_to
from tests.waiting import beside, wait_until

TAIL = tail_role("prod")
LISTENERS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND query = 'LISTEN actionwatch' AND pid <> pg_backend_pid()
"""


@pytest.fixture
def others(url: str) -> Iterator[Database]:
    """The store, as another process opens it."""
    with contextlib.closing(Database(url)) as database:
        yield database


class Listener:
    """What listens to hints on a store, as the thread of a service does. Each beginning counts as a hint."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.database: Database
        self.count = 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen until the block ends."""
        stopping = threading.Event()
        with (
            contextlib.closing(Database(self._url)) as self.database,
            beside(lambda: self.database.peers.listen(self._note, stopping), stopping.set),
        ):
            self.wait_for(1)
            yield

    def wait_for(self, count: int) -> None:
        """Wait until there were so many hints."""
        wait_until(lambda: self.count >= count, f"hint {count}", lambda: self.count)

    def _note(self) -> None:
        self.count += 1


@pytest.fixture
def listener(url: str) -> Iterator[Listener]:
    """What listens in this process."""
    found = Listener(url)
    with found.listening():
        yield found


def store(database: Database, number: int) -> None:
    """Store a record for a source."""
    with database.as_holder(TAIL).write() as connection:
        records.insert_new(connection, [make_record(number)])


def test_what_a_tail_stores_brings_a_hint(listener: Listener, others: Database) -> None:
    """Each commit of new records is a hint. No other is, nor what is rolled back, nor what this process stores itself."""
    store(listener.database, 1)
    store(others, 1)
    with contextlib.suppress(ZeroDivisionError), others.as_holder(TAIL).write() as connection:
        records.insert_new(connection, [make_record(9)])
        raise ZeroDivisionError
    for role in (LEADER, TAIL):
        with others.as_holder(role).write() as connection:
            move_to(connection, "match", 2)
    assert listener.count == 1
    for number in (2, 3, 4):
        store(others, number)
        listener.wait_for(number)
    assert listener.count == 4


def test_connection_that_breaks_is_made_again(listener: Listener, others: Database, url: str) -> None:
    """The listener connects again, and counts what it may have missed as a hint."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        ((pid,),) = connection.execute(LISTENERS).fetchall()
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        listener.wait_for(2)
        ((again,),) = connection.execute(LISTENERS).fetchall()
    assert again != pid
    store(others, 1)
    listener.wait_for(3)


def test_server_that_restarts(listener: Listener, others: Database) -> None:
    """A server that is away for a while ends nothing."""
    with postgresql.stopped():
        pass
    listener.wait_for(2)
    store(others, 1)
    listener.wait_for(3)


def test_nothing_listens_after_the_end(url: str) -> None:
    """The session of the listener ends with it."""
    with Listener(url).listening():
        pass
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        wait_until(lambda: not connection.execute(LISTENERS).fetchall(), "the end of the session")


def test_nothing_listens_through_a_pooler() -> None:
    """Behind a real pgbouncer nothing listens, because a hint would reach whoever has the session then; writes go on."""
    with (
        postgresql.other_database("pooled"),
        debian.pooler(postgresql.socket_folder(), 4) as place,
        contextlib.closing(Database(f"postgresql+psycopg://postgres@/pooled?{place}")) as database,
        psycopg.connect(postgresql.url_of("pooled").replace("+psycopg", ""), autocommit=True) as direct,
    ):
        database.upgrade()
        assert database.peers.listen(lambda: None, threading.Event()) is False
        assert not direct.execute(LISTENERS).fetchall()
        before = database.version()
        store(database, 1)
        assert database.version() != before
