"""Parse a page of user actions. Pure.

The vendor's sample shows `[{"totalResults": …, "resources": […]}]`, but no live response is published. So every plausible shape
is accepted. Any other shape is an error, never "no records".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from actionwatch.base.clock import TIMES_END
from actionwatch.base.errors import BadResponse, OversizedPage
from actionwatch.base.model import Record
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.identity import without_time
from actionwatch.instaclustr.kinds import KINDS, normalise_kind
from actionwatch.instaclustr.lenient import REFUSALS, FastJsonParts, JsonParts, LenientJsonParts, Piece
from actionwatch.instaclustr.records import RecordReader
from actionwatch.text.redaction import NO_SECRETS, Excerpt

# An object with these members is an envelope. The aliases of the kind identify a record with its own `resources`.
_COUNTERS = frozenset({"totalresults", "startindex", "itemsperpage"})
_KIND_NAMES = frozenset({"action", "actionkind", "kind", "actiontype"})
_COUNT_KINDS = ("action", "kind", "name")
_COUNT_NUMBERS = ("count", "total")
_BATCH_SIZE = 100  # records decoded together: their texts stay in the CPU cache, which saves a fifth of the time
MAX_PAGE_RECORDS = 10_000  # ten times what a page may have by the documentation
MAX_PAGE_VALUES = 500_000  # JSON values: a page of 1,000 records of the vendor has about 20,000
_MAX_COUNTED_KINDS = 1_000  # in the counts of a page; the catalogue has about 200
_MAX_KIND_CHARS = 200
_DESCRIBED_BYTES = 4096  # of a body that is no page: more than an excerpt shows, because secrets in it become shorter
_MAX_REASON_CHARS = 300
_REMEDY = "check what answers at base_url: a proxy, or an API that this version does not know"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the user-actions listing.

    `total` is None if it is missing or less than the number of records. `counts` maps kinds to numbers, None if missing. The
    client sets `server_date` (resolution one second), `took` and `record_index`, and the `digest` of the
    response if the page is the first one.
    """

    records: Sequence[Record]
    total: int | None
    counts: Mapping[str, int] | None
    seen_at: datetime
    record_index: int = 0
    server_date: datetime | None = None
    took: timedelta = timedelta(0)
    digest: bytes = b""


def check_size(body: bytes) -> None:
    """Refuse a body that takes far more memory than its bytes.

    Raises: OversizedPage.
    """
    if len(body) <= MAX_PAGE_VALUES:
        return
    value_count = body.count(b",") + body.count(b"{") + body.count(b"[")
    if value_count > MAX_PAGE_VALUES:
        raise OversizedPage(
            f"the response has about {value_count:,} values, and at most {MAX_PAGE_VALUES:,} are read", _REMEDY
        )


def parse_page(
    body: bytes,
    reader: RecordReader,
    seen_at: datetime,
    *,
    latest: datetime = TIMES_END,
    most: int | None = None,
    excerpt: Excerpt = NO_SECRETS.excerpt,
) -> Page:
    """Parse the records, the total and the counts of a page, and merge several envelopes.

    A time of a record after `latest` counts as unreadable. A page of more than `most` records is refused.

    Raises: BadResponse, with a description of the body, of which `excerpt` makes every part.
    """
    page = _parse(body, reader, seen_at, most, excerpt)
    if any(record.occurred_at > latest for record in page.records):
        return replace(page, records=[_without_late_time(record, latest) for record in page.records])
    return page


def _parse(body: bytes, reader: RecordReader, seen_at: datetime, most: int | None, excerpt: Excerpt) -> Page:
    fast = FastJsonParts(body)
    try:
        return _Shape(fast, reader, seen_at, most).page(msgspec.Raw(body.strip()))
    except REFUSALS:
        pass  # malformed, or merely lenient JSON: the other parser decides
    try:
        text = body.decode("utf-8-sig", "replace").strip(" \t\r\n")
        return _Shape(LenientJsonParts(), reader, seen_at, most).page(text)
    except (ValueError, RecursionError) as exc:
        why = excerpt(str(exc), _MAX_REASON_CHARS)
        raise BadResponse(f"the response is {describe(body, excerpt)}: {why}", _REMEDY) from exc


def _without_late_time(record: Record, latest: datetime) -> Record:
    """Treat a time far in the future as unreadable: it would hide all earlier records from what follows the newest one."""
    if record.occurred_at <= latest:
        return record
    key = without_time(record.key)
    return msgspec.structs.replace(record, key=key, occurred_at=record.seen_at, is_time_readable=False)


def describe(body: bytes, excerpt: Excerpt) -> str:
    """Describe a body for an error message: its type and its first characters."""
    text = " ".join(excerpt(body[:_DESCRIBED_BYTES].decode("utf-8", "replace"), _DESCRIBED_BYTES).split())
    if not text:
        return "empty"
    if text.startswith("<"):
        return f"not JSON but markup ({text[:80]}…)"
    return f"not a page of user actions ({text[:120]})"


