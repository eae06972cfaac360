"""Check whether `startTime` and `endTime` are applied, inclusive or exclusive, and with which resolution.

The checks put a bound on the instant of one record, then one unit after it and one before it. Their precision is that of the
times in the records: with whole seconds, no finer resolution can be found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from actionwatch.base.model import Record
from actionwatch.instaclustr.probe.client import ProbeClient
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fatal, fine, unsettled
from actionwatch.instaclustr.probe.sample import Sample, within

MILLISECOND, SECOND, MINUTE = timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1)
_SHOWN = (SECOND, 100 * MILLISECOND, 10 * MILLISECOND, MILLISECOND)  # possible resolutions of times
_DAY = _AHEAD = timedelta(days=1)
_MOST = 1000  # a day may have more records; then the record may not be found, and the finding is weaker
_LONG_AGO = datetime(1971, 1, 1, tzinfo=UTC)
_AROUND = timedelta(seconds=90)  # more than the coarsest unit that is recognised
_SIZE = 100  # with more records around one instant, the check is not possible
_HONOURED = "adjacent windows share a bound, so both are safe"
_CAUTION = "adjacent windows share a bound; a record near a bound proves nothing"
_UNPROVABLE = "windows do not match the times of their records, so none can be proved: check the form and zone of times"
_AMBIGUOUS = "the next unit after the only usable record starts a coarser unit too, so the check cannot tell them apart"


@dataclass(frozen=True, slots=True)
class _BoundTest:
    """A test record, and how to check whether a window contains it. `unit` is the resolution of times in records."""

    client: ProbeClient
    key: str
    at: datetime
    unit: timedelta

    def is_in(self, start: datetime, end: datetime) -> bool:
        """Return whether the upstream returns the record for a window."""
        return self.key in self.client.page(within(start, end), size=_SIZE).keys


def bounds(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Check both bounds, or report why this is not possible."""
    test = _choose(client, sample)
    if test is None:
        why = "no record has a readable time" if sample.records else "the log has no records"
        return [unsettled("bounds", why, _CAUTION)]
    if ignored := _ignored(client):
        says = "ignored: the upstream returns records from outside the window"
        means = "responses contain more than requested: a poll reads the whole log, and still proves the window"
        return [costly(name, says, means) for name in ignored]
    seen = client.page(within(test.at - _AROUND, test.at + _AROUND), size=_SIZE)
    if test.key not in seen.keys:
        if len(seen.records) >= _SIZE:
            return [unsettled("bounds", f"there are more than {_SIZE} records around each instant")]
        if test.key in client.page(within(_floor(test.at, _DAY), _next(test.at, _DAY)), size=_MOST).keys:
            says = "rounded to more than a minute: a record is only returned for its whole day"
            return [costly("bounds", says, _COARSE)]
        return [fatal("bounds", "a window around the time of a record does not return that record", _UNPROVABLE)]
    return [_start(test), _end(test)]


def _choose(client: ProbeClient, sample: Sample) -> _BoundTest | None:
    """Choose the most isolated record whose time shows to which unit a bound is rounded."""
    records = [record for record in sample.records if record.is_time_readable]
    times = sorted({record.occurred_at for record in records})
    if not times:
        return None
    gaps = {at: min((abs(other - at) for other in around), default=_AROUND) for at, around in _neighbours(times)}
    unit = next((unit for unit in _SHOWN if all(_floor(at, unit) == at for at in times)), MILLISECOND)
    units = pairwise(_units(unit))
    comparisons = [(rounded, finer, coarser) for finer, coarser in units for rounded in (_floor, _next)]

    def merit(record: Record) -> tuple[bool, bool, timedelta]:
        at = record.occurred_at
        is_clear = all(rounded(at, finer) != rounded(at, coarser) for rounded, finer, coarser in comparisons)
        return at.microsecond % 1000 == 0, is_clear, gaps[at]

    best = max(records, key=merit)
    return _BoundTest(client, best.key, best.occurred_at, unit)


