"""The note of the running service for commands: its configuration, and what its last reload changed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from actionwatch.base.clock import utc_now
from actionwatch.base.files import file_state
from actionwatch.store.membership import Membership, Roster

_MAX_LINES = 100  # of each list in a result; more broken files at once are a broken deployment
_MAX_LINE_CHARS = 1000


class Reloaded(msgspec.Struct, frozen=True):
    """A reload: when it ended, and lines for people about everything that was loaded, and that was not."""

    at: datetime
    lines: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class RunningService(msgspec.Struct, frozen=True):
    """The note of a service."""

    configuration: tuple[int, ...]
    """The state of the configuration file that it runs with."""
    last: Reloaded | None = None


class Announcement:
    """Keeps the note of this process on the store. One thread uses it."""

    def __init__(self, configuration: tuple[int, ...]) -> None:
        self._service = RunningService(configuration)
        self._membership: Membership | None = None

    def start(self, membership: Membership) -> None:
        """Write the note: the service runs."""
        self._membership = membership
        self._change()

    def use(self, configuration: tuple[int, ...]) -> None:
        """Write the state of the configuration file that is used now."""
        self._change(configuration=configuration)

    def end_reload(self, lines: Sequence[str], faults: Sequence[str]) -> None:
        """Write how a reload ended."""
        self._change(last=Reloaded(utc_now(), _shortened(lines), _shortened(faults)))

    def _change(self, **changes: object) -> None:
        self._service = msgspec.structs.replace(self._service, **changes)
        if self._membership is not None:
            self._membership.write(msgspec.json.encode(self._service))


def read_announcements(roster: Roster) -> list[RunningService]:
    """Return the notes of the services that run. One is left out while it starts, or is being written."""
    found = []
    for note in roster.notes.values():
        with contextlib.suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(note, type=RunningService))
    return found


def read_last_reload(roster: Roster) -> Reloaded | None:
    """Return the newest reload of the services that run; None if none has reloaded since it started."""
    reloads = [service.last for service in read_announcements(roster) if service.last is not None]
    return max(reloads, key=lambda each: each.at, default=None)


def configuration_state(config: Path) -> tuple[int, ...]:
    """Return the state of the configuration file; empty if it is missing."""
    with contextlib.suppress(OSError):
        return file_state(config.stat())
    return ()


def _shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """Return what fits into a note."""
    more = [f"and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
    return (*(line[:_MAX_LINE_CHARS] for line in lines[:_MAX_LINES]), *more)
