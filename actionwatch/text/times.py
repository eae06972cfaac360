"""Spell times for people: in their time zone, always with its name. Files and `-o json` have UTC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo

from actionwatch.base.clock import utc_now
from actionwatch.base.durations import spell_duration

DATE_AND_TIME = "%Y-%m-%d %H:%M:%S"
_INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def spell_time(at: datetime, zone: tzinfo | None = None, form: str = DATE_AND_TIME) -> str:
    """Spell a time in a zone, with its name: `2026-11-25 20:00:43 AEDT`. Without a zone, in the zone of this machine."""
    local = at.astimezone(zone)
    return f"{local.strftime(form)} {_zone_name(local)}"


def spell_utc(at: datetime) -> str:
    """Spell a time in UTC."""
    return spell_time(at, UTC)


def spell_both(at: datetime, zone: tzinfo) -> str:
    """Spell a time in a zone and in UTC: `2026-11-25 20:00:43 AEDT (09:00:43 UTC)`; once if the zone is UTC."""
    local, utc = at.astimezone(zone), at.astimezone(UTC)
    spelled = spell_time(at, zone)
    if _zone_name(local) == "UTC":
        return spelled
    return f"{spelled} ({utc.strftime('%H:%M:%S' if local.date() == utc.date() else DATE_AND_TIME)} UTC)"


def spell_ago(at: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago something was: `3m12s ago`; `never` for None."""
    if at is None:
        return "never"
    span = (now or utc_now()) - at
    return f"{spell_duration(span)} ago" if span >= timedelta(0) else f"in {spell_duration(-span)}"


def local_times(text: str) -> str:
    """Spell every instant in a text, such as `2026-11-25T09:00:43.500Z`, in the zone of this machine. Stored texts have UTC."""
    return _INSTANT.sub(_local, text)


def common_zone(times: Iterable[datetime]) -> str:
    """Return the name of the local zone of all these times; nothing if they differ, as around a change to summer time."""
    names = {_zone_name(at.astimezone()) for at in times}
    return names.pop() if len(names) == 1 else ""


def _local(found: re.Match[str]) -> str:
    try:
        at = datetime.fromisoformat(found[0])
        return spell_time(at, form=f"{DATE_AND_TIME}{(found[1] or '').rstrip('.0')}")
    except (ValueError, OverflowError):  # no such day, or not in this zone
        return found[0]


def _zone_name(at: datetime) -> str:
    """Name the zone of a time; many zones have only an offset as their name, such as `-03`."""
    name = at.tzname() or ""
    return name if name[:1].isalpha() else f"UTC{name}"
