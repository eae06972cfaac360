"""Hints from PostgreSQL that another process has stored records, so that the matcher does not wait until it next looks.

A hint can be lost, and a pooler in transaction mode delivers none. Therefore the matcher also checks the version of the store
at intervals, and relies only on that. Other commits send no hint: if all replicas that send messages looked at the same time,
they would wait for each other's write lock, and alerts would be sent later.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

if TYPE_CHECKING:
    import psycopg

NOTIFY = "SELECT pg_notify('actionwatch', %s)"
"""Sends a hint with the commit. Its parameter is the sender."""
_STORED = "actionwatch_stored"  # what a connection notes
_LISTEN = "LISTEN actionwatch"
_WAIT_SECONDS = 0.25  # for one notification; stopping takes as long
_GATHER_SECONDS = 0.02  # many commits in this time are one hint
_RETRY_SECONDS = 1.0


def note_stored(connection: Connection) -> None:
    """Note that the transaction stores records."""
    connection.info[_STORED] = True


def take_note(connection: Connection) -> bool:
    """Return whether the transaction stores records, and forget it."""
    return bool(connection.info.pop(_STORED, False))


def listen(
    connect: Callable[[], psycopg.Connection[tuple[Any, ...]]],
    sender: str,
    on_hint: Callable[[], None],
    stopping: threading.Event,
) -> bool:
    """Call `on_hint` soon after processes other than `sender` stored records, until `stopping`.

    Return False at once if there is a pooler. `connect` opens a connection that commits each statement. If it breaks, a new one
    is opened.
    """
    import psycopg  # not for a file

    while not stopping.is_set():
        with contextlib.suppress(psycopg.Error), contextlib.closing(connect()) as connection:
            if not _is_direct(connection):
                return False
            connection.execute(_LISTEN)
            on_hint()  # what was stored before
            while not stopping.is_set():
                hints = list(connection.notifies(timeout=_WAIT_SECONDS, stop_after=1))
                if any(hint.payload != sender for hint in hints):
                    on_hint()
                    stopping.wait(_GATHER_SECONDS)
        stopping.wait(_RETRY_SECONDS)
    return True


def _is_direct(connection: psycopg.Connection[Any]) -> bool:
    """Return whether no pooler is between: a pooler shows another process id than the server."""
    ((pid,),) = connection.execute("SELECT pg_backend_pid()")
    return bool(pid == connection.info.backend_pid)
