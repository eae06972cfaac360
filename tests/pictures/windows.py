"""Which windows the polls and sweeps ask for: the requests of a real tail with the default settings, in simulated time."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from actionwatch.base.durations import spell_duration
from actionwatch.net.http_response import HttpResponse
from actionwatch.settings.keys import Source
from actionwatch.store.database import Database
from tests.pictures.svg import document, line, rect, text
from tests.upstreams import DirectClient, World, self_watch, tail_of

BEGINS = timedelta(days=9)
STEP = timedelta(minutes=6)  # of simulated time between two polls: a tenth of the shortest sweep
LEARNED = 4  # the first polls read the backlog, and learn the unit of bounds
WIDTH, LEFT, RIGHT, TOP, ROW = 960, 196, 16, 88, 40
OVERLAP: timedelta = Source.model_fields["overlap"].default
SWEEPS: tuple[timedelta, ...] = Source.model_fields["sweeps"].default
EDGES = [timedelta(0), *itertools.accumulate((OVERLAP, *SWEEPS))]  # the ages between the windows
DESCRIPTION = (
    "Each row is one poll. A poll reads or counts the last 15 minutes before the newest record. Every 6 minutes a poll also "
    "counts the hour before that, every 36 minutes the 6 hours before, every 2 hours 24 minutes the 24 hours before, and every "
    "16 hours 48 minutes the 7 days before. The windows touch each other without a gap. Once in each reach, a window is read "
    "instead of counted."
)


class Asking(DirectClient):
    """A client that notes each window and whether its records were requested, or only its counts."""

    asked: list[tuple[datetime, datetime, bool]]

    def _exchange(self, path: str, params: list[tuple[str, str]]) -> HttpResponse:
        values = dict(params)
        start, end = (datetime.fromtimestamp(int(values[name]) / 1000, UTC) for name in ("startTime", "endTime"))
        self.asked.append((start, end, int(values["pageSize"]) > 1))
        return super()._exchange(path, params)


def draw() -> str:
    """Return the picture."""
    rows = list(_rows())
    return document("The windows of polls and sweeps", DESCRIPTION, WIDTH, TOP + ROW * len(rows) + 76, _parts(rows))


def _rows() -> Iterator[list[tuple[timedelta, timedelta, bool]]]:
    """Return the windows of the first polls that run no sweep, the first, two, three and all, as ages; oldest window last."""
    world = World()
    defaults = {name: Source.model_fields[name].default for name in ("overlap", "sweeps")}
    for hours in range(int(BEGINS / timedelta(hours=1))):
        world.log(ago=3600 * hours + 7)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'store.db'}")
        database.upgrade()
        client = Asking(world.emulator, world.clock)
        tail = tail_of(
            database,
            client,
            world.clock,
            self_watch(database, client, world.clock),
            start=BEGINS,
            page_size=1000,
            **defaults,
        )
        seen: set[int] = set()
        polls = [STEP] * LEARNED + [STEP / 2] * 2 + [STEP] * int(max(defaults["sweeps"]) / 10 / STEP + 1)
        for number, pause in enumerate(polls):
            world.clock.advance(seconds=pause.total_seconds())
            world.log(ago=5)
            client.asked = []
            report = tail.run_once()
            assert report.error is None, report
            windows = _joined(client.asked, world.clock())
            if number >= LEARNED and len(windows) not in seen:
                seen.add(len(windows))
                yield windows
        database.close()


def _joined(asked: Sequence[tuple[datetime, datetime, bool]], now: datetime) -> list[tuple[timedelta, timedelta, bool]]:
    """Return the windows as ages, the newest first; the parts of one sweep are one window."""
    found: list[tuple[timedelta, timedelta, bool]] = []
    for start, end, is_read in sorted(asked, reverse=True):
        window = (now - end, now - start, is_read)
        if found and found[-1][0] > EDGES[-2] - timedelta(hours=1):
            window = (found.pop()[0], window[1], is_read)
        found.append(window)
    return found


def _parts(rows: Sequence[Sequence[tuple[timedelta, timedelta, bool]]]) -> Iterator[str]:
    bottom = TOP + ROW * len(rows)
    yield text(16, 30, "What a poll requests", size=16, weight=600)
    yield text(16, 50, "by the time of the records", "quiet", size=12)
    for age in EDGES:
        x, name = _x(age), f"-{spell_duration(age)}" if age else "now"
        yield line(x, TOP - 14, x, bottom, dashes="2 4")
        yield text(
            x,
            TOP - 22,
            name,
            "quiet",
            size=12,
            anchor="middle" if age and age != EDGES[-1] else "end" if not age else "start",
        )
    names = ["each poll", *(f"every {spell_duration(reach / 10)}" for reach in SWEEPS)]
    for number, (windows, name) in enumerate(zip(sorted(rows, key=len), names, strict=True)):
        y = TOP + ROW * number
        yield text(16, y + 24, name, size=13, weight=600)
        for end, start, is_read in windows:
            left, right = _x(start), _x(max(end, timedelta(0)))
            yield rect(
                left + 1,
                y + 8,
                max(right - left - 2, 3),
                ROW - 16,
                "blue" if is_read else "green",
                radius=3,
                line="ground",
            )
    yield from _legend(bottom + 22)


def _legend(y: float) -> Iterator[str]:
    read = "read: the keys of all records are compared"
    counted = "counted: compared kind by kind. Read if a count differs, and anyway once in each reach"
    for number, (colour, meaning) in enumerate((("blue", read), ("green", counted))):
        yield rect(LEFT, y + 22 * number, 14, 14, colour, radius=3)
        yield text(LEFT + 22, y + 22 * number + 12, meaning, "quiet", size=12)


def _x(age: timedelta) -> float:
    """Return where an age is, with now at the right. Between two edges the scale is linear; each has the same length."""
    length = (WIDTH - LEFT - RIGHT) / (len(EDGES) - 1)
    for number, (start, end) in enumerate(itertools.pairwise(EDGES)):
        if age <= end:
            return WIDTH - RIGHT - length * (number + (age - start) / (end - start))
    return float(LEFT)
