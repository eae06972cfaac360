"""A PostgreSQL primary with a synchronous standby, from the programs of the package, to lose the one and promote the other."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests import debian, postgresql
from tests.children import run_child
from tests.waiting import wait_until

COMMON = (
    "unix_socket_permissions = 0777",
    "listen_addresses = ''",
    "fsync = off",
    "max_wal_senders = 4",
    "hot_standby = on",
    "wal_keep_size = 64",
)


class Pair:
    """A primary and its standby, in two folders, each with its own socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = postgresql.programs()
        self._options = debian.options_of(folder.stat().st_uid)
        self.primary, self.standby = folder / "a", folder / "b"

    @property
    def url(self) -> str:
        """The URL of a database that is always that of the server that accepts writes."""
        hosts = f"{self._folder / 'a'},{self._folder / 'b'}"
        return f"postgresql+psycopg://postgres@/postgres?host={hosts}&target_session_attrs=read-write"

    def start(self) -> None:
        """Start the primary and its standby."""
        for place in (self.primary, self.standby):
            self._run("mkdir", place)  # by the user of the servers
        self._run("initdb", "-D", self.primary / "data", "-U", "postgres", "--auth=trust", "--no-sync")
        with (self.primary / "data" / "postgresql.conf").open("a") as file:
            file.write("\n".join(["", *COMMON, f"unix_socket_directories = '{self.primary}'", ""]))
        self._control("start", self.primary)
        self.add_standby()

    def add_standby(self) -> None:
        """Start a copy of the primary as its standby, and let commits that are durable wait for that."""
        copy = self.standby / "data"
        self._run("rm", "-rf", copy)
        self._query("ALTER SYSTEM RESET synchronous_standby_names")  # the copy must not wait for itself
        self._run("pg_basebackup", "-h", self.primary, "-U", "postgres", "-D", copy, "-R", "-X", "stream", "--no-sync")
        with (copy / "postgresql.conf").open("a") as file:
            file.write(f"unix_socket_directories = '{self.standby}'\n")
        self._control("start", self.standby)
        self._query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._query("SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        wait_until(lambda: self._query(state) == [("sync",)], "a synchronous standby")

    def fail_over(self) -> None:
        """Kill the primary, as a machine that loses its power, and promote the standby."""
        pid = int((self.primary / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)  # ends all its processes at once, without writing anything
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the primary")
        self._run("pg_ctl", "promote", "-w", "-D", self.standby / "data")
        self.primary, self.standby = self.standby, self.primary

    def _query(self, statement: str) -> list[Any]:
        """Query the primary."""
        with psycopg.connect(host=str(self.primary), user="postgres", autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """Stop what runs."""
        for place in (self.primary, self.standby):
            if (place / "data" / "postmaster.pid").exists():
                with contextlib.suppress(AssertionError):
                    self._control("stop", place, "-m", "immediate")

    def _control(self, verb: str, place: Path, *more: str) -> None:
        log = place / "log"
        options = ["-l", str(log)] if verb == "start" else []
        self._run("pg_ctl", verb, "-w", "-D", place / "data", *options, *more)

    def _run(self, program: str, *arguments: str | Path) -> None:
        known = self._programs / program
        done = run_child(
            [known if known.exists() else program, *map(str, arguments)], cwd=self._folder, **self._options
        )
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """Run a primary and its standby until the block ends."""
    with debian.folder_of(Path(postgresql.socket_folder()).stat().st_uid) as folder:
        found = Pair(folder)
        try:
            found.start()
            yield found
        finally:
            found.stop()
