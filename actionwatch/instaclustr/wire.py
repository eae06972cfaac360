"""Read a page of user actions from the bytes of a response; pure.

The vendor's sample shows `[{"totalResults": …, "resources": […]}]`, its generator wraps single objects, and nobody outside has
seen a live answer: every plausible shape is taken. What fits none of them is an error, never "no records".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic

import msgspec

from actionwatch.base.errors import BadResponse
from actionwatch.base.model import Record
from actionwatch.instaclustr.kinds import KINDS, normalise_kind
from actionwatch.instaclustr.lenient import REFUSALS, FastJsonParts, JsonParts, LenientJsonParts, Piece
from actionwatch.instaclustr.records import RecordReader

# By these members an object is an envelope; the kind's aliases tell a record that has `resources` of its own.
_COUNTERS = frozenset({"totalresults", "startindex", "itemsperpage"})
_KIND_NAMES = frozenset({"action", "actionkind", "kind", "actiontype"})
_COUNT_KINDS = ("action", "kind", "name")
_COUNT_NUMBERS = ("count", "total")
AT_ONCE = 100  # records decoded together: their texts stay in the processor's cache, which takes a fifth off a page
_REMEDY = "see what answers at base_url: a proxy, or a form of answer that this version does not know"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the user-actions listing.

    `total` is None where none was told, or a wrong one: less than the records beside it. `counts` maps kind to number, None
    where none were told. `server_date` (resolution one second), `took` and `record_index` are the client's to fill in.
    """

    records: Sequence[Record]
    total: int | None
    counts: Mapping[str, int] | None
    seen_at: datetime
    record_index: int = 0
    server_date: datetime | None = None
    took: timedelta = timedelta(0)


def parse_page(body: bytes, reader: RecordReader, seen_at: datetime) -> Page:
    """Read every record, the total and the counts of a page; several envelopes are joined.

    Raises: BadResponse, saying what was found instead.
    """
    fast = FastJsonParts(body)
    try:
        return _Shape(fast, reader, seen_at).page(msgspec.Raw(body.strip()))
    except REFUSALS:
        pass  # malformed, or only more than the fast decoder takes: the patient one tells
    try:
        text = body.decode("utf-8-sig", "replace").strip(" \t\r\n")
        return _Shape(LenientJsonParts(), reader, seen_at).page(text)
    except (ValueError, RecursionError) as exc:
        raise BadResponse(f"the answer is {describe(body)}: {exc}", _REMEDY) from exc


def describe(body: bytes) -> str:
    """Say what a body looks like, for an error: its nature and its beginning."""
    text = " ".join(body[:400].decode("utf-8", "replace").split())
    if not text:
        return "empty"
    if text.startswith("<"):
        return f"not JSON but markup ({text[:80]}…)"
    return f"not a page of user actions ({text[:120]})"


class _Shape(Generic[Piece]):
    """The shapes of a page, over one way of taking JSON apart."""

    def __init__(self, parts: JsonParts[Piece], reader: RecordReader, seen_at: datetime) -> None:
        self._parts = parts
        self._reader = reader
        self._seen_at = seen_at

    def page(self, body: Piece) -> Page:
        parts = self._parts
        if not parts.beginning(body).startswith("["):
            members = parts.members(body)
            if not _is_envelope(members):
                raise ValueError(f"an object with {_names(members)} and no resources")
            return self._join([members])
        items = parts.items(body)
        if not items:
            return Page((), None, None, self._seen_at)
        if parts.beginning(items[0]).startswith("{") and _is_envelope(first := parts.members(items[0])):
            envelopes = [first, *(parts.members(item) for item in items[1:])]
            if not all(_is_envelope(members) for members in envelopes):
                raise ValueError("envelopes and other things in one list")
            return self._join(envelopes)
        layouts = {tuple(fields) for fields in parts.objects(items)}
        if any(_is_envelope(dict.fromkeys(layout)) for layout in layouts):
            raise ValueError("records and envelopes in one list")
        return Page(self._records(items), None, None, self._seen_at)

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
            total = read_total(rest)
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
            raise ValueError(f"resources is no list ({beginning})")
        return self._records(self._parts.items(piece))

    def _records(self, items: Sequence[Piece]) -> list[Record]:
        records: list[Record] = []
        for start in range(0, len(items), AT_ONCE):
            some = items[start : start + AT_ONCE]
            records += self._reader.read_all(self._parts.objects(some), self._parts.texts(some), self._seen_at)
        return records


def _whole_total(totals: Sequence[int], record_count: int) -> int | None:
    """Join the totals of several envelopes: each may count its own records or all; None where that cannot be told."""
    if len(totals) < 2:
        return totals[0] if totals else None
    if len(set(totals)) == 1 and totals[0] >= record_count:
        return totals[0] if totals[0] == record_count else None
    return sum(totals)


def read_total(members: Mapping[str, Any]) -> int | None:
    """Return the envelope's `totalResults`, a whole number or a string of digits; None where there is no such thing."""
    for name, value in members.items():
        if name.lower() == "totalresults":
            return _whole(value)
    return None


def read_counts(members: Mapping[str, Any]) -> dict[str, int] | None:
    """Find the counts of kinds under any member of an envelope: `{KIND: n}`, or a list of objects with kind and number.

    Returns: kind -> number; empty where they say that there is nothing to count; None where there are none.
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
    return counts


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
    return ", ".join(names) if names else "nothing in it"
