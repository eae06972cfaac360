"""Faults of the log: coarse times, twins, and records that appear during a walk."""

from datetime import timedelta
from typing import Annotated, Literal

import msgspec

from actionwatch.emulator.faults.kinds import Play, Select
from actionwatch.emulator.log import FIRST_MS, LAST_MS, Arrival, LogPage, LogQuery, from_ms, to_ms
from actionwatch.emulator.state import Organisation

_WALKER = "between.pages@example.com"  # not a user of any scenario, so that tests can identify these records


class Appear(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entries that appear after a page of a walk, and where: before or after the offset, in the middle of the window, or
    now."""

    page: Annotated[int, msgspec.Meta(ge=1)] = 1
    place: Literal["before", "after", "inside", "now"] = "before"
    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    kind: str = "BACKUP"
    user: str = _WALKER
    description: str = "Appeared between two pages"


def double(arrival: Arrival, play: Play) -> list[Arrival]:
    """Log an action several times, as identical records."""
    return [arrival] * int(play.arg)


def coarsen(arrival: Arrival, play: Play) -> list[Arrival]:
    """Round the time of an action down, so that many have the same time."""
    unit = max(1, play.arg // timedelta(milliseconds=1))
    at = from_ms(to_ms(arrival.action.at) // unit * unit)
    return [Arrival(msgspec.structs.replace(arrival.action, at=at), arrival.visible_from)]


def appear(select: Select, organisation: Organisation, query: LogQuery, play: Play) -> LogPage:
    """Log records directly after a page of a walk, which starts at offset 0 of a window."""
    walk, script = (query.wanted, query.start, query.end), play.arg
    number = 1 if query.offset == 0 else play.memory.get(walk, 0) + 1
    play.memory[walk] = number
    page = select(organisation, query)
    if number == script.page and play.draw():
        at = from_ms(_place(script, page, query, to_ms(organisation.clock())))
        text = script.description
        organisation.append(script.kind, user_name=script.user, description=text, at=at, times=script.count)
    return page


def _place(script: Appear, page: LogPage, query: LogQuery, now: int) -> int:
    """Choose a time (ms) within the window. Of equal times, the latest arrival is the newest."""
    if script.place == "now":
        return now
    times = [to_ms(action.at) for action in page.actions] or [min(max(now, query.start), query.end)]
    if script.place == "inside":
        first = query.start if query.start != FIRST_MS else min(times)
        last = query.end if query.end != LAST_MS else max(times)
        return (first + last) // 2
    is_ascending = times[0] < times[-1]
    if script.place == "before":
        return max(query.start, times[0] - 1) if is_ascending else times[0]
    return times[-1] if is_ascending else max(query.start, times[-1] - 1)
