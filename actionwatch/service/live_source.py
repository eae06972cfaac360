"""Ten checks of the upstream of a source: the key, the clock, the accounts, and the shape of its responses.

The vendor documents the requests in detail, but not the responses. The checks of the shape find out what the proof can rely on.
They name fields, types and kinds, and never a value of a record.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.base import clock
from actionwatch.base.durations import spell_seconds
from actionwatch.base.errors import SourceError
from actionwatch.base.ids import UUID
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.client import PAGE_SIZE, Client
from actionwatch.instaclustr.kinds import KINDS, UNNAMED_KIND
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.tail.cursor import IGNORED_SKEW, REPORTED_SKEW
from actionwatch.text.raw_records import read_raw

_SETTLED = timedelta(minutes=1)  # younger records may still appear and change totals
_DAY = timedelta(days=1)
_LONG_AGO = datetime(1971, 1, 1, tzinfo=UTC)
_AROUND = timedelta(seconds=90)
_INDEX, _SIZE = 2, 3  # a page of three records that begins at the third
_FEW = 10  # records: a first page for comparison
_WANTED = ("kind", "time", "user", "description")
"""The fields that rules and alerts need in each record."""
_TWO_WALKS = "two walks prove a window instead: 3 requests if it has records, 2 if it is empty"
_REPORT = "no window can be proved: report it to us and to the vendor, with the output of --shape"
_COARSE = "responses contain more than necessary, and the intended window is proved"
_CUT = "windows are cut until they fit into one page"
_FIELD_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9_$.-]{0,60}", re.ASCII)
_DIGITS = re.compile(r"\d{4,}")  # as in ids and dates, but not in field names
_KIND = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", re.ASCII)  # only what looks like a kind is shown
_MAX_KIND_CHARS = 64
_MAX_SHOWN = 50


@dataclass(frozen=True, slots=True)
class FieldSeen:
    """A field of the records: its types, how many records have it, and what actionwatch reads it as ("" for nothing)."""

    name: str
    types: str
    share: str
    read_as: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one live check, with a remedy if it failed. `fields` is the shape of the records, if it is about that."""

    subject: str
    is_ok: bool
    what: str
    remedy: str = ""
    source: str | None = None
    fields: Sequence[FieldSeen] = ()

    def __str__(self) -> str:
        """Format it like a fault: `subject: what: remedy`."""
        return f"{self.subject}: {self.what}" + (f": {self.remedy}" if self.remedy else "")

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        kind = "live" if self.is_ok else "live fault"
        document: dict[str, Any] = {"kind": kind, "subject": self.subject, "what": self.what, "remedy": self.remedy}
        return {**document, "fields": [asdict(each) for each in self.fields]} if self.fields else document


def check_source(
    client: Client, organisation_id: str, known_kinds: Collection[str], unseen: set[str]
) -> Iterator[Outcome]:
    """Check the upstream of a source with at most 12 requests.

    `unseen` are the addresses whose shape no source has checked yet: the first one with records does it for all others there.
    """
    name = client.reader.source

    def outcome(subject: str, found: Outcome) -> Outcome:
        what = client.without_secrets(found.what)
        fields = [replace(each, name=client.without_secrets(each.name)) for each in found.fields]
        return replace(found, subject=f"source {name}: {subject}", source=name, what=what, fields=fields)

    try:
        page = client.counts(Query())
    except SourceError as exc:
        yield outcome("key", _fault(exc.what, exc.remedy))
        return
    yield outcome("key", _fine(f"reads the log of organisation {_organisation(page, organisation_id)}"))
    yield outcome("clock", _clock(page))
    try:
        yield outcome("linked accounts", _fine(f"{len(client.linked_accounts())} found"))
    except SourceError as exc:
        yield outcome("linked accounts", _fault(exc.what, exc.remedy))
    if not page.records:
        yield outcome("records", _fine("the log has none yet; check again when it has some"))
    elif client.base_url in unseen:
        unseen.discard(client.base_url)
        for subject, found in _shape(client, (page.server_date or clock.utc_now()) - _SETTLED, known_kinds):
            yield outcome(subject, found)


def _shape(client: Client, end: datetime, known_kinds: Collection[str]) -> Iterator[tuple[str, Outcome]]:
    """Check the shape of responses in the log up to `end`, where it no longer changes."""
    query = Query(end=end, with_counts=True)
    try:
        sample = _Sample(client, query, client.page(query, PAGE_SIZE), client.page(query, 1), known_kinds)
    except SourceError as exc:
        yield "records", _fault(exc.what, exc.remedy)
        return
    if not sample.large.records:
        yield "records", _fine("the log has none that is older than a minute; check again when it has some")
        return
    for subject, check in _CHECKS.items():
        try:
            yield subject, check(sample)
        except SourceError as exc:
            yield subject, _fault(exc.what, exc.remedy)


