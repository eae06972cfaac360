"""Whether `startTime` and `endTime` are honoured, inclusive or exclusive, and how finely: asked around one seen record.

A bound is put on the instant of the record, then one unit beyond and one before it. What is found rests on times as they are
shown: where those are whole seconds, nothing finer can be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from actionwatch.base.model import Record
from actionwatch.instaclustr.probe.client import ProbeClient
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fatal, fine, unsettled
from actionwatch.instaclustr.probe.sample import Sample, within

MILLISECOND, SECOND, MINUTE = timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1)
SHOWN = (SECOND, 100 * MILLISECOND, 10 * MILLISECOND, MILLISECOND)  # how finely times may be written
DAY = AHEAD = timedelta(days=1)
MOST = 1000  # a day may hold more; then the record is not found, and nothing is claimed
LONG_AGO = datetime(1971, 1, 1, tzinfo=UTC)
AROUND = timedelta(seconds=90)  # more than the coarsest unit that is told apart
SIZE = 100  # more records than this around one instant, and another has to do
HONOURED = "windows side by side share an edge, so it does not matter which"


@dataclass(frozen=True, slots=True)
class BoundTest:
    """A record, and the means to see whether a window brings it. `unit` is how finely times are shown."""

    asker: ProbeClient
    key: str
    at: datetime
    unit: timedelta

    def is_in(self, start: datetime, end: datetime) -> bool:
        """Ask whether a window brings the record."""
        return self.key in self.asker.page(within(start, end), size=SIZE).keys


def bounds(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Settle both bounds, or say why they cannot be."""
    spot = _choose(asker, sample)
    if spot is None:
        why = "no record has a time that can be read" if sample.records else "the log shows no records"
        return [unsettled("bounds", why, "windows side by side share an edge; presence near a bound proves nothing")]
    ignored = _ignored(asker)
    if ignored:
        means = (
            "every answer holds more than was asked for: a poll costs as much as the log is long, and proves no less"
        )
        return [costly(name, "ignored: records from outside the window come", means) for name in ignored]
    seen = asker.page(within(spot.at - AROUND, spot.at + AROUND), size=SIZE)
    if spot.key not in seen.keys:
        if len(seen.records) >= SIZE:
            return [unsettled("bounds", f"more than {SIZE} records stand around every one that could be asked for")]
        if spot.key in asker.page(within(_floor(spot.at, DAY), _next(spot.at, DAY)), size=MOST).keys:
            return [costly("bounds", "cut coarser than to minutes: a record comes within its whole day alone", COARSE)]
        means = (
            "windows do not hold what their records' times say, so none can be proved: see the time form and its zone"
        )
        return [fatal("bounds", "a window around a record's time does not bring that record", means)]
    return [_start(spot), _end(spot)]


def _choose(asker: ProbeClient, sample: Sample) -> BoundTest | None:
    """Choose the record that stands most alone, and whose time no coarser bound would hit by chance."""
    records = [record for record in sample.records if record.is_time_readable]
    times = sorted({record.occurred_at for record in records})
    if not times:
        return None
    gaps = {at: min((abs(other - at) for other in around), default=AROUND) for at, around in _neighbours(times)}

    def merit(record: Record) -> tuple[bool, bool, timedelta]:
        at = record.occurred_at
        return at.microsecond % 1000 == 0, at.microsecond // 1000 != 0 and at.second != 0, gaps[at]

    best = max(records, key=merit)
    unit = next((unit for unit in SHOWN if all(_floor(at, unit) == at for at in times)), MILLISECOND)
    return BoundTest(asker, best.key, best.occurred_at, unit)


def _neighbours(times: Sequence[datetime]) -> Iterator[tuple[datetime, list[datetime]]]:
    for place, at in enumerate(times):
        yield at, [*times[max(place - 1, 0) : place], *times[place + 1 : place + 2]]


def _ignored(asker: ProbeClient) -> list[str]:
    """Ask for what is still to come and for what was long ago: neither may bring anything."""
    ahead = asker.page(within(asker.server_now() + AHEAD, None), size=1)
    long_ago = asker.page(within(None, LONG_AGO), size=1)
    return ["startTime"] * bool(ahead.records) + ["endTime"] * bool(long_ago.records)


def _start(spot: BoundTest) -> ProbeFinding:
    """Settle `startTime`: a bound cut down to a coarser unit still brings a record that lies before it."""
    at, end = spot.at, spot.at + AROUND
    if not spot.is_in(_floor(at, MILLISECOND), end):
        if spot.is_in(_floor(at, MILLISECOND) - spot.unit, end):
            return _settled("startTime", "exclusive", spot.unit, spot)
        return unsettled(
            "startTime", "a record appears only well after the bound: it is rounded up, or times are kept finer"
        )
    for unit in dict.fromkeys((spot.unit, SECOND, MINUTE)):
        if not spot.is_in(_next(at, unit), end):
            how = "inclusive" if unit == spot.unit else "cut down"
            return _settled("startTime", how, unit, spot)
    return costly(
        "startTime", "ignored, or coarser than a minute", "answers hold more than was asked for; they are filtered here"
    )


def _end(spot: BoundTest) -> ProbeFinding:
    """Settle `endTime`: a bound cut down to a coarser unit does not bring a record that lies before it."""
    at, start = spot.at, spot.at - AROUND
    if spot.is_in(start, _floor(at, MILLISECOND)):
        if spot.is_in(start, _floor(at, MILLISECOND) - spot.unit):
            return costly(
                "endTime", "a record comes from after the bound: it is rounded up, or ignored", "filtered here"
            )
        if spot.unit < SECOND and not at.microsecond:
            return unsettled(
                "endTime", "inclusive; a record on a whole second does not show whether it is finer", HONOURED
            )
        return _settled("endTime", "inclusive", spot.unit, spot)
    for unit in dict.fromkeys((spot.unit, SECOND, MINUTE)):
        if spot.is_in(start, _next(at, unit)):
            how = "exclusive" if unit == spot.unit else "cut down"
            return _settled("endTime", how, unit, spot)
    return costly("endTime", "a record does not come although it lies more than a minute before the bound", COARSE)


COARSE = "windows are asked in whole units for it and proved as they were meant: answers hold more than is needed"


def _settled(name: str, how: str, unit: timedelta, spot: BoundTest) -> ProbeFinding:
    if spot.at.microsecond % 1000 and how != "cut down":
        how = "inclusive or exclusive (times are finer than bounds can be)"
    says = f"{how}, {_resolution(unit)}"
    if unit > SECOND:
        return costly(name, says, COARSE)
    if spot.unit > MILLISECOND and unit == spot.unit:
        says += ", as finely as times are written"
    if how == "cut down":
        return fine(name, says, "presence within a second of a bound proves nothing, and is never taken for proof")
    return fine(name, says, HONOURED)


def _resolution(unit: timedelta) -> str:
    if unit < SECOND:
        return "to the millisecond" if unit == MILLISECOND else f"to {unit // MILLISECOND} ms"
    return "to whole seconds" if unit == SECOND else "to whole minutes, or coarser"


def _floor(at: datetime, unit: timedelta) -> datetime:
    """Round a time down."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (at - midnight) // unit * unit


def _next(at: datetime, unit: timedelta) -> datetime:
    """Return the first whole unit after a time."""
    return _floor(at, unit) + unit
