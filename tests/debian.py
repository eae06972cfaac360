"""Servers from Debian's packages: PostgreSQL of another major version than the wheel's, and pgbouncer.

Each listens on a socket in a temporary folder, and ends with the block or the process. Both refuse to run as root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.children import Process, child, exit_status, run_child
from tests.waiting import wait_until

USER = "postgres"  # Debian's packages create it
_PROGRAMS = Path("/usr/lib/postgresql")
_POOLER = """\
[databases]
* = host={server}
[pgbouncer]
unix_socket_dir = {folder}
listen_port = {port}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
logfile = {folder}/log
"""
_PORT = 6432


def find(program: str, package: str, *folders: Path) -> str:
    """Return the path of a program. Where it is not installed, skip the test: `.ci/run` installs what it can, and says so."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(program, path=path)
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return found


@contextlib.contextmanager
def folder_of(user: int) -> Iterator[Path]:
    """Create a folder of the user of a server. Its path is short, because that of a socket is limited."""
    with tempfile.TemporaryDirectory(prefix="server-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:
            os.chown(name, user, -1)
        yield Path(name)


def options_of(user: int) -> dict[str, Any]:
    """Return the options of a child that must not be root."""
    return {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


class Server:
    """A PostgreSQL server of one major version."""

    def __init__(self, version: str, stack: contextlib.ExitStack) -> None:
        """Create its data. `stack` ends it."""
        programs = _PROGRAMS / version / "bin"
        self._program = find("postgres", f"postgresql-{version}", programs)
        user = pwd.getpwnam(USER).pw_uid if os.geteuid() == 0 else os.geteuid()
        self._folder = stack.enter_context(folder_of(user))
        self._options = {"cwd": self._folder, **options_of(user)}
        options = (
            "-D",
            self._folder / "data",
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )
        made = run_child([programs / "initdb", *options], **self._options)
        assert made.returncode == 0, made.stderr
        self._running = contextlib.ExitStack()
        self._process: Process | None = None
        stack.callback(self.stop)
        self.ensure_postgres_running()

    def get_uri(self) -> str:
        """Return its URI, for psycopg."""
        return f"postgresql://{USER}@/{USER}?host={self._folder}"

    def ensure_postgres_running(self) -> None:
        """Start it, and wait until it answers."""
        command: list[str | Path] = [
            self._program,
            "-D",
            self._folder / "data",
            "-k",
            self._folder,
            "-c",
            "listen_addresses=",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = self._running.enter_context(child(command, stdout=log, stderr=log, **self._options))
        wait_until(lambda: answers(self.get_uri()), "the server", (self._folder / "log").read_text)

    def stop(self) -> None:
        """Stop it without waiting for its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            exit_status(self._process)
            self._process = None
        self._running.close()


@contextlib.contextmanager
def pooler(server: str, size: int) -> Iterator[str]:
    """Run pgbouncer in transaction mode before the server with a socket in folder `server`. Yield its folder and port.

    It has at most `size` connections to each database.
    """
    program = find("pgbouncer", "pgbouncer")
    user = Path(server).stat().st_uid  # who may use its socket
    with folder_of(user) as folder:
        (folder / "pgbouncer.ini").write_text(_POOLER.format(server=server, folder=folder, port=_PORT, size=size))
        (folder / "users").write_text(f'"{USER}" ""\n')
        with child([program, "-q", folder / "pgbouncer.ini"], cwd=folder, **options_of(user)):
            place = f"host={folder}&port={_PORT}"
            uri = f"postgresql://{USER}@/{USER}?{place}"
            wait_until(lambda: answers(uri), "pgbouncer", lambda: (folder / "log").read_text())
            yield place


def answers(uri: str) -> bool:
    """Return whether a server accepts a connection."""
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(uri):
        return True
    return False