@dataclass(frozen=True, slots=True)
class _Sample:
    """One window of the log, as a page of the documented maximum and as a page of one record."""

    client: Client
    query: Query
    large: Page
    small: Page
    known_kinds: Collection[str]

    @property
    def keys(self) -> list[str]:
        return _keys(self.large)

    def has_all(self) -> bool:
        """Return whether the large page has all records of the window, by the next page."""
        return not self.client.page(self.query, 1, index=len(self.large.records)).records


def _records(sample: _Sample) -> Outcome:
    """Check which fields records have, whether those that rules need are among them, and whether times are readable."""
    fields = _fields(sample)
    read = {ours for each in fields for ours in each.read_as.split(", ")}
    if missing := [name for name in _WANTED if name not in read]:
        remedy = (
            "find the field with --shape, and name it in field_aliases of the source; without it, rules cannot match"
        )
        return replace(_fault(f"no field for {', '.join(missing)}", remedy), fields=fields)
    unreadable = sum(not record.is_time_readable for record in sample.large.records)
    if unreadable:
        what = f"{unreadable} of {counted(len(sample.large.records), 'record')} have no readable time"
        return replace(
            _fault(what, "they get the time of their fetch, and prove nothing: ask the vendor"), fields=fields
        )
    unread = [each.name for each in fields if not each.read_as]
    what = "have all fields that rules and alerts need, and readable times"
    if unread:
        what += f"; rules can read the others as raw.NAME: {_listed(unread)}"
    return replace(_fine(what), fields=fields)


def _kinds(sample: _Sample) -> Outcome:
    """Find the kinds that neither the catalogue nor the configuration knows, in the records and the counts."""
    seen = {record.action_kind for record in sample.large.records} | (sample.large.counts or {}).keys()
    odd = sorted(seen - KINDS.keys() - {*sample.known_kinds, UNNAMED_KIND})
    shown = [kind for kind in odd if _KIND.fullmatch(kind) and len(kind) <= _MAX_KIND_CHARS]
    what = f"{counted(len(seen & KINDS.keys()), 'documented kind')} found"
    if shown:
        what += f"; add the others to extra_kinds, or one alert reports the first of each: {_listed(shown)}"
    if hidden := len(odd) - len(shown):
        what += f"; {counted(hidden, 'value')} not shown, because of a form that no kind has"
    if len(odd) - len(shown) > len(seen & KINDS.keys()):
        return _fault(what, "another field may have the kind: find it with --shape, and name it in field_aliases")
    return _fine(what)


def _totals(sample: _Sample) -> Outcome:
    """Check whether totals count the window and not the page, and whether as many records exist."""
    total, count = sample.large.total, len(sample.large.records)
    if total is None:
        return _fine(f"missing, or lower than the number of records; {_TWO_WALKS}")
    if count == 1 == total:
        return _fine("one record cannot show what they count")
    if sample.small.total != total:
        return _fine(f"they count the page and not the window; {_TWO_WALKS}")
    last = sample.client.page(sample.query, 2, index=total - 1)
    if not last.records:
        return _fault("they are higher than the number of records", _REPORT)
    if len(last.records) > 1 and _keys(last) != sample.keys[: len(last.records)]:
        return _fine(f"they are lower than the number of records; {_TWO_WALKS}")
    return _fine("they count the window")


def _counts(sample: _Sample) -> Outcome:
    """Check whether there are counts, whether they count the window, and whether they agree with the totals and records."""
    counts, total = sample.large.counts, sample.large.total
    without = "totals prove instead, and sweeps read their windows again"
    if counts is None:
        return _fine(f"missing; {without}")
    if sample.small.counts != counts:
        return _fine(f"they count the page and not the window; {without}")
    if total is not None and sum(counts.values()) != total:
        return _fine(f"they do not add up to the total; {without}")
    found = Counter(record.action_kind for record in sample.large.records)
    if sum(counts.values()) == found.total() and {kind: n for kind, n in counts.items() if n} != found:
        return _fine(f"they do not match the kinds of the records; {without}")
    return _fine("they count the window, by kind")


def _pages(sample: _Sample) -> Outcome:
    """Check whether `pageSize` and `recordIndex` are applied, and whether the latter counts records."""
    keys, count = sample.keys, len(sample.keys)
    if count <= _INDEX + _SIZE:
        return _fine(f"{counted(count, 'record')} cannot show how they are divided")
    came = _keys(sample.client.page(sample.query, _SIZE, index=_INDEX))
    if not came or came == keys[: len(came)]:
        return _fault("every page is the first, or is empty: recordIndex is ignored", _REPORT)
    if came == keys[_INDEX * _SIZE : _INDEX * _SIZE + len(came)]:
        return _fault("recordIndex counts pages and not records, so that a walk skips records", _REPORT)
    if len(sample.small.records) > 1 or len(came) > _SIZE:
        return _fine("pageSize is ignored: more requests than necessary, and the same proof")
    if count < PAGE_SIZE and not sample.has_all():
        return _fine(f"pageSize and recordIndex are applied; a page has at most {counted(count, 'record')}")
    return _fine("pageSize and recordIndex are applied")


