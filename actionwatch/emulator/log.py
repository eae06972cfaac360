"""Store actions in the order of arrival, with an index by time, and track when each is visible.

`state.py` is the only caller and holds the lock.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from actionwatch.emulator.catalogue import ORGANISATION, domain_type_of, operation_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MS, LAST_MS = -(2**62), 2**62  # the bounds of an unbounded window, within 64 bits
DEFAULT_PAGE_SIZE = 10
_CACHED_SELECTIONS = 4  # a walk requests the pages of one window; a few concurrent walks suffice

Arrange = Callable[[list[int], Callable[[int], int]], list[int]]  # rows newest first, the time of a row -> rows


@dataclass(frozen=True, slots=True)
class EntityRef:
    """An account or a cluster as a record names it."""

    id: str
    name: str


class Action(msgspec.Struct, frozen=True, gc=False):
    """One user action. A struct, because it takes little memory: a log may have a million of them."""

    kind: str
    at: datetime
    user_name: str
    description: str = ""
    account: EntityRef | None = None
    cluster: EntityRef | None = None
    gone_at: datetime | None = None  # when the entry disappeared; only shown by `/_emulator/truth`

    @property
    def domain_type(self) -> str:
        """What the action is about."""
        return domain_type_of(self.kind, has_cluster=self.cluster is not None)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """A filter for actions; None and False match all."""

    kinds: frozenset[str] | None = None
    operations: frozenset[str] | None = None
    account: str | None = None  # id or name
    cluster_id: str | None = None
    user_name: str | None = None
    keyword: str | None = None
    organisation_only: bool = False
    account_only: bool = False


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The bounds of a page: filter, window (ms, both bounds included), offset and limit."""

    wanted: LogFilter = LogFilter()
    start: int = FIRST_MS
    end: int = LAST_MS
    offset: int = 0
    limit: int = DEFAULT_PAGE_SIZE
    with_counts: bool = True


@dataclass(frozen=True, slots=True)
class LogPage:
    """One page of a selection, newest first, with the size of the selection and, on request, the counts per kind."""

    actions: list[Action]
    total: int
    counts: dict[str, int] | None
    rows: Sequence[int] = ()  # the arrival number of each action


def to_ms(moment: datetime) -> int:
    """Convert an aware time to milliseconds since the epoch, the resolution of the log."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """Convert milliseconds since the epoch to an aware UTC time, without floats."""
    return _EPOCH + timedelta(milliseconds=ms)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A new action, and from when (ms) it is visible; None: at once."""

    action: Action
    visible_from: int | None = None


ArrivalHook = Callable[[Arrival], Iterable[Arrival]]


@dataclass(slots=True)
class _Selection:
    """The rows of a query, oldest first. They stay valid while the window has the same size, because no row is ever removed."""

    window_size: int
    rows: "array[int]"
    counts: dict[str, int] | None = None


