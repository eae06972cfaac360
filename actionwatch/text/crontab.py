"""The schedule of a digest: a crontab line in local time. The options of notifiers and `delivery/gates.py` use it.

cronsim interprets a line as Debian's cron does: if both the day of the month and the weekday are set, one of them suffices,
unless one begins with `*`. A fixed time occurs once a day: if a change to daylight saving time skips it, it is due right after
the change, and if a change repeats it, only the first counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from cronsim import CronSim, CronSimError

_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")  # cronsim's names in errors
_SUNDAY_LAST = re.compile(
    r"(?<!sun)-sun\b", re.IGNORECASE
)  # a week may end with Sunday; cronsim reads the name as 0, not as 7
_EXAMPLE = 'write for example "0 8 * * mon-fri"'


@dataclass(frozen=True, slots=True)
class Crontab:
    """A recurring schedule."""

    text: str
    location: tzinfo = UTC

    def next_after(self, at: datetime) -> datetime:
        """Return the first time strictly after `at`, in UTC.

        Raises: StopIteration, if there is none, which `parse_crontab` excludes.
        """
        # In a repeated hour, cronsim may start with the first of the two times, which is in the past.
        times = (time.astimezone(UTC) for time in CronSim(self.text, at.astimezone(self.location)))
        return next(time for time in times if time > at)


def parse_crontab(text: str, location: tzinfo = UTC) -> Crontab:
    """Parse the five fields of a crontab line: minute, hour, day of the month, month, weekday.

    Raises: ValueError, with `what: remedy`.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):  # cronsim accepts a sixth field for seconds
        raise ValueError('not a crontab line: write five fields, such as "0 8 * * mon-fri"')
    fields[-1] = _SUNDAY_LAST.sub("-7", fields[-1])
    crontab = Crontab(" ".join(fields), location)
    try:
        crontab.next_after(datetime(2000, 1, 1, tzinfo=UTC))
    except StopIteration as exc:
        raise ValueError(f"this crontab line never matches: {_EXAMPLE}") from exc
    except (CronSimError, ValueError) as exc:  # ValueError: a number of thousands of digits
        name = str(exc).removeprefix("Bad ")
        what = f"{name} cannot be {fields[_FIELDS.index(name)]}" if name in _FIELDS else name
        raise ValueError(f"not a crontab line ({what}): {_EXAMPLE}") from exc
    return crontab
