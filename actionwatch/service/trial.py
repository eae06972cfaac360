"""Try a draft of rules on the stored records, for the console.

A separate process does the work (`trial_process.py`): it leaves the CPU to the service, has limits of memory and time, and
ends with the request.
"""

from __future__ import annotations

import contextlib
import os
import pickle  # nosec B403
import select
import subprocess  # nosec B404
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import structlog

from actionwatch.rules.trial import TrialEvent, TrialProgress, TrialRefused
from actionwatch.service.configuration import known_kinds, time_intervals
from actionwatch.settings import Settings
from actionwatch.text.timeintervals import TimeInterval

BUSY = "another draft is being tried: wait until it has ended, and send this one again"
TURN_SECONDS = 2.0  # a trial whose request has just ended, as by a double click, ends within this time
_LOOK_SECONDS = 0.5  # how soon the end of a request is noticed while the process is silent
_READ_BYTES = 65_536
_ERROR_BYTES = 2000  # of the error output of a process that failed
_COMMAND = (sys.executable, "-P", "-m", "actionwatch.service.trial_process")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What the process needs: where the records and the rules in use are, and the draft, a text of YAML documents."""

    store: str
    rules: tuple[Path, ...]
    lists: Path | None
    known_kinds: tuple[str, ...]
    intervals: dict[str, TimeInterval]
    draft: str
    since: datetime


class Trials:
    """Tries drafts, one at a time. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = threading.Lock()

    def run(self, draft: str, since: datetime) -> Generator[TrialEvent, None, None]:
        """Yield the progress, and last the result or the refusal. Closing the iterator ends the process."""
        if not self._turn.acquire(timeout=TURN_SECONDS):
            yield TrialRefused([BUSY])
            return
        try:
            yield from _events(request_of(self._settings, draft, since))
        finally:
            self._turn.release()


def request_of(settings: Settings, draft: str, since: datetime) -> TrialRequest:
    """Return what the process needs for a draft on the records since a time."""
    return TrialRequest(
        store=settings.store.url,
        rules=tuple(settings.rules),
        lists=settings.lists,
        known_kinds=tuple(known_kinds(settings)),
        intervals=time_intervals(settings),
        draft=draft,
        since=since,
    )


def _events(request: TrialRequest) -> Iterator[TrialEvent]:
    event: TrialEvent = TrialProgress(0, request.since)
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,  # noqa: S603  # nosec B603
    ):
        assert process.stdin is not None  # noqa: S101  # nosec B101
        assert process.stdout is not None  # noqa: S101  # nosec B101
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin:  # it has ended already: its status says why
                # The process is of this program, and only this one writes to it.
                pickle.dump(request, process.stdin)
            for line in _lines(process.stdout.fileno()):
                event = event if line is None else msgspec.json.decode(line, type=TrialEvent)
                yield event
        finally:
            process.kill()
        if isinstance(event, TrialProgress):
            status = process.wait()
            errors.seek(max(errors.seek(0, os.SEEK_END) - _ERROR_BYTES, 0))
            log.error("trial_failed", status=status, error=errors.read().decode(errors="replace"))
            yield TrialRefused(
                ["the trial ended without a result: the log of the service has the cause (trial_failed)"]
            )


def _lines(descriptor: int) -> Iterator[bytes | None]:
    """Yield each line of a pipe; None after a time without one, so that the caller can stop."""
    poll, rest = select.poll(), b""
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(_LOOK_SECONDS * 1000):
            yield None
            continue
        found = os.read(descriptor, _READ_BYTES)
        if not found:
            return
        *lines, rest = (rest + found).split(b"\n")
        yield from lines
