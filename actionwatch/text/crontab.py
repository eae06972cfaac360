"""When a digest is due: a crontab expression on the wall clock of a place. Used by settings and by `delivery/gates.py`.

APScheduler counts weekdays from Monday, crontab from Sunday: numbers are turned into names before it sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # as crontab numbers them


@dataclass(frozen=True, slots=True)
class Crontab:
    """A schedule that comes round."""

    text: str
    location: tzinfo = UTC
    _trigger: Any = field(default=None, repr=False, compare=False)

    def next_after(self, at: datetime) -> datetime:
        """Give the first time strictly after one, in UTC."""
        following: datetime = self._trigger.get_next_fire_time(None, (at + timedelta(microseconds=1)).astimezone(UTC))
        return following.astimezone(UTC)


def parse_crontab(text: str, location: tzinfo = UTC) -> Crontab:
    """Read the five fields of a crontab line: minute, hour, day of the month, month, weekday.

    Raises: ValueError with `what: remedy`.
    """
    # APScheduler takes a while to import: only where there is a digest.
    from apscheduler.triggers.cron import CronTrigger

    fields = text.split()
    if len(fields) != 5:
        raise ValueError('not a crontab line: write five fields, such as "0 8 * * mon-fri"')
    try:
        minute, hour, day, month, weekday = fields
        names = {"minute": minute, "hour": hour, "day": day, "month": month, "day_of_week": _weekdays(weekday)}
        trigger = CronTrigger(**names, second=0, timezone=location)
        following = trigger.get_next_fire_time(None, datetime(2000, 1, 1, tzinfo=UTC))
    except (ValueError, TypeError) as exc:
        raise ValueError(f'not a crontab line ({exc}): write for example "0 8 * * mon-fri"') from exc
    if following is None:
        raise ValueError('this crontab line never comes round: write for example "0 8 * * mon-fri"')
    return Crontab(text, location, trigger)


def _weekdays(text: str) -> str:
    """Spell the weekday field as a list of names; `5-1` and `7` are understood, as crontab does."""
    days: list[str] = []
    for part in text.lower().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = ("0", "-", "6") if span == "*" else span.partition("-")
        begin, end = _weekday(first), _weekday(last if dash else first)
        if slash and not dash:
            end = 6
        length = (end - begin) % 7 + 1
        days += [WEEKDAYS[(begin + offset) % 7] for offset in range(0, length, int(step) if slash else 1)]
    return "*" if text == "*" else ",".join(dict.fromkeys(days))


def _weekday(text: str) -> int:
    if text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text) % 7
    raise ValueError(f"'{text}' is no weekday")