def _order(sample: _Sample) -> Outcome:
    """Check whether the order of records is the same in a second response."""
    again = _keys(sample.client.page(sample.query, _FEW))
    if again[:_FEW] == sample.keys[:_FEW]:
        return _fine("the same in each response")
    if sorted(again) == sorted(sample.keys[: len(again)]):
        return _fine(f"records change places between responses; a walk is repeated until the counts agree, or {_CUT}")
    return _fine(f"another in each response; {_CUT}")


def _windows(sample: _Sample) -> Outcome:
    """Check whether the upstream returns a record for a window around its time, and none for the future or long ago."""
    ask, now = sample.client.page, sample.query.end or clock.utc_now()
    ahead, past = ask(Query(start=now + _DAY), 1), ask(Query(end=_LONG_AGO), 1)
    if ignored := ["startTime"] * bool(ahead.records) + ["endTime"] * bool(past.records):
        return _fine(f"{' and '.join(ignored)}: ignored, so that each poll reads the whole log; it is still proved")
    timed = [record for record in sample.large.records if record.is_time_readable]
    if not timed:
        return _fine("no record has a readable time")
    record = timed[len(timed) // 2]
    at, midnight = record.occurred_at, record.occurred_at.replace(hour=0, minute=0, second=0, microsecond=0)
    for start, end, exact in ((at - _AROUND, at + _AROUND, True), (midnight, midnight + _DAY, False)):
        around = ask(Query(start=start, end=end), PAGE_SIZE)
        if record.key in _keys(around):
            return _fine("exact to a minute" if exact else f"exact to a day: {_COARSE}")
        if len(around.records) >= PAGE_SIZE:
            return _fine(f"unknown, because there are more than {PAGE_SIZE:,} records around a record")
    return _fault("a window around the time of a record does not have that record", "check the form and zone of times")


_CHECKS: Mapping[str, Callable[[_Sample], Outcome]] = {
    "records": _records,
    "kinds": _kinds,
    "totals": _totals,
    "counts": _counts,
    "pages": _pages,
    "order": _order,
    "windows": _windows,
}
"""The checks of the shape, in the order in which they are printed."""


def _fine(what: str) -> Outcome:
    return Outcome("", True, what)


def _fault(what: str, remedy: str) -> Outcome:
    return Outcome("", False, what, remedy)


def _clock(page: Page) -> Outcome:
    if page.server_date is None:
        return _fine("the upstream does not return its time, so this machine's clock must be right")
    skew = page.server_date + timedelta(milliseconds=500) - clock.utc_now()
    side = "ahead of" if skew > timedelta(0) else "behind"
    if abs(skew) <= IGNORED_SKEW:
        return _fine("the upstream's clock agrees with ours")
    what = f"the upstream's clock is {spell_seconds(abs(skew).total_seconds())} {side} ours"
    if abs(skew) > REPORTED_SKEW:
        return _fault(what, "set this machine's clock (NTP), or ask the vendor")
    return _fine(what)


def _organisation(page: Page, organisation_id: str) -> str:
    name = next((record.organisation.name for record in page.records if record.organisation.name), None)
    return f"{name} ({organisation_id})" if name else organisation_id


def _fields(sample: _Sample) -> list[FieldSeen]:
    """List all fields of the records in the order of their first occurrence, and what the reader takes each for."""
    values: dict[str, list[Any]] = {}
    read_as: dict[str, dict[str, None]] = {}
    for record in sample.large.records:
        item = read_raw(record.raw)
        for ours, theirs in sample.client.reader.plan(tuple(item)).keys.items():
            for name in theirs:
                read_as.setdefault(name, {})[ours] = None
        for name, value in item.items():
            values.setdefault(name, []).append(value)
    count = len(sample.large.records)
    return [
        FieldSeen(
            _field_name(name),
            " or ".join(sorted({_type(value) for value in held}, key=lambda word: (word == "null", word))),
            "all" if len(held) == count else "some",
            ", ".join(read_as.get(name, ())),
        )
        for name, held in values.items()
    ]


def _type(value: Any) -> str:
    """Describe a value: its type and, of an object, the names and types of its members."""
    if isinstance(value, Mapping):
        members = [f"{_field_name(name)}: {_TYPES.get(type(held), 'object')}" for name, held in value.items()]
        return "{" + _listed(members) + "}"
    if isinstance(value, str) and UUID.fullmatch(value.strip()):
        return "UUID"
    return _TYPES.get(type(value), "object")


_TYPES = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "text", list: "list"}


def _field_name(name: str) -> str:
    """Return the name of a field, unless it looks like data."""
    is_name = _FIELD_NAME.fullmatch(name) and not _DIGITS.search(name) and not UUID.search(name)
    return name if is_name else "(a name that is not shown)"


def _listed(words: Sequence[str]) -> str:
    rest = len(words) - _MAX_SHOWN
    return ", ".join(words[:_MAX_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _keys(page: Page) -> list[str]:
    return [record.key for record in page.records]