class _Shape:
    def __init__(self, parts: JsonParts, reader: RecordReader, seen_at: datetime, most: int | None) -> None:
        self._parts = parts
        self._reader = reader
        self._seen_at = seen_at
        self._most = most

    def page(self, body: Piece) -> Page:
        parts = self._parts
        if not parts.beginning(body).startswith("["):
            members = parts.members(body)
            if not _is_envelope(members):
                raise ValueError(f"an object with {_names(members)}, without resources")
            return self._join([members])
        items: Sequence[Piece] = parts.items(body)
        if not items:
            return Page((), None, None, self._seen_at)
        if parts.beginning(items[0]).startswith("{") and _is_envelope(first := parts.members(items[0])):
            envelopes = [first, *(parts.members(item) for item in items[1:])]
            if not all(_is_envelope(members) for members in envelopes):
                raise ValueError("a list of envelopes and other items")
            return self._join(envelopes)
        flat: Sequence[Piece] = parts.flattened(items)
        layouts = {tuple(fields) for fields in parts.objects(flat)}
        if any(_is_envelope(dict.fromkeys(layout)) for layout in layouts):
            raise ValueError("a list of records and envelopes")
        return Page(self._records(flat), None, None, self._seen_at)

    def _join(self, envelopes: Iterable[Mapping[str, Piece]]) -> Page:
        records: list[Record] = []
        totals: list[int] = []
        counts: Counter[str] | None = None
        for members in envelopes:
            before = len(records)
            rest: dict[str, Any] = {}
            for name, piece in members.items():
                if name.lower() == "resources":
                    records += self._resources(piece)
                else:
                    rest[name] = self._parts.value(piece)
            total = _read_total(rest)
            if total is not None and total >= len(records) - before:
                totals.append(total)
            found = read_counts(rest)
            if found is not None:
                counts = (counts or Counter()) + Counter(found)
        return Page(records, _whole_total(totals, len(records)), counts, self._seen_at)

    def _resources(self, piece: Piece) -> list[Record]:
        beginning = self._parts.beginning(piece)
        if beginning == "null":
            return []
        if not beginning.startswith("["):
            raise ValueError("resources is not a list")
        items: Sequence[Piece] = self._parts.items(piece)
        return self._records(self._parts.flattened(items))

    def _records(self, items: Sequence[Piece]) -> list[Record]:
        if self._most is not None and len(items) > self._most:
            raise BadResponse(
                f"the page has {counted(len(items), 'record')}, and at most {self._most:,} are read", _REMEDY
            )
        records: list[Record] = []
        for start in range(0, len(items), _BATCH_SIZE):
            some = items[start : start + _BATCH_SIZE]
            records += self._reader.read_all(self._parts.objects(some), self._parts.texts(some), self._seen_at)
        return records


def _whole_total(totals: Sequence[int], record_count: int) -> int | None:
    """Merge the totals of several envelopes, which may count their own records or all; None if this is ambiguous."""
    if len(totals) < 2:
        return totals[0] if totals else None
    if len(set(totals)) == 1 and totals[0] >= record_count:
        return totals[0] if totals[0] == record_count else None
    return sum(totals)


def _read_total(members: Mapping[str, Any]) -> int | None:
    """Return `totalResults` of an envelope, an integer or a string of digits; None if it is missing or invalid."""
    return next((_whole(value) for name, value in members.items() if name.lower() == "totalresults"), None)


def read_counts(members: Mapping[str, Any]) -> dict[str, int] | None:
    """Find the counts per kind in any member of an envelope: `{KIND: n}`, or a list of objects with kind and number.

    Returns: kind -> number; empty if the counts are empty; None if there are none.
    """
    likely_first = sorted(members.items(), key=lambda member: "count" not in member[0].lower())
    for name, value in likely_first:
        is_likely = "count" in name.lower()
        found = _count_map(value, is_likely) if isinstance(value, dict) else _count_list(value, is_likely)
        if found is not None:
            return found
    return None


def _count_map(value: Mapping[str, Any], is_likely: bool) -> dict[str, int] | None:
    numbers = {name: _whole(number) for name, number in value.items()}
    if not numbers:
        return {} if is_likely else None
    if not is_likely and not all(name == normalise_kind(name) or normalise_kind(name) in KINDS for name in numbers):
        return None  # `{"page": 1, "size": 10}` and the like
    return _added(numbers.items())


def _count_list(value: Any, is_likely: bool) -> dict[str, int] | None:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return None
    if not value:
        return {} if is_likely else None
    pairs: list[tuple[Any, int | None]] = []
    for item in value:
        by_name = {name.lower(): held for name, held in item.items()}
        kind = next((by_name[name] for name in _COUNT_KINDS if isinstance(by_name.get(name), str)), None)
        number = next((by_name[name] for name in _COUNT_NUMBERS if name in by_name), None)
        pairs.append((kind, _whole(number)))
    return _added(pairs)


def _added(pairs: Iterable[tuple[Any, int | None]]) -> dict[str, int] | None:
    counts: dict[str, int] = {}
    for kind, number in pairs:
        if number is None or not isinstance(kind, str):
            return None
        kind = normalise_kind(kind)
        counts[kind] = counts.get(kind, 0) + number
    is_plausible = len(counts) <= _MAX_COUNTED_KINDS and all(len(kind) <= _MAX_KIND_CHARS for kind in counts)
    return counts if is_plausible else None


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_envelope(members: Mapping[str, Any]) -> bool:
    names = {name.lower() for name in members}
    return bool(names & _COUNTERS) or ("resources" in names and not names & _KIND_NAMES)


def _names(members: Mapping[str, Any]) -> str:
    names = list(members)[:8]
    return ", ".join(names) if names else "no members"
