"""Verify an evidence bundle: that nothing in it was changed, that its records are those of its receipts, and who signed it.

The file may be hostile. It is read as a stream, with limits, and nothing is extracted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import MAXYEAR, UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.errors import BundleError
from actionwatch.base.files import open_regular
from actionwatch.base.model import Stretch
from actionwatch.service import bundle_signing
from actionwatch.service.bundle_writing import prove
from actionwatch.store.receipts import WindowRecord, attest
from actionwatch.store.record_keys import OTHER_KEYS_FROM, key_floor
from actionwatch.tail.cursor import EDGE
from actionwatch.text import bundle
from actionwatch.text.bundle import (
    DIGESTS,
    FORMAT,
    LINES,
    MANIFEST,
    PROOF,
    RECEIPTS,
    RECORDS,
    SIGNATURE,
    SUMMED,
    SUMS,
    Part,
)

_MAX_BUNDLE_BYTES = 64 * 1024**3
MAX_WINDOW_RECORDS = 1_000_000  # of all sources that are kept at once: windows of more than 20,000 are read in parts
MAX_STRETCHES = 1_000_000  # of time that are kept: most are as long as the time between two failures of the proof
_LONG_CHARS = 1_000  # of a record that is kept: for each so many, it counts once more
MAX_FAULTS = 20  # that are reported: one change may concern every receipt
_FAULT_CHARS = 1_000  # of each: it may quote a value of the bundle
_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class BundleVerification:
    """The result of the check. `faults` is empty if everything agrees. `is_signed`: by the given key; None without one."""

    digest: str
    has_signature: bool
    is_signed: bool | None
    manifest: Mapping[str, Any]
    record_count: int
    receipt_count: int
    faults: tuple[str, ...]


@dataclass
class _Faults:
    """Collects what is wrong, up to a number."""

    found: list[str] = field(default_factory=list)

    def add(self, what: str) -> None:
        if len(self.found) < MAX_FAULTS:
            self.found.append(what[:_FAULT_CHARS])
        elif len(self.found) == MAX_FAULTS:
            self.found.append("and more")


def _weight(source: str, record: WindowRecord) -> int:
    """Return as how many records one counts for the memory."""
    return 1 + (len(record.key) + len(source) + len(record.kind)) // _LONG_CHARS


@dataclass
class _Window:
    """The records of one source that a receipt may still cover, in the order of their keys."""

    records: list[WindowRecord] = field(default_factory=list)
    first: int = 0

    def forget_before(self, key: str) -> None:
        """Forget the records before a key: no later receipt covers them."""
        while self.first < len(self.records) and self.records[self.first].key < key:
            self.first += 1
        if self.first > len(self.records) // 2:
            del self.records[: self.first]
            self.first = 0


def check_bundle(path: Path, key: Path | None) -> BundleVerification:
    """Check a bundle, and its signature if a public key is given.

    Raises: BundleError, if the file cannot be read, or is not a bundle.
    """
    public = bundle_signing.public_key(key) if key else None
    try:
        opened = open_regular(path, _MAX_BUNDLE_BYTES)
    except OSError as exc:
        raise BundleError(f"cannot read {path}: {exc.strerror}") from exc
    with opened as file:
        parts = bundle.read_parts(file)
        faults = _Faults()
        sums = bundle.read_small(file, parts[SUMS])
        digests = {name: _digest(file, parts[name]) for name in SUMMED}
        _compare_sums(file, parts, sums, digests, faults)
        is_signed = None
        if public is not None:
            is_signed = SIGNATURE in parts and bundle_signing.is_signed(
                public, sums, bundle.read_small(file, parts[SIGNATURE])
            )
            if not is_signed:
                what = f"its signature is not by the owner of {key}" if SIGNATURE in parts else "it has no signature"
                faults.add(what)
        manifest: Mapping[str, Any] = {}
        counts = dict.fromkeys(LINES, 0)
        if not faults.found:
            manifest = _manifest(file, parts, digests, faults)
        if not faults.found:
            with open_regular(path, _MAX_BUNDLE_BYTES) as other:
                counts = _check_receipts(file, other, parts, faults)
                _check_proof(file, parts, manifest, faults)
    return BundleVerification(
        hashlib.sha256(sums).hexdigest(),
        SIGNATURE in parts,
        is_signed,
        manifest,
        counts[RECORDS],
        counts[RECEIPTS],
        tuple(faults.found),
    )


def _digest(file: BinaryIO, part: Part) -> str:
    whole = hashlib.sha256()
    for chunk in bundle.chunks(file, part):
        whole.update(chunk)
    return whole.hexdigest()


def _compare_sums(
    file: BinaryIO, parts: Mapping[str, Part], sums: bytes, digests: Mapping[str, str], faults: _Faults
) -> None:
    """Compare each part with the sums, and name the line of a changed one."""
    if sums == bundle.to_sums(digests):
        return
    pairs = (line.partition("  ") for line in sums.decode("ascii", "replace").splitlines())
    named = {name: digest for digest, _, name in pairs}
    changed = [name for name in SUMMED if named.get(name) != digests[name]]
    for name in changed:
        where = ""
        if name in LINES and DIGESTS not in changed:
            where = f": {bundle.changed_line(file, parts[name], parts[DIGESTS])}"
        faults.add(f"{name} is not what {SUMS} says{where}")
    if not changed:
        faults.add(f"{SUMS} was changed: it has more or other lines than the parts")


def _manifest(
    file: BinaryIO, parts: Mapping[str, Part], digests: Mapping[str, str], faults: _Faults
) -> Mapping[str, Any]:
    try:
        found = json.loads(bundle.read_small(file, parts[MANIFEST]))
        if found["format"] != FORMAT:
            faults.add(
                f"its format is {str(found['format'])[:50]!r}, this version knows {FORMAT!r}: use a newer actionwatch"
            )
        named = {each["name"]: (each["sha256"], each["bytes"]) for each in found["parts"]}
        _time(found["from"]), _time(found["to"])
        _owners(found)
        list(found["proof"])
    except _ERRORS as exc:
        faults.add(f"{MANIFEST} cannot be read: {type(exc).__name__}")
        return {}
    if named != {name: (digests[name], parts[name].size) for name in SUMMED if name != MANIFEST}:
        faults.add(f"{MANIFEST} names other parts, digests or sizes than the bundle has")
    return dict(found)


def _documents(file: BinaryIO, part: Part) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the objects of a part with the numbers of their lines. Raises: BundleError."""
    for number, line in enumerate(bundle.lines(file, part), start=1):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise BundleError(f"line {number} of {part.name} is not JSON") from exc
        if not isinstance(found, dict):
            raise BundleError(f"line {number} of {part.name} is not an object")
        yield number, found


