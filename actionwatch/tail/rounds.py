"""Commit what the quiet polls of many sources have to say: those that wait together, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from actionwatch.base.errors import RoleLost
from actionwatch.store import marks, polls, receipts
from actionwatch.store.database import Database
from actionwatch.store.marks import Marks
from actionwatch.store.membership import tail_role
from actionwatch.store.polls import Poll
from actionwatch.store.receipts import StoredReceipt
from actionwatch.tail.state import Stopped


class Outdated(Exception):
    """The store is no longer as the last poll left it: read it again."""


@dataclass(frozen=True, slots=True)
class QuietPoll:
    """A quiet poll of a source that has ended: its marks and receipt, before and after.

    `is_stopped` returns whether to break it off.
    """

    marks: tuple[Marks, Marks]
    receipt: tuple[StoredReceipt, StoredReceipt]
    poll: Poll
    is_stopped: Callable[[], bool]

    @property
    def source(self) -> str:
        """The name of the source."""
        return self.marks[0].name

    @property
    def role(self) -> str:
        """The role in which this process tails the source."""
        return tail_role(self.source)


class _Waiting:
    """A quiet poll whose thread waits for the commit."""

    def __init__(self, poll: QuietPoll) -> None:
        self.poll = poll
        self.is_done = False
        self.error: BaseException | None = None


class Rounds:
    """Commits quiet polls on one store. The thread whose turn it is commits for all that wait by then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()  # for `_waiting`

    def commit(self, poll: QuietPoll) -> None:
        """Commit a quiet poll.

        Raises: Outdated, and changes nothing; Stopped; RoleLost; StoreError, when the commit failed.
        """
        mine = _Waiting(poll)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.is_done:
                self._commit_waiting()
        if mine.error is not None:
            raise mine.error

    def _commit_waiting(self) -> None:
        together: Sequence[_Waiting] = ()
        try:
            with self._database.write() as connection:
                together = self._take_waiting()  # also those that came while this thread waited for other writers
                self._write(connection, together)
        except BaseException as exc:
            together = together or self._take_waiting()
            for each in together:
                each.error = each.error or exc
        finally:
            for each in together:
                each.is_done = True

    def _take_waiting(self) -> Sequence[_Waiting]:
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def _write(self, connection: Connection, together: Sequence[_Waiting]) -> None:
        """Write what may be written. Raises: Outdated, if the store differs from what any of them expects."""
        held = self._database.peers.held_roles(connection, [each.poll.role for each in together])
        for each in together:
            if each.poll.is_stopped():  # this process may have lost the role meanwhile, and have taken it again
                each.error = Stopped()
            elif each.poll.role not in held:
                each.error = RoleLost(f"this process no longer has the role {each.poll.role}: another one takes over")
        written = [each.poll for each in together if each.error is None]
        if not written:
            return
        polls.write(connection, {each.source: each.poll for each in written})
        moved = marks.advance(connection, [each.marks for each in written])
        repeated = receipts.repeat(connection, [each.receipt for each in written])
        if moved < len(written) or repeated < len(written):
            raise Outdated