class ActionLog:
    """An append-only log. Rows are numbered by arrival and indexed by time. A row can appear late, and disappear."""

    def __init__(self) -> None:
        self._actions: list[Action] = []
        self._times = array("q")  # sorted; equal times in order of arrival
        self._rows = array("I")  # the row at each index of `_times`
        self._selections: OrderedDict[tuple[LogFilter, int, int], _Selection] = OrderedDict()
        self._arrivals = array("q")  # when each row arrived
        self._delays: dict[int, int] = {}  # row: visible from
        self._last_delay = 0
        self._gone: dict[int, int] = {}  # row: no longer visible from

    def __len__(self) -> int:
        return len(self._actions)

    def append(self, arrival: Arrival, now: int) -> None:
        """Add one action; an older one is a late record, visible only from now (ms) on."""
        row, ms = len(self._actions), to_ms(arrival.action.at)
        place = bisect_right(self._times, ms)
        self._times.insert(place, ms)
        self._rows.insert(place, row)
        self._actions.append(arrival.action)
        self._arrivals.append(now)
        if arrival.visible_from is not None:
            self._delays[row] = arrival.visible_from
            self._last_delay = max(self._last_delay, arrival.visible_from)

    def extend(self, actions: Iterable[Action], now: int) -> None:
        """Add many actions, visible from now (ms) on."""
        self._actions.extend(actions)
        self._arrivals.extend(array("q", [now]) * (len(self._actions) - len(self._arrivals)))
        times = [to_ms(action.at) for action in self._actions]
        order = sorted(range(len(times)), key=times.__getitem__)  # stable: equal times stay in order of arrival
        self._rows = array("I", order)
        self._times = array("q", map(times.__getitem__, order))

    def action(self, row: int) -> Action:
        """Return the action that arrived as number `row` (0 is the first), and when it disappeared."""
        if row not in self._gone:
            return self._actions[row]
        return msgspec.structs.replace(self._actions[row], gone_at=from_ms(self._gone[row]))

    def visible(self, at: int, start: int, end: int) -> list[Action]:
        """Return what was visible at a time in a window (ms, both bounds included), oldest first."""
        rows = self._select(LogFilter(), start, end).rows
        return [self.action(row) for row in rows if self._arrivals[row] <= at and self._is_visible(row, at)]

    def take_away(self, wanted: LogFilter, until: int, gone_at: Callable[[int, int], int | None]) -> None:
        """Remove rows up to `until` (ms). `gone_at` receives a row and its time; None: it stays."""
        for row in self._select(wanted, FIRST_MS, until).rows:
            if row not in self._gone and (at := gone_at(row, self._time_of(row))) is not None:
                self._gone[row] = at

    def page(self, query: LogQuery, now: int, arrange: Arrange | None = None) -> LogPage:
        """Return a page of the matching rows that are visible now (ms), newest first or as arranged."""
        selection = self._select(query.wanted, query.start, query.end)
        selected: Sequence[int] = selection.rows[::-1]
        counts: dict[str, int] | None = None
        if self._gone or self._last_delay > now:
            selected = [row for row in selected if self._is_visible(row, now)]
            counts = self._counts(selected) if query.with_counts else None
        elif query.with_counts:
            counts = selection.counts = selection.counts or self._counts(selected)
        if arrange is not None:
            selected = arrange(list(selected), self._time_of)
        rows = selected[query.offset : query.offset + query.limit]
        return LogPage([self._actions[row] for row in rows], len(selected), counts, rows)

    def _select(self, wanted: LogFilter, start: int, end: int) -> _Selection:
        """Find the rows of a query, and cache them for the next page."""
        low, high = bisect_left(self._times, start), bisect_right(self._times, end)
        key = (wanted, start, end)
        found = self._selections.get(key)
        if found is None or found.window_size != high - low:
            rows = self._rows[low:high]
            if wanted != LogFilter():
                rows = array("I", (row for row in rows if _is_wanted(wanted, self._actions[row])))
            found = self._selections[key] = _Selection(high - low, rows)
        self._selections.move_to_end(key)
        if len(self._selections) > _CACHED_SELECTIONS:
            self._selections.popitem(last=False)
        return found

    def _is_visible(self, row: int, at: int) -> bool:
        return self._delays.get(row, at) <= at < self._gone.get(row, at + 1)

    def _time_of(self, row: int) -> int:
        return to_ms(self._actions[row].at)

    def _counts(self, rows: Iterable[int]) -> dict[str, int]:
        return dict(sorted(Counter(self._actions[row].kind for row in rows).items()))


def _is_wanted(wanted: LogFilter, action: Action) -> bool:
    account, cluster = action.account, action.cluster
    is_organisation = action.domain_type == ORGANISATION
    return (
        (wanted.kinds is None or action.kind in wanted.kinds)
        and (wanted.operations is None or operation_of(action.kind) in wanted.operations)
        and wanted.user_name in (None, action.user_name)
        and (wanted.account is None or (account is not None and wanted.account in (account.id, account.name)))
        and (wanted.cluster_id is None or (cluster is not None and cluster.id == wanted.cluster_id))
        and (wanted.keyword is None or wanted.keyword.casefold() in action.description.casefold())
        and not (wanted.organisation_only and not is_organisation)
        and not (wanted.account_only and is_organisation)
    )
