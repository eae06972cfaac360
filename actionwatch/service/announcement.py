"""The note of the running service for commands: its process, its configuration, and the result of its last reload.

`actionwatch reload` reads it to find the process, and waits for the result of a reload that began after its request.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from actionwatch.base.files import file_state
from actionwatch.store.membership import Membership, Roster

_MAX_LINES = 100  # of each list in a result; more broken files at once are a broken deployment
_MAX_LINE_CHARS = 1000


class Reloaded(msgspec.Struct, frozen=True):
    """The result of a reload: its number, and lines for people about everything that was loaded, and that was not."""

    number: int
    lines: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class RunningService(msgspec.Struct, frozen=True):
    """The note of a service. `process_space` distinguishes machines and containers."""

    process: int
    process_space: str
    configuration: tuple[int, ...]
    """The state of the configuration file that it runs with."""
    reloads_begun: int = 0
    last: Reloaded = Reloaded(0)

    def is_same(self, other: RunningService) -> bool:
        """Return whether another note is of the same process."""
        return (self.process, self.process_space) == (other.process, other.process_space)


class Announcement:
    """Keeps the note of this process on the store. One thread uses it."""

    def __init__(self, configuration: tuple[int, ...]) -> None:
        self._service = RunningService(os.getpid(), process_space(), configuration)
        self._membership: Membership | None = None

    def start(self, membership: Membership) -> None:
        """Write the note: the service runs and can be asked to reload."""
        self._membership = membership
        self._change()

    def begin_reload(self) -> None:
        """Write that the files are being read."""
        self._change(reloads_begun=self._service.reloads_begun + 1)

    def use(self, configuration: tuple[int, ...]) -> None:
        """Write the state of the configuration file that is used now."""
        self._change(configuration=configuration)

    def end_reload(self, lines: Sequence[str], faults: Sequence[str]) -> None:
        """Write how the reload ended."""
        self._change(last=Reloaded(self._service.reloads_begun, _shortened(lines), _shortened(faults)))

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


def process_space() -> str:
    """Return what identifies the space in which process numbers are unique: a container, or this machine since it started."""
    space = ""
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        with contextlib.suppress(OSError):
            space += path.readlink().name if path.is_symlink() else path.read_text().strip()
    return space


def configuration_state(config: Path) -> tuple[int, ...]:
    """Return the state of the configuration file; empty if it is missing."""
    with contextlib.suppress(OSError):
        return file_state(config.stat())
    return ()


def _shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """Return what fits into a note."""
    more = [f"and {len(lines) - _MAX_LINES} more"] if len(lines) > _MAX_LINES else []
    return (*(line[:_MAX_LINE_CHARS] for line in lines[:_MAX_LINES]), *more)