def _check_receipts(file: BinaryIO, other: BinaryIO, parts: Mapping[str, Part], faults: _Faults) -> dict[str, int]:
    """Compute each receipt again from the records. Both are in the order of time, so that few records are kept at once."""
    counts = {RECORDS: 0, RECEIPTS: 0}
    windows: dict[str, _Window] = {}
    held = 0
    stored = _records(other, parts[RECORDS], counts)
    ahead = next(stored, None)
    before = ""
    for number, receipt in _documents(file, parts[RECEIPTS]):
        counts[RECEIPTS] = number
        try:
            low, high = key_floor(_time(receipt["starts_at"])), key_floor(_time(receipt["ends_at"]) + MICROSECOND)
            if low < before:
                raise BundleError(f"line {number} of {RECEIPTS} is not in the order of time")
            before = low
            while ahead is not None and ahead[1].key < high:
                windows.setdefault(ahead[0], _Window()).records.append(ahead[1])
                held += _weight(*ahead)
                if held > MAX_WINDOW_RECORDS:
                    held = _forget_all(windows, low)
                ahead = next(stored, None)
            window = windows.get(receipt["source"], _Window())
            window.forget_before(low)
            what = _difference(receipt, window, high)
        except _ERRORS as exc:
            raise BundleError(f"line {number} of {RECEIPTS} or a record of its time cannot be read") from exc
        if what:
            faults.add(f"line {number} of {RECEIPTS}, {receipt['starts_at']} to {receipt['ends_at']}: {what}")
    for _ in stored:  # the rest, which no receipt covers, must be in order too
        pass
    return counts


