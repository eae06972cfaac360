"""Compare the store with the evidence outside: what a `files` stream of everything wrote into a folder or a bucket.

First the days and their sums are read. Then each day is compared: its records and decisions with those of the store. Alerts and
silences change, so that of each only the newest version is compared, after the last day. Retention deletes rows of the store;
what it may have deleted is counted, and is no difference.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec
from sqlalchemy import Connection

from actionwatch.base.errors import EvidenceError, StoreError
from actionwatch.store import alerts, evidence, records, silences
from actionwatch.store.statements import portions
from actionwatch.streams.drivers.files import MANIFEST, OBJECT, ONE_DAY, Storage, day_of, folder_of, manifest_of
from actionwatch.streams.feeds import DECISIONS
from actionwatch.streams.messages import ALERT, AMENDED, COMPLETE_THROUGH, DECISION, RECORD
from actionwatch.text.formats.messages import encode
from actionwatch.text.payloads import RECORDS_SHOWN, alert_document, instant, record_document, silence_document

MISSING = "the store does not have it"
ADDED = "the folder does not have it"
DAMAGED = "the store has a value in it that cannot be read"
_GZIP = b"\x1f\x8b"
_OF_NOW = frozenset({"status"})  # of a silence: it depends on the time


class _Body(msgspec.Struct):
    type: str
    data: msgspec.Raw


class _Line(msgspec.Struct):
    id: str
    kind: str
    offset: int
    at: datetime
    body: _Body


_decode_line = msgspec.json.Decoder(_Line).decode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference: of a row (`table`: `record`, `alert`, `decision` or `silence`) by its key, or of a day.

    `source` and `at` are those of the record or the alert; a silence has no source.
    """

    table: str
    key: str
    what: str
    source: str | None = None
    at: datetime | None = None


