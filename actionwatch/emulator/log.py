"""Store actions in columns, and find windows, counts and pages by bisection.

A million actions take about 50 MB: each value is a code in an array, in the order of arrival, with one index by time.
`state.py` is the only caller and holds the lock.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Generic, TypeVar

import msgspec

from actionwatch.emulator.catalogue import ORGANISATION, domain_type_of, operation_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MS, LAST_MS = -(2**62), 2**62  # the bounds of an unbounded window, within 64 bits
DEFAULT_PAGE_SIZE = 10
_CACHED_SELECTIONS = 4  # a walk requests the pages of one window; a few concurrent walks suffice

T = TypeVar("T", bound=Hashable)
Arrange = Callable[[list[int], Callable[[int], int]], list[int]]  # rows newest first, the time of a row -> rows


@dataclass(frozen=True, slots=True)
class EntityRef:
    """An account or a cluster as a record names it."""

    id: str
    name: str


class Action(msgspec.Struct, frozen=True):
    """One user action. A struct, because a page creates a thousand of them."""

    kind: str
    at: datetime
    user_name: str
    description: str = ""
    account: EntityRef | None = None
    cluster: EntityRef | None = None
    domain_type: str = ""  # empty: determined by the kind
    gone_at: datetime | None = None  # when the entry disappeared; only shown by `/_emulator/truth`

    def with_domain_type(self) -> str:
        """Return the domain type, by default that of the kind."""
        return self.domain_type or domain_type_of(self.kind, has_cluster=self.cluster is not None)


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
    """What a page shows: filter, window (ms, both bounds included), offset and limit."""

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
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """Convert milliseconds since the epoch to an aware UTC time, without floats."""
    return EPOCH + timedelta(milliseconds=ms)


class Interner(Generic[T]):
    """Assigns a small number to each distinct value, so that a column can be an array."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._codes: dict[T, int] = {}

    def code(self, value: T) -> int:
        code = self._codes.get(value)
        if code is None:
            code = self._codes[value] = len(self.values)
            self.values.append(value)
        return code

    def mask(self, is_wanted: Callable[[T], bool]) -> bytearray:
        """Return one byte per number: 1 if the value is wanted."""
        return bytearray(is_wanted(value) for value in self.values)


