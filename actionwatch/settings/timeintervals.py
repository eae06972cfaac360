"""The keys of `time_intervals`, in the format of Alertmanager, so that intervals can be copied."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from actionwatch.settings.validators import Word
from actionwatch.text.options import Options
from actionwatch.text.timeintervals import (
    Period,
    Range,
    TimeInterval,
    parse_days_of_month,
    parse_location,
    parse_minute,
    parse_months,
    parse_weekdays,
    parse_years,
)


def _after_start(end: int, info: ValidationInfo) -> int:
    if info.data.get("start_time", -1) >= end:
        raise ValueError("end_time must be after start_time: for a night, write two items, up to 24:00 and from 00:00")
    return end


def _range_text(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "integer"], "examples": [example]})


_Weekdays = Annotated[Range, BeforeValidator(parse_weekdays), _range_text("monday:friday")]
_DaysOfMonth = Annotated[Range, BeforeValidator(parse_days_of_month), _range_text("-3:-1")]
_Months = Annotated[Range, BeforeValidator(parse_months), _range_text("april:june")]
_Years = Annotated[Range, BeforeValidator(parse_years), _range_text("2026:2028")]
Location = Annotated[
    Any, BeforeValidator(parse_location), WithJsonSchema({"type": "string", "examples": ["Australia/Sydney"]})
]
_clock = WithJsonSchema({"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"})


class Times(Options):
    """A part of the day: the start is included, the end is not."""

    start_time: Annotated[int, BeforeValidator(parse_minute), _clock]
    """`'08:00'`: the start is included."""
    end_time: Annotated[int, BeforeValidator(parse_minute), AfterValidator(_after_start), _clock]
    """`'18:00'`: the end is not included; `'24:00'` is the end of a day."""


class PeriodOptions(Options):
    """A period: all given keys must match; of several ranges of one key, one must match."""

    times: tuple[Times, ...] = ()
    """`{start_time: '08:00', end_time: '18:00'}`: the start is included, the end is not; `'24:00'` is the end of a
    day. Default: all day.
    """
    weekdays: tuple[_Weekdays, ...] = ()
    """`'monday:friday'`, `'saturday'`. Default: all."""
    days_of_month: tuple[_DaysOfMonth, ...] = ()
    """`'1:5'`; negative numbers count from the end of the month: `'-3:-1'`. Default: all."""
    months: tuple[_Months, ...] = ()
    """`'april:june'`, `'4:6'`. Default: all."""
    years: tuple[_Years, ...] = ()
    """`'2026:2028'`. Default: all."""
    location: Location = UTC
    """An IANA time zone: `Australia/Sydney`."""

    @property
    def period(self) -> Period:
        """The period that times are compared with."""
        location: tzinfo = self.location
        return Period(
            times=tuple((times.start_time, times.end_time) for times in self.times),
            weekdays=self.weekdays,
            days_of_month=self.days_of_month,
            months=self.months,
            years=self.years,
            location=location,
        )


class TimeIntervalOptions(Options):
    """A named list of periods."""

    name: Word
    """The name in rules and routes. Unique."""
    time_intervals: Annotated[tuple[PeriodOptions, ...], Field(min_length=1)]
    """Periods, of which one must match."""

    @property
    def interval(self) -> TimeInterval:
        """The interval as rules and routes use it."""
        return TimeInterval(self.name, tuple(options.period for options in self.time_intervals))
