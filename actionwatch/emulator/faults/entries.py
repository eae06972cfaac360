"""Faults of the log: late entries, entries that disappear, the order, and wrong totals."""

import zlib
from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import Final

import msgspec

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults.kinds import Play, Select
from actionwatch.emulator.log import Arrival, LogFilter, LogPage, LogQuery, to_ms
from actionwatch.emulator.state import Organisation
from actionwatch.emulator.wire import Json

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


def delay(arrival: Arrival, play: Play) -> list[Arrival]:
    late: Late = play.arg
    wait = late.least + play.chance.random() * ((late.most or late.least) - late.least)
    return [Arrival(arrival.action, to_ms(arrival.action.at + wait))]


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


TOTALS: Final[dict[str, Callable[[int, LogPage], object]]] = {
    "null": lambda _total, _page: None,
    "string": lambda total, _: str(total),
    "zero": lambda _total, _page: 0,
    "more": lambda total, _: total + 1,
    "fewer": lambda total, _: max(0, total - 1),
    "page": lambda _, page: len(page.actions),
}
ABSENT: Final = "absent"


def total(envelope: Json, page: LogPage, form: str) -> Json:
    """Change or remove the total of a page."""
    if form == ABSENT:
        return {name: value for name, value in envelope.items() if name != "totalResults"}
    return {**envelope, "totalResults": TOTALS[form](page.total, page)}
