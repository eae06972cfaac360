"""Try a draft of rules on the stored records, for the console: run `rules backtest --summary` in a process with limits.

No thread waits for it. The process ends with the request, and with the service (`limited.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec
import structlog

from actionwatch.rules.trial import TrialEvent, TrialProgress, TrialRefused
from actionwatch.service.limited import LONGEST_SECONDS, MAX_BYTES

BUSY = "another draft is being tried: wait until it has ended, and send this one again"
DRAFT = "draft"
"""The file name of the draft in the location of a fault, without its ending."""
MAX_TIME = "30s"  # then the result covers the records so far: the listener ends a request after 60 s
TURN_SECONDS = 2.0  # a trial whose request has just ended, as by a double click, ends within this time
_LOOK_SECONDS = 0.5  # how soon the end of a request is noticed while the process is silent
_MAX_LINE_BYTES = 8 * 1024 * 1024
_MAX_ERROR_BYTES = 20_000  # of what the command prints to stderr
_COMMAND = (sys.executable, "-P", "-m", "actionwatch.service.limited")
_FAILED = "the trial ended without a result: the log of the service has the cause (trial_failed)"

log = structlog.get_logger()


class Trials:
    """Tries drafts, one at a time, with the rules and the store of a configuration file."""

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._turn = asyncio.Lock()

    async def run(self, draft: str, since: datetime) -> AsyncGenerator[TrialEvent, None]:
        """Yield the progress, and last the result or the refusal. Closing the iterator ends the process."""
        if self._config is None:
            yield TrialRefused(["this service has no configuration file, which a trial reads"])
            return
        try:
            await asyncio.wait_for(self._turn.acquire(), TURN_SECONDS)
        except TimeoutError:
            yield TrialRefused([BUSY])
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, f"{DRAFT}.yml").write_text(draft, encoding="utf-8", errors="replace")
                async with contextlib.aclosing(_events(self._config.resolve(), Path(folder), since)) as events:
                    async for event in events:
                        yield event
        finally:
            self._turn.release()


async def _events(config: Path, folder: Path, since: datetime) -> AsyncGenerator[TrialEvent, None]:
    event: TrialEvent = TrialProgress(0, since)
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            str(os.getpid()),
            *_arguments(config, since),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_MAX_LINE_BYTES,
        )
        try:
            assert process.stdout is not None  # noqa: S101  # nosec B101
            async with contextlib.aclosing(_lines(process.stdout)) as lines:
                async for line in lines:
                    event = event if line is None else msgspec.json.decode(line, type=TrialEvent)
                    yield event
            status = await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # it closes the pipe
        if isinstance(event, TrialProgress):
            yield TrialRefused(_faults(status, errors))


def _arguments(config: Path, since: datetime) -> Sequence[str]:
    backtest = ("rules", "backtest", f"{DRAFT}.yml", "--with-configured", "--since", since.isoformat())
    return ("-c", str(config), *backtest, "--max-time", MAX_TIME, "--summary", "-o", "jsonl")


async def _lines(output: asyncio.StreamReader) -> AsyncGenerator[bytes | None, None]:
    """Yield each line; None after a time without one, so that the caller can stop."""
    waiting = asyncio.ensure_future(output.readline())
    try:
        while True:
            done, _ = await asyncio.wait([waiting], timeout=_LOOK_SECONDS)
            if not done:
                yield None
                continue
            if not (line := waiting.result()):
                return
            yield line
            waiting = asyncio.ensure_future(output.readline())
    finally:
        waiting.cancel()


def _faults(status: int, errors: IO[bytes]) -> list[str]:
    """Return why a command had no result: what it printed, or which limit ended it."""
    errors.seek(max(errors.seek(0, os.SEEK_END) - _MAX_ERROR_BYTES, 0))
    printed = errors.read().decode(errors="replace")
    if "MemoryError" in printed:
        limit = MAX_BYTES // (1024 * 1024)
        return [f"the trial needs more than {limit} MiB of memory: choose a shorter time, or narrow the rule"]
    if status == -signal.SIGALRM:
        return [f"the trial takes more than {LONGEST_SECONDS} seconds: choose a shorter time, or narrow the rule"]
    if status in (1, 2) and printed and "Traceback" not in printed:
        return [line.removeprefix("actionwatch: ") for line in printed.splitlines()]
    log.error("trial_failed", status=status, error=printed[-2000:])
    return [_FAILED]