def _forget_all(windows: dict[str, _Window], low: str) -> int:
    """Forget the records of all sources before a key. Return as how many the others count. Raises: BundleError, if too many."""
    held = 0
    for source, window in list(windows.items()):
        window.forget_before(low)
        held += sum(_weight(source, record) for record in window.records[window.first :])
        if not window.records:
            del windows[source]
    if held > MAX_WINDOW_RECORDS:
        raise BundleError(
            f"receipts cover more than {MAX_WINDOW_RECORDS:,} records at once: verify them in the store, with "
            "'actionwatch records receipts --verify'"
        )
    return held


def _records(file: BinaryIO, part: Part, counts: dict[str, int]) -> Iterator[tuple[str, WindowRecord]]:
    before = ("", "")
    for number, record in _documents(file, part):
        place = (str(record.get("record_key")), str(record.get("source")))
        if place <= before:
            raise BundleError(f"line {number} of {part.name} occurs twice, or is not in the order of keys")
        before = place
        counts[RECORDS] = number
        # Interned, because many records share them.
        source, kind = sys.intern(place[1]), sys.intern(str(record.get("action_kind")))
        vanished = record.get("vanished_at")
        if type(record.get("id")) is not int:
            raise BundleError(f"line {number} of {part.name} has no id")
        yield source, WindowRecord(place[0], record["id"], None if vanished is None else _time(vanished), kind)


def _difference(receipt: Mapping[str, Any], window: _Window, high: str) -> str:
    """Return how the records of a window differ from those that its receipt attests; empty if they do not."""
    end = min(high, OTHER_KEYS_FROM)
    its = itertools.takewhile(lambda record: record.key < end, itertools.islice(window.records, window.first, None))
    found = attest(its, receipt["record_through"], _time(receipt["judged_at"]))
    if all(receipt[name] == value for name, value in found.items()):
        return ""
    attested = receipt["record_count"]  # whatever a hostile bundle says
    what = "record" if attested == 1 else "records"
    return f"it attests {attested} {what}, the bundle has {found['record_count']}: they differ"


def _check_proof(file: BinaryIO, parts: Mapping[str, Part], manifest: Mapping[str, Any], faults: _Faults) -> None:
    """Check that receipts cover each stretch that is called proved."""
    owners, stretches = _owners(manifest), list[Stretch]()
    names = {each["name"]: each["name"] for each in manifest["sources"]}  # one text for all stretches of a source
    spans: defaultdict[str, list[list[datetime]]] = defaultdict(list)
    span_count = 0
    for _, receipt in _documents(file, parts[RECEIPTS]):
        start, end = _time(receipt["starts_at"]), _time(receipt["ends_at"])
        known = spans[owners.get(receipt["source"], receipt["source"])]
        if known and start <= known[-1][1] + EDGE:
            known[-1][1] = max(known[-1][1], end)
        else:
            known.append([start, end])
            span_count += 1
            _check_stretches(RECEIPTS, span_count)
    for number, stretch in _documents(file, parts[PROOF]):
        try:
            start, end, is_proved = _time(stretch["start"]), _time(stretch["end"]), stretch["is_proved"]
            covered = any(low <= start and end <= high for low, high in spans.get(stretch["source"], []))
            name = names.get(stretch["source"])
        except _ERRORS as exc:
            raise BundleError(f"line {number} of {PROOF} cannot be read") from exc
        if is_proved and not covered:
            faults.add(f"line {number} of {PROOF}: it is called proved, and no receipt covers it")
        if name is None:
            faults.add(f"line {number} of {PROOF}: {MANIFEST} does not name its source")
            continue
        _check_stretches(PROOF, number)
        stretches.append(Stretch(name, start, end, is_proved))
    bounds = _time(manifest["from"]), _time(manifest["to"])
    if manifest["proof"] != [asdict(prove(each["name"], stretches, *bounds)) for each in manifest["sources"]]:
        faults.add(f"{MANIFEST} contradicts {PROOF} about what is proved")


def _check_stretches(part: str, count: int) -> None:
    if count > MAX_STRETCHES:
        raise BundleError(
            f"{part} has more than {MAX_STRETCHES:,} separate stretches of time: export a shorter time with --since and --until"
        )


def _owners(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the present name of each source by all its names."""
    return {name: each["name"] for each in manifest["sources"] for name in (each["name"], *each["former_names"])}


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    found = found.astimezone(UTC)
    if found.year == MAXYEAR:
        raise ValueError("a time to which nothing can be added")
    return found
