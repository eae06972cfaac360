"""When a digest is due: a crontab line on the wall clock of a place. Used by the notifiers' options and by `delivery/gates.py`.

cronsim reads a line as Debian's cron does: with both a day of the month and a weekday, either is enough, unless one of them
begins with a star. A fixed time is due once a day: one that the clock skips is due as soon as the clock has been put forward,
and of one that comes twice the first counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from cronsim import CronSim, CronSimError

_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")  # cronsim's names in errors
_EXAMPLE = 'write for example "0 8 * * mon-fri"'


@dataclass(frozen=True, slots=True)
class Crontab:
    """A schedule that comes round."""

    text: str
    location: tzinfo = UTC

    def next_after(self, at: datetime) -> datetime:
        """Return the first time strictly after one, in UTC.

        Raises: StopIteration if there is none; `parse_crontab` makes sure that there is.
        """
        # In an hour that comes twice, cronsim may begin with the first of the two times, which is over.
        times = (time.astimezone(UTC) for time in CronSim(self.text, at.astimezone(self.location)))
        return next(time for time in times if time > at)


def parse_crontab(text: str, location: tzinfo = UTC) -> Crontab:
    """Read the five fields of a crontab line: minute, hour, day of the month, month, weekday.

    Raises: ValueError with `what: remedy`.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):  # cronsim takes a sixth one, for seconds
        raise ValueError('not a crontab line: write five fields, such as "0 8 * * mon-fri"')
    crontab = Crontab(text, location)
    try:
        crontab.next_after(datetime(2000, 1, 1, tzinfo=UTC))
    except StopIteration as exc:
        raise ValueError(f"this crontab line never comes round: {_EXAMPLE}") from exc
    except (CronSimError, ValueError) as exc:  # ValueError: a number of thousands of digits
        name = str(exc).removeprefix("Bad ")
        what = f"{name} cannot be {fields[_FIELDS.index(name)]}" if name in _FIELDS else name
        raise ValueError(f"not a crontab line ({what}): {_EXAMPLE}") from exc
    return crontab