class ActionLog:
    """An append-only log. Rows are numbered by arrival and indexed by time."""

    def __init__(self) -> None:
        self._classes: Interner[tuple[str, str]] = Interner()  # (kind, domain type), the key of counts
        self._users: Interner[str] = Interner()
        self._accounts: Interner[EntityRef | None] = Interner()
        self._clusters: Interner[EntityRef | None] = Interner()
        self._descriptions: Interner[str] = Interner()
        self._row_times = array("q")
        self._row_codes = tuple(array("I") for _ in range(5))  # class, user, account, cluster, description
        self._times = array("q")  # sorted; equal times in order of arrival
        self._rows = array("I")  # the row at each index of `_times`
        self._class_times: list[array[int]] = []  # per class, sorted
        self._selections: OrderedDict[tuple[LogFilter, int, int], tuple[int, array[int]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._row_times)

    def append(self, action: Action) -> None:
        """Add one action; an older one is a late record, visible only from now on."""
        ms = to_ms(action.at)
        row = len(self._row_times)
        self._row_times.append(ms)
        for column, code in zip(self._row_codes, self._codes_of(action), strict=True):
            column.append(code)
        place = len(self._times) if not self._times or ms >= self._times[-1] else bisect_right(self._times, ms)
        self._times.insert(place, ms)
        self._rows.insert(place, row)
        of_class = self._class_times[self._row_codes[0][row]]
        of_class.insert(bisect_right(of_class, ms), ms)

    def extend_cycled(self, times: "array[int]", prototypes: Sequence[Action]) -> None:
        """Add one action per time (ms), in bulk, from the prototypes in turn; their own times are ignored."""
        start, count = len(self._row_times), len(times)
        self._row_times.extend(times)
        for column, codes in zip(self._row_codes, zip(*map(self._codes_of, prototypes), strict=True), strict=True):
            column.extend((array("I", codes) * (count // len(codes) + 1))[:count])
        for code, ms in zip(self._row_codes[0][start:], times, strict=True):
            self._class_times[code].append(ms)
        self._reorder()

    def action(self, row: int) -> Action:
        """Return the action that arrived as number `row` (0 is the first)."""
        classes, users, accounts, clusters, descriptions = self._row_codes
        kind, domain_type = self._classes.values[classes[row]]
        return Action(
            kind,
            from_ms(self._row_times[row]),
            self._users.values[users[row]],
            self._descriptions.values[descriptions[row]],
            self._accounts.values[accounts[row]],
            self._clusters.values[clusters[row]],
            domain_type,
        )

    def time_of(self, row: int) -> int:
        return self._row_times[row]

    def rows(self, wanted: LogFilter, start: int, end: int) -> "array[int]":
        """Return the matching rows between two times (ms, both included), oldest first."""
        low, high = bisect_left(self._times, start), bisect_right(self._times, end)
        window = self._rows[low:high]
        return window if wanted == LogFilter() else self._selected(wanted, start, end, window)

    def page(
        self, query: LogQuery, is_visible: Callable[[int], bool] | None = None, arrange: Arrange | None = None
    ) -> LogPage:
        """Return a page of the matching rows that are visible, newest first or as arranged."""
        selected: Sequence[int] = self.rows(query.wanted, query.start, query.end)[::-1]
        if is_visible is not None:
            selected = [row for row in selected if is_visible(row)]
        if arrange is not None:
            selected = arrange(list(selected), self.time_of)
        rows = selected[query.offset : query.offset + query.limit]
        counts: dict[str, int] | None = None
        if query.with_counts:
            is_window = query.wanted == LogFilter() and is_visible is None
            counts = self._class_counts(query.start, query.end) if is_window else self._row_counts(selected)
        return LogPage([self.action(row) for row in rows], len(selected), counts, rows)

    def _codes_of(self, action: Action) -> tuple[int, int, int, int, int]:
        of_class = self._classes.code((action.kind, action.with_domain_type()))
        if of_class == len(self._class_times):
            self._class_times.append(array("q"))
        return (
            of_class,
            self._users.code(action.user_name),
            self._accounts.code(action.account),
            self._clusters.code(action.cluster),
            self._descriptions.code(action.description),
        )

    def _reorder(self) -> None:
        order = sorted(
            range(len(self._row_times)), key=self._row_times.__getitem__
        )  # stable: equal times stay in order of arrival
        self._rows = array("I", order)
        self._times = array("q", map(self._row_times.__getitem__, order))
        self._class_times = [array("q", sorted(times)) for times in self._class_times]

    def _class_counts(self, start: int, end: int) -> dict[str, int]:
        """Count with two bisections per class, independent of the size of the window."""
        counts: Counter[str] = Counter()
        for (kind, _), times in zip(self._classes.values, self._class_times, strict=True):
            counts[kind] += bisect_right(times, end) - bisect_left(times, start)
        return {kind: count for kind, count in sorted(counts.items()) if count > 0}

    def _row_counts(self, rows: Sequence[int]) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for of_class, count in Counter(map(self._row_codes[0].__getitem__, rows)).items():
            counts[self._classes.values[of_class][0]] += count
        return dict(sorted(counts.items()))

    def _selected(self, wanted: LogFilter, start: int, end: int, window: "array[int]") -> "array[int]":
        """Filter a window column by column in C, and cache the result for the next page.

        Rows are never removed, so a window with the same number of rows has the same rows.
        """
        key = (wanted, start, end)
        if (kept := self._selections.get(key)) is not None and kept[0] == len(window):
            self._selections.move_to_end(key)
            return kept[1]
        rows: array[int] = window
        for number, mask in self._masks(wanted):
            rows = array("I", compress(rows, map(mask.__getitem__, map(self._row_codes[number].__getitem__, rows))))
        self._selections[key] = (len(window), rows)
        while len(self._selections) > _CACHED_SELECTIONS:
            self._selections.popitem(last=False)
        return rows

    def _masks(self, wanted: LogFilter) -> Iterable[tuple[int, bytearray]]:
        yield 0, self._classes.mask(lambda value: _is_class_wanted(wanted, *value))
        if wanted.user_name is not None:
            yield 1, self._users.mask(lambda user: user == wanted.user_name)
        if wanted.account is not None:
            yield 2, self._accounts.mask(lambda one: one is not None and wanted.account in (one.id, one.name))
        if wanted.cluster_id is not None:
            yield 3, self._clusters.mask(lambda one: one is not None and one.id == wanted.cluster_id)
        if wanted.keyword is not None:
            folded = wanted.keyword.casefold()
            yield 4, self._descriptions.mask(lambda text: folded in text.casefold())


def _is_class_wanted(wanted: LogFilter, kind: str, domain_type: str) -> bool:
    is_organisation = domain_type == ORGANISATION
    return (
        (wanted.kinds is None or kind in wanted.kinds)
        and (wanted.operations is None or operation_of(kind) in wanted.operations)
        and not (wanted.organisation_only and not is_organisation)
        and not (wanted.account_only and is_organisation)
    )