@dataclass(slots=True)
class Comparison:
    """The result of a comparison. `through`: of each source, the time through which the folder is complete, and both agree."""

    day_count: int = 0
    first_day: str = ""
    last_day: str = ""
    record_count: int = 0
    decision_count: int = 0
    alert_count: int = 0
    silence_count: int = 0
    expired_count: int = 0
    """The rows in the folder that retention has deleted, or may have, from the store."""
    changed_count: int = 0
    """The alerts and silences that changed after the folder was written."""
    through: dict[str, datetime] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    def compare_row(self, table: str, message: _Sent, document: bytes, ignored: Collection[str] = ()) -> None:
        """Note which values of a row are others than those in the folder."""
        if message.data == document:
            return
        known, stored = _decode(message.data), _decode(document)
        names = [
            name
            for name in dict.fromkeys((*known, *stored))
            if name not in ignored and known.get(name) != stored.get(name)
        ]
        if names:
            self.note_row(table, message.data, message.at, f"the store has it differently: {', '.join(names)}")

    def note_row(self, table: str, data: bytes, at: datetime | None, what: str, key: str | None = None) -> None:
        """Note that a row differs; `data` says which."""
        document = _decode(data)
        name = key or document.get("key") or document.get("id") or document["alert_id"]
        source = document.get("source") or (document.get("alert") or {}).get("source")
        self.differences.append(Difference(table, name, what, source, at))

    def note_day(self, day: date, what: str) -> None:
        """Note that a day of the folder differs."""
        at = datetime.combine(day, time(), UTC)
        self.differences.append(Difference("day", day.isoformat(), what, None, at))

    def agree(self) -> None:
        """Shorten the time through which both agree to before the first difference of each source, and of each day."""
        for each in self.differences:
            for source in self.through:
                is_its = each.table == "day" or each.source == source
                if is_its and each.at is not None and each.at < self.through[source]:
                    self.through[source] = each.at


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message in the folder."""

    offset: int
    at: datetime
    data: bytes


def list_days(storage: Storage) -> list[date]:
    """Return the days of the folder, in order. Raises: EvidenceError, if there are none."""
    found = [day for name in storage.folders() if (day := day_of(name)) is not None]
    if not found:
        raise EvidenceError("there is no day in it: a stream of the type files writes days, such as date=2026-11-25")
    return sorted(found)


def compare(
    connection: Connection,
    storage: Storage,
    days: Sequence[date],
    *,
    kept_since: datetime,
    stated: Mapping[str, datetime],
    show: Callable[[int, int], object] = lambda _done, _total: None,
) -> Comparison:
    """Compare the store with the days of a folder. `kept_since`: what is older, retention may have deleted.

    `stated`: through when the stream of the configuration has stated each source.
    `show` gets how many days of all are done. Raises: TransientDeliveryError, if the folder cannot be read; EvidenceError, if
    it is no evidence.
    """
    found = Comparison(len(days), days[0].isoformat(), days[-1].isoformat())
    versions = _Versions(connection, found, kept_since)
    comparing = _Days(connection, storage, versions, found, kept_since)
    _check_sums(storage, days, found)
    for number, day in enumerate(days):
        comparing.compare_day(day)
        show(number + 1, len(days))
    comparing.compare_added()
    versions.compare()
    _compare_end(found, days[-1], stated)
    found.agree()
    return found


def _check_sums(storage: Storage, days: Sequence[date], found: Comparison) -> None:
    """Check that the manifests of the days chain, and that each names the objects of its day."""
    manifests = {day: data for day in days if (data := storage.get(manifest_of(day))) is not None}
    last = max(manifests, default=days[0])
    for day in days:
        if day < last and day not in manifests:
            found.note_day(day, f"it has no {MANIFEST}, and later days have one")
    for day, data in manifests.items():
        sums = _sums(data)
        digest = sums.pop(f"../{manifest_of(day - ONE_DAY)}", None)
        before = manifests.get(day - ONE_DAY)
        if digest is None and before is not None:
            found.note_day(day, f"its sums do not chain: its {MANIFEST} does not name that of the day before")
        elif digest is not None and (before is None or hashlib.sha256(before).hexdigest() != digest):
            how = "is gone" if before is None else "was changed"
            found.note_day(day, f"its sums do not chain: the {MANIFEST} of the day before {how}")
        names = {name: match[1] for name in storage.names(folder_of(day)) if (match := OBJECT.fullmatch(name))}
        for name in sorted(sums.keys() - names.keys()):
            found.note_day(day, f"{name} is gone")
        for name in sorted(names):
            if name not in sums:
                found.note_day(day, f"{name} is not in its {MANIFEST}")
            elif names[name] != sums[name]:
                found.note_day(day, f"its {MANIFEST} has another digest of {name}")


@dataclass(slots=True)
class _Reach:
    """The ids of the first and the last row of a table in the folder, and the rows of the store that are not in it."""

    first: int = 2**63 - 1
    last: int = 0
    others: list[tuple[int, datetime, bytes]] = field(default_factory=list)

    def include(self, row_id: int) -> None:
        self.first, self.last = min(self.first, row_id), max(self.last, row_id)


class _Days:
    """The records and decisions of the days, which do not change."""

    def __init__(
        self, connection: Connection, storage: Storage, versions: _Versions, found: Comparison, kept_since: datetime
    ) -> None:
        """`versions` get those of alerts and silences."""
        self.found = found
        self.versions = versions
        self._connection = connection
        self._storage = storage
        self._kept_since = kept_since
        self._begins: dict[str, datetime] = {}
        self._reach = {RECORD: _Reach(), DECISION: _Reach()}

    def compare_day(self, day: date) -> None:
        """Compare the records and decisions of a day, and note the versions of alerts and silences."""
        sent: dict[str, _Sent] = {}
        decided: dict[int, _Sent] = {}
        for line in self._lines(day):
            data = bytes(line.body.data)
            message = _Sent(line.offset, line.at, data)
            if line.kind == RECORD:
                before = sent.get(line.id)
                if before is not None and not _same(before.data, data):
                    self.found.note_row(RECORD, data, line.at, "the folder has it twice, with different contents")
                sent[line.id] = message
                self._reach[RECORD].include(line.offset)
            elif line.kind == ALERT:
                self.versions.note(ALERT, line.id.rpartition("/")[0], message)
            elif line.kind == DECISION and line.body.type == "decision.silence":
                self.versions.note("silence", line.id.rpartition("/")[0], message)
            elif line.kind == DECISION:
                decided[line.offset] = message
                self._reach[DECISION].include(line.offset)
            elif line.kind in (COMPLETE_THROUGH, AMENDED):
                self._note_statement(data)
        start = datetime.combine(day, time(), UTC)
        self._compare_records(sent, start, start + ONE_DAY)
        self._compare_decisions(decided, start, start + ONE_DAY)

    def _lines(self, day: date) -> Iterator[_Line]:
        """Yield the messages of a day. An object that is damaged is a difference."""
        for name in sorted(self._storage.names(folder_of(day))):
            match = OBJECT.fullmatch(name)
            if match is None:
                continue
            data = self._storage.get(f"{folder_of(day)}/{name}")
            if data is None or hashlib.sha256(data).hexdigest() != match[1]:
                self.found.note_day(day, f"{name} was changed: its name has the digest of other contents")
            if data is None:
                continue
            try:
                lines = (gzip.decompress(data) if data.startswith(_GZIP) else data).splitlines()
                yield from list(map(_decode_line, lines))
            except msgspec.ValidationError as exc:
                raise EvidenceError(
                    f"{folder_of(day)}/{name} is not in the format actionwatch: a stream of evidence has no other"
                ) from exc
            except (OSError, EOFError, zlib.error, msgspec.DecodeError):
                self.found.note_day(day, f"{name} cannot be read")

    def _note_statement(self, data: bytes) -> None:
        stated = _decode(data)
        source = stated["source"]
        start, end = (datetime.fromisoformat(stated[name]) for name in ("starts_at", "ends_at"))
        self._begins[source] = min(self._begins.get(source, start), start)
        self.found.through[source] = max(self.found.through.get(source, end), end)

    def _compare_records(self, sent: dict[str, _Sent], start: datetime, end: datetime) -> None:
        for row in evidence.stream_records(self._connection, start, end):
            message = sent.pop(f"{row.source}/{row.key}", None)
            named = {"source": row.source, "key": row.key}
            document = encode(record_document(row.record) if row.record is not None else named)
            if message is None:
                at = row.record.occurred_at if row.record is not None else start
                self._reach[RECORD].others.append((row.id, at, document))
            elif row.record is None:
                self.found.note_row(RECORD, message.data, message.at, DAMAGED)
            else:
                self.found.record_count += 1
                self.found.compare_row(RECORD, message, document)
        for message in sent.values():
            _note_missing(RECORD, message, message.at, self.found, self._kept_since)

    def _compare_decisions(self, decided: dict[int, _Sent], start: datetime, end: datetime) -> None:
        for row in evidence.stream_decisions(self._connection, start, end, DECISIONS):
            message = decided.pop(row.id, None)
            data = {"alert_id": row.alert_id, "stage": row.stage, "what": row.what, "at": instant(row.at)}
            if message is None:
                self._reach[DECISION].others.append((row.id, row.at, encode(data)))
            else:
                self.found.decision_count += 1
                self.found.compare_row(DECISION, message, encode(data | {"alert": _decode(message.data)["alert"]}))
        for message in decided.values():
            alert = _decode(message.data)["alert"]
            began_at = message.at if alert is None else _time(alert["first_at"])
            _note_missing(DECISION, message, began_at, self.found, self._kept_since)

    def compare_added(self) -> None:
        """Name the rows of the store that the folder must have, and has not: it has later ones, and it began before."""
        for table, reach in self._reach.items():
            for row_id, at, document in reach.others:
                source = _decode(document).get("source", "")
                has_begun = row_id >= reach.first or at >= self._begins.get(source, at + ONE_DAY)
                if row_id <= reach.last and has_begun:
                    self.found.note_row(table, document, at, ADDED)


class _Versions:
    """The newest version of each alert and silence in the folder: they change."""

    def __init__(self, connection: Connection, found: Comparison, kept_since: datetime) -> None:
        self.found = found
        self._connection = connection
        self._kept_since = kept_since
        self._versions: dict[str, dict[str, _Sent]] = {ALERT: {}, "silence": {}}

    def note(self, table: str, key: str, message: _Sent) -> None:
        """Note a version of a row."""
        known = self._versions[table].get(key)
        if known is None or known.offset <= message.offset:
            self._versions[table][key] = message

    def compare(self) -> None:
        """Compare the newest version of each alert and silence."""
        for table, sent in self._versions.items():
            stored = evidence.newest_versions(self._connection, table)
            first = min((message.offset for message in sent.values()), default=0)
            last = max((message.offset for message in sent.values()), default=0)
            same = {}
            for key, message in sent.items():
                version = stored.get(key)
                if version is None:
                    began = _decode(message.data).get("first_at")
                    _note_missing(table, message, _time(began) if began else message.at, self.found, self._kept_since)
                elif version > message.offset:
                    self.found.changed_count += 1
                elif version < message.offset:
                    self.found.note_row(table, message.data, message.at, "the store has an older version of it")
                else:
                    same[key] = message
            self._compare_stored(table, same)
            added = [key for key, version in stored.items() if key not in sent and _is_due(version, first, last)]
            for key, document in self._documents(table, added).items():
                self.found.note_row(table, encode(document or {}), _began(document or {}), ADDED, key)

    def _compare_stored(self, table: str, same: Mapping[str, _Sent]) -> None:
        for key, document in self._documents(table, list(same)).items():
            if document is None:
                self.found.note_row(table, same[key].data, same[key].at, DAMAGED)
            elif table == ALERT:
                self.found.alert_count += 1
                held = self._still_stored(same[key], document["records"])
                self.found.compare_row(table, same[key], encode({**document, "records": held}))
            else:
                self.found.silence_count += 1
                self.found.compare_row(table, same[key], encode(document), ignored=_OF_NOW)

    def _documents(self, table: str, keys: Collection[str]) -> dict[str, dict[str, Any] | None]:
        """Return what the stream would send now about alerts or silences; None for one that cannot be read."""
        read = self._read_alerts if table == ALERT else self._read_silences
        found: dict[str, dict[str, Any] | None] = {}
        for some in portions(keys):
            try:
                found |= read(some)
            except StoreError:
                for key in some:
                    try:
                        found |= read([key])
                    except StoreError:
                        found[key] = None
        return found

    def _read_alerts(self, keys: Collection[str]) -> dict[str, dict[str, Any]]:
        held = records.read_of_alerts(self._connection, keys, RECORDS_SHOWN)
        read = alerts.read_many(self._connection, keys)
        return {key: dict(alert_document(alert, held[key])) for key, alert in read.items()}

    def _read_silences(self, keys: Collection[str]) -> dict[str, dict[str, Any]]:
        read = silences.read_many(self._connection, keys)
        return {key: dict(silence_document(silence, silence.starts_at)) for key, silence in read.items()}

    def _still_stored(self, message: _Sent, held: list[Any]) -> list[Any]:
        """Return the records of an alert as the store has them, with those that the folder shows and retention has deleted."""
        shown = _decode(message.data)["records"]
        by_source: dict[str, list[str]] = {}
        for each in shown:
            by_source.setdefault(each["source"], []).append(each["key"])
        stored = {
            (source, key)
            for source, keys in by_source.items()
            for key in evidence.read_keys(self._connection, source, keys)
        }
        kept = {(each["source"], each["key"]): each for each in held}
        whole = []
        for each in shown:
            place = (each["source"], each["key"])
            is_expired = place not in stored and _time(each["timestamp"]) < self._kept_since
            if is_expired:
                whole.append(each)
            elif place in kept:
                whole.append(kept.pop(place))
        return [*whole, *kept.values()]


def _compare_end(found: Comparison, last: date, stated: Mapping[str, datetime]) -> None:
    """Name the sources of which the end of the folder is gone."""
    for source, through in stated.items():
        known = found.through.get(source)
        if known is None or known < through:
            has = "has no statement about it" if known is None else f"is complete through {instant(known)}"
            found.note_day(last, f"the stream has written {source} through {instant(through)}, and the folder {has}")


def _note_missing(table: str, message: _Sent, began: datetime, found: Comparison, kept_since: datetime) -> None:
    if began < kept_since and table != "silence":
        found.expired_count += 1
    else:
        found.note_row(table, message.data, message.at, MISSING)


def _sums(manifest: bytes) -> dict[str, str]:
    """Return the digests of a manifest by name."""
    lines = (line.partition("  ") for line in manifest.decode("utf-8", "replace").splitlines())
    return {name: digest for digest, _, name in lines}


def _same(one: bytes, other: bytes) -> bool:
    return one == other or _decode(one) == _decode(other)


def _is_due(version: int, first: int, last: int) -> bool:
    """Return whether the folder must have a row with this newest version. Each row that actionwatch writes has one."""
    return version == 0 or first <= version <= last


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _began(document: Mapping[str, Any]) -> datetime | None:
    text = document.get("last_at") or document.get("starts_at")
    return None if text is None else _time(text)
