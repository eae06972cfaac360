"""Faults of the log: order, late or duplicate entries, entries that appear during a walk or disappear."""

import zlib
from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import Annotated, Final, Literal

import msgspec

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults.kinds import Play, Select
from actionwatch.emulator.log import FIRST_MS, LAST_MS, Arrival, LogFilter, LogPage, LogQuery, from_ms, to_ms
from actionwatch.emulator.state import Organisation

_WALKER = "between.pages@example.com"  # not a user of any scenario, so that tests can identify these records

Rows = list[int]
TimeOf = Callable[[int], int]


class Late(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The delay of a record: a fixed duration, or a random one between two."""

    least: Duration
    most: Duration | None = None


class Vanish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries disappear, and at which age; without an age, at once."""

    age: Duration = Duration()
    kind: str | None = None
    user: str | None = None
    account: str | None = None
    cluster: str | None = None
    keyword: str | None = None


class Appear(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entries that appear after a page of a walk, and where: before or after the offset, in the middle of the window, or
    now."""

    page: Annotated[int, msgspec.Meta(ge=1)] = 1
    place: Literal["before", "after", "inside", "now"] = "before"
    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    kind: str = "BACKUP"
    user: str = _WALKER
    description: str = "Appeared between two pages"


# Order


def _ties_shuffled(rows: Rows, time_of: TimeOf, play: Play) -> Rows:
    groups = [list(group) for _, group in groupby(rows, time_of)]
    return [row for group in groups for row in play.chance.sample(group, len(group))]


ORDERS: Final[dict[str, Callable[[Rows, TimeOf, Play], Rows]]] = {
    "descending": lambda rows, _time, _play: rows,
    "ascending": lambda rows, _time, _play: rows[::-1],
    "shuffled": lambda rows, _time, play: sorted(rows, key=lambda row: zlib.crc32(f"{play.seed} {row}".encode())),
    "reshuffled": lambda rows, _time, play: play.chance.sample(rows, len(rows)),
    "ties": _ties_shuffled,
}


def order(_: Select, organisation: Organisation, query: LogQuery, play: Play) -> LogPage:
    return organisation.page(query, lambda rows, time_of: ORDERS[play.arg](rows, time_of, play))


# New records


def delay(arrival: Arrival, play: Play) -> list[Arrival]:
    late: Late = play.arg
    wait = late.least + play.chance.random() * ((late.most or late.least) - late.least)
    return [Arrival(arrival.action, to_ms(arrival.action.at + wait))]


def double(arrival: Arrival, play: Play) -> list[Arrival]:
    """Log an action several times, as identical records."""
    return [arrival] * int(play.arg)


def coarsen(arrival: Arrival, play: Play) -> list[Arrival]:
    """Round the time of an action down, so that many have the same time."""
    unit = max(1, play.arg // timedelta(milliseconds=1))
    at = from_ms(to_ms(arrival.action.at) // unit * unit)
    return [Arrival(msgspec.structs.replace(arrival.action, at=at), arrival.visible_from)]


def vanishing(vanish: Vanish) -> tuple[LogFilter, int]:
    """Return the filter and minimum age (ms) of entries that disappear."""
    wanted = LogFilter(
        kinds=None if vanish.kind is None else frozenset([vanish.kind]),
        user_name=vanish.user,
        account=vanish.account,
        cluster_id=vanish.cluster,
        keyword=vanish.keyword,
    )
    return wanted, vanish.age // timedelta(milliseconds=1)


# Records that appear during a walk


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
