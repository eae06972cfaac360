"""The format of an evidence bundle: a tar archive of texts and digests, whose bytes follow from its parts alone.

`tar`, `sha256sum` and `openssl` are enough to verify one. The parts come in a fixed order, and `tarfile` gives each header one
form, in every version of Python. So a reader compares, and nothing else is a bundle: there are no links, paths, duplicates
and compression to refuse.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from actionwatch.base.errors import BundleError
from actionwatch.text.payloads import instant

FORMAT = "actionwatch bundle 1"
FOLDER = "bundle"
README, MANIFEST, DIGESTS, SUMS, SIGNATURE = (
    "README.txt",
    "manifest.json",
    "digests.txt",
    "SHA256SUMS",
    "SHA256SUMS.sig",
)
RECORDS, RECEIPTS, PROOF = "records.jsonl", "receipts.jsonl", "proof.jsonl"
LINES = (
    RECORDS,
    RECEIPTS,
    PROOF,
    "rule_versions.jsonl",
    "alerts.jsonl",
    "alert_records.jsonl",
    "alert_history.jsonl",
    "deliveries.jsonl",
    "silences.jsonl",
)
"""The parts with one JSON object a line."""
SUMMED = (README, MANIFEST, *LINES, DIGESTS)
NAMES = (*SUMMED, SUMS, SIGNATURE)
MAX_PART_BYTES = 8 * 1024**3 - 1  # the header of a tar archive has 11 octal digits for it
MAX_LINE_BYTES = 16 * 1024**2  # of a part: a rule file has at most 1 MiB, and JSON writes a character as up to six
MAX_SMALL_BYTES = 1024**2  # of the manifest, the sums and the signature, which are read whole
_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1024**2
_SIZE = slice(124, 135)
_NAME = slice(0, 100)
_IDENTITIES = (b"record_key", b"rule_id", b"id", b"alert_id", b"starts_at", b"start")
_HEX = 64  # characters of a digest
_WORDS = {
    (True, True): "was moved",
    (True, False): "follows a line that is missing",
    (False, True): "was added",
    (False, False): "was changed or added",
}
"""What happened to a line: whether its digest, and the digest of the line that should be there, are found elsewhere."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bundle: where its bytes begin in the file, and how many there are."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Summary:
    """The digest of a part, and its size; `line_count` only of parts with lines."""

    name: str
    sha256: str
    size: int
    line_count: int | None = None