def _neighbours(times: Sequence[datetime]) -> Iterator[tuple[datetime, list[datetime]]]:
    for place, at in enumerate(times):
        yield at, [*times[max(place - 1, 0) : place], *times[place + 1 : place + 2]]


def _ignored(client: ProbeClient) -> list[str]:
    """Request the future and the distant past: neither may return a record."""
    ahead = client.page(within(client.server_now() + _AHEAD, None), size=1)
    long_ago = client.page(within(None, _LONG_AGO), size=1)
    return ["startTime"] * bool(ahead.records) + ["endTime"] * bool(long_ago.records)


def _start(test: _BoundTest) -> ProbeFinding:
    """Check `startTime`. If a bound is rounded down, a record before it is still returned."""
    at, end = test.at, test.at + _AROUND
    if not test.is_in(_floor(at, MILLISECOND), end):
        if test.is_in(_floor(at, MILLISECOND) - test.unit, end):
            return _settled("startTime", "exclusive", test.unit, test)
        says = "a record is only returned well after the bound: it is rounded up, or stored times are finer"
        return unsettled("startTime", says)
    for unit in _units(test.unit):
        if not test.is_in(_next(at, unit), end):
            return _rounded("startTime", "inclusive", unit, test)
    means = "responses contain more than requested; actionwatch filters them"
    return costly("startTime", "ignored, or coarser than a minute", means)


def _end(test: _BoundTest) -> ProbeFinding:
    """Check `endTime`. If a bound is rounded down, a record before it is not returned."""
    at, start = test.at, test.at - _AROUND
    if test.is_in(start, _floor(at, MILLISECOND)):
        if test.is_in(start, _floor(at, MILLISECOND) - test.unit):
            says = "a record after the bound is returned: it is rounded up, or ignored"
            return costly("endTime", says, "actionwatch filters the responses")
        if test.unit < SECOND and not at.microsecond:
            says = "inclusive; a record at a whole second cannot show a finer resolution"
            return unsettled("endTime", says, _HONOURED)
        return _settled("endTime", "inclusive", test.unit, test)
    for unit in _units(test.unit):
        if test.is_in(start, _next(at, unit)):
            return _rounded("endTime", "exclusive", unit, test)
    return costly("endTime", "a record more than a minute before the bound is not returned", _COARSE)


_COARSE = "actionwatch requests whole units and proves the intended window: responses contain more than needed"


def _rounded(name: str, how: str, unit: timedelta, test: _BoundTest) -> ProbeFinding:
    """Report the unit of a bound that the checks found. `how` applies if it is the resolution of the records."""
    # In the last second of a minute, the next second is the next minute too.
    if any(_next(test.at, unit) == _next(test.at, coarser) for coarser in _units(unit) if coarser > unit):
        return unsettled(name, _AMBIGUOUS, _CAUTION)
    return _settled(name, how if unit == test.unit else "rounded down", unit, test)


def _settled(name: str, how: str, unit: timedelta, test: _BoundTest) -> ProbeFinding:
    if test.at.microsecond % 1000 and how != "rounded down":
        how = "inclusive or exclusive (times are finer than bounds can be)"
    says = f"{how}, {_resolution(unit)}"
    if unit > SECOND:
        return costly(name, says, _COARSE)
    if test.unit > MILLISECOND and unit == test.unit:
        says += ", the resolution of times in records"
    if how == "rounded down":
        return fine(name, says, "a record within a second of a bound proves nothing, and never counts as proof")
    return fine(name, says, _HONOURED)


def _resolution(unit: timedelta) -> str:
    if unit < SECOND:
        return "to the millisecond" if unit == MILLISECOND else f"to {unit // MILLISECOND} ms"
    return "to whole seconds" if unit == SECOND else "to whole minutes, or coarser"


def _floor(at: datetime, unit: timedelta) -> datetime:
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (at - midnight) // unit * unit


def _units(finest: timedelta) -> list[timedelta]:
    return list(dict.fromkeys((finest, SECOND, MINUTE)))


def _next(at: datetime, unit: timedelta) -> datetime:
    return _floor(at, unit) + unit
