"""Sort any number of records in constant memory: sorted runs go to a temporary file and are merged when they are read."""

from __future__ import annotations

import heapq
import pickle  # nosec B403
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Self

import msgspec

from actionwatch.base.model import Record
from actionwatch.instaclustr.identity import twin_key

RUN = 20_000  # records sorted at once: about 30 MiB
_ORDER = attrgetter("occurred_at", "key", "source")
_FRAME = 200  # records written at once; a merge holds one frame of each run


class Spool:
    """Accept records in any order and iterate over them in event order, repeatedly. Equal records become twins.

    Use it as a context manager. The file has no name, so other processes cannot open it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first_at: datetime | None = None
        self.last_at: datetime | None = None
        self._run: list[Record] = []
        self._runs: list[tuple[int, int]] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  open for as long as the spool is

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, records: Iterable[Record]) -> None:
        """Add records."""
        for record in records:
            at = record.occurred_at
            self.count += 1
            self.first_at = at if self.first_at is None else min(self.first_at, at)
            self.last_at = at if self.last_at is None else max(self.last_at, at)
            self._run.append(record)
            if len(self._run) >= RUN:
                self._end_run()

    def __iter__(self) -> Iterator[Record]:
        """Yield all records by time and key."""
        runs = [*(self._read_run(start, end) for start, end in self._runs), iter(sorted(self._run, key=_ORDER))]
        for _, same in groupby(heapq.merge(*runs, key=_ORDER), key=_ORDER):
            for ordinal, record in enumerate(same):
                yield msgspec.structs.replace(record, key=twin_key(record.key, ordinal)) if ordinal else record

    def _end_run(self) -> None:
        """Write a run, sorted, at the end of the file."""
        start = self._file.seek(0, 2)
        run = sorted(self._run, key=_ORDER)
        for place in range(0, len(run), _FRAME):
            # Not JSON: the upstream may send text that no encoding accepts, such as lone surrogates.
            pickle.dump(run[place : place + _FRAME], self._file, pickle.HIGHEST_PROTOCOL)
        self._runs.append((start, self._file.tell()))
        self._run = []

    def _read_run(self, start: int, end: int) -> Iterator[Record]:
        while start < end:
            self._file.seek(start)
            # Only this process can write the file, because it has no name.
            frame: list[Record] = pickle.load(self._file)  # noqa: S301  # nosec B301
            start = self._file.tell()
            yield from frame