def to_line(document: Mapping[str, Any]) -> bytes:
    """Return the one form of a JSON object as a line: keys sorted, ASCII, no spaces."""
    text = json.dumps(document, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=_plain)
    return f"{text}\n".encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return instant(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


class BundleWriter:
    """Writes the parts of a bundle into a folder, and then the bundle. The manifest comes last, because it names the parts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._summaries: dict[str, _Summary] = {}
        self._digests = (folder / DIGESTS).open("wb")

    def write_lines(self, name: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """Write a part with one line for each document."""
        whole, size, count = hashlib.sha256(), 0, 0
        with (self._folder / name).open("wb") as out:
            for count, document in enumerate(documents, start=1):
                line = to_line(document)
                if len(line) > MAX_LINE_BYTES:
                    raise BundleError(
                        f"line {count} of {name} has {len(line):,} bytes: a bundle takes {MAX_LINE_BYTES:,}"
                    )
                size += len(line)
                _check_size(name, size)
                whole.update(line)
                out.write(line)
                self._digests.write(_digest_line(name, count, line))
        self._summaries[name] = _Summary(name, whole.hexdigest(), size, count)

    def count(self, name: str) -> int:
        """Return how many lines a part has."""
        return self._summaries[name].line_count or 0

    def finish(
        self, readme: str, manifest: Mapping[str, Any], out: BinaryIO, sign: Callable[[bytes], bytes] | None = None
    ) -> str:
        """Write the bundle from its parts. `sign` signs the sums. Return the digest of the sums, which covers everything."""
        self._digests.close()
        self._write(README, readme.encode())
        self._summaries[DIGESTS] = _summary_of_file(self._folder / DIGESTS)
        named = [self._summaries[name] for name in SUMMED if name != MANIFEST]
        text = json.dumps({**manifest, "parts": list(map(_part_document, named))}, indent=1, default=_plain)
        self._write(MANIFEST, f"{text}\n".encode())
        sums = to_sums({name: self._summaries[name].sha256 for name in SUMMED})
        self._write(SUMS, sums)
        if sign is not None:
            self._write(SIGNATURE, sign(sums))
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name in NAMES:
                if name in self._summaries:
                    with (self._folder / name).open("rb") as part:
                        archive.addfile(_member(name, self._summaries[name].size), part)
        return hashlib.sha256(sums).hexdigest()

    def _write(self, name: str, data: bytes) -> None:
        (self._folder / name).write_bytes(data)
        self._summaries[name] = _Summary(name, hashlib.sha256(data).hexdigest(), len(data))


def _part_document(part: _Summary) -> dict[str, Any]:
    """Return what the manifest says about a part."""
    lines = {} if part.line_count is None else {"lines": part.line_count}
    return {"name": part.name, "sha256": part.sha256, "bytes": part.size, **lines}


def to_sums(digests: Mapping[str, str]) -> bytes:
    """Return the file that `sha256sum -c` reads."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()


def header(name: str, size: int) -> bytes:
    """Return the header of a part: a regular file with fixed metadata, the mode 0644, and neither owner nor time."""
    return _member(name, size).tobuf(tarfile.USTAR_FORMAT)


def _member(name: str, size: int) -> tarfile.TarInfo:
    _check_size(name, size)
    member = tarfile.TarInfo(f"{FOLDER}/{name}")
    member.size = size
    return member


def end_after(place: int) -> bytes:
    """Return the end of an archive whose last part ends there."""
    return bytes(2 * _BLOCK + -(place + 2 * _BLOCK) % tarfile.RECORDSIZE)


def read_parts(file: BinaryIO) -> dict[str, Part]:
    """Find the parts of a bundle, and check everything between them. Only the signature may be missing.

    Raises: BundleError, if the file is anything else than a bundle.
    """
    found: dict[str, Part] = {}
    for name in NAMES:
        place = file.tell()
        block = file.read(_BLOCK)
        if name == SIGNATURE and block == bytes(_BLOCK):
            file.seek(place)
            break
        part = _read_header(name, block, place)
        found[name] = part
        file.seek(part.offset + part.size)
        if file.read(-part.size % _BLOCK) != bytes(-part.size % _BLOCK):
            raise BundleError(f"the bundle is cut off in {name}, or the padding after it was changed")
    end = end_after(file.tell())
    if file.read(len(end)) != end or file.read(1):
        raise BundleError("the end of the bundle was changed: something was cut off, or added after the last part")
    return found


def _read_header(name: str, block: bytes, place: int) -> Part:
    if len(block) < _BLOCK:
        raise BundleError(f"the bundle is cut off before {name}")
    octal = block[_SIZE]
    size = int(octal, 8) if re.fullmatch(rb"[0-7]{11}", octal) else 0
    if block != header(name, size):
        path = block[_NAME].rstrip(b"\0").decode("ascii", "replace").removeprefix(f"{FOLDER}/")
        if path != name and path in NAMES:
            raise BundleError(f"{path} is where {name} should be: a part is missing, or was added or moved")
        raise BundleError(f"the header of {name} was changed, or this is not a bundle of actionwatch")
    return Part(name, place + _BLOCK, size)


def chunks(file: BinaryIO, part: Part) -> Iterator[bytes]:
    """Yield the bytes of a part. Less than its size if the file was cut off."""
    file.seek(part.offset)
    left = part.size
    while left and (chunk := file.read(min(left, _CHUNK))):
        left -= len(chunk)
        yield chunk


def read_small(file: BinaryIO, part: Part) -> bytes:
    """Read a part that is read whole. Raises: BundleError, if it is too large."""
    if part.size > MAX_SMALL_BYTES:
        raise BundleError(f"{part.name} has {part.size:,} bytes: this is not a bundle of actionwatch")
    return b"".join(chunks(file, part))


def lines(file: BinaryIO, part: Part) -> Iterator[bytes]:
    """Yield the lines of a part, each with its end. Raises: BundleError, if one is too long."""
    place, end = part.offset, part.offset + part.size
    while place < end:
        file.seek(place)  # the caller may read another part meanwhile
        line = file.readline(min(end - place, MAX_LINE_BYTES + 1))
        if not line or len(line) > MAX_LINE_BYTES:
            raise BundleError(f"{part.name} has a line of more than {MAX_LINE_BYTES:,} bytes, or is cut off")
        place += len(line)
        yield line


def changed_line(file: BinaryIO, part: Part, digests: Part) -> str:
    """Return what differs first between a part and the digests of its lines, with the line. In constant memory."""

    def expected() -> Iterator[bytes]:
        mine = f"  {part.name}:".encode()
        return (line[:_HEX] for line in lines(file, digests) if line[_HEX:].startswith(mine))

    def actual() -> Iterator[bytes]:
        return (hashlib.sha256(line).hexdigest().encode() for line in lines(file, part))

    for number, (wanted, found) in enumerate(zip_longest(expected(), actual()), start=1):
        if wanted == found:
            continue
        if found is None:
            return f"it ends after line {number - 1}"
        is_known, is_there = found in expected(), wanted is not None and wanted in actual()
        line = next(islice(lines(file, part), number - 1, None))
        return f"line {number} {_WORDS[is_known, is_there]}: {_named(line)}"
    return "its lines agree with the digests"


def _named(line: bytes) -> str:
    """Return what names a line to people: the key or the id that it has."""
    matches = (re.search(rb'"%s":"?([^",}]{1,100})' % name, line) for name in _IDENTITIES)
    found = next((match[1] for match in matches if match), line[:60])
    return found.decode("ascii", "replace")


def _digest_line(name: str, number: int, line: bytes) -> bytes:
    return f"{hashlib.sha256(line).hexdigest()}  {name}:{number}\n".encode()


def _summary_of_file(path: Path) -> _Summary:
    with path.open("rb") as file:
        return _Summary(path.name, hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def _check_size(name: str, size: int) -> None:
    if size > MAX_PART_BYTES:
        raise BundleError(f"{name} is larger than 8 GiB: name a shorter time with --since and --until")
