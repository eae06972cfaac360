"""Evidence bundles that somebody changed or made up: each change is found and named, and a hostile file costs little."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.base.errors import BundleError
from actionwatch.service import bundle_checking
from actionwatch.service.bundle_checking import MAX_FAULTS, check_bundle
from actionwatch.text import bundle
from tests.bundles import blocks_of, ended, forged, joined, make_keys, parts_of
from tests.integration.cli.conftest import call, new_desk

RECORDS, RECEIPTS, PROOF = bundle.RECORDS, bundle.RECEIPTS, bundle.PROOF
Lines = list[bytes]


@dataclass
class Evidence:
    """A signed bundle of six records, the key of its signer, and a place for others."""

    folder: Path
    data: bytes
    key: Path

    def faults(self, data: bytes, *, is_keyed: bool = False) -> list[str]:
        """Return what the check finds in a file with these bytes."""
        path = self.folder / "other.tar"
        path.write_bytes(data)
        try:
            return list(check_bundle(path, self.key if is_keyed else None).faults)
        except BundleError as exc:
            return [str(exc)]

    def lines(self, name: str) -> Lines:
        """Return the lines of a part."""
        return parts_of(self.data)[name].splitlines(keepends=True)

    def changed(self, name: str, change: Callable[[Lines], object], *, is_forged: bool = False) -> list[str]:
        """Change the lines of a part, and the digests too if `is_forged`; return what the check finds."""
        found = self.lines(name)
        change(found)
        part = {name: b"".join(found)}
        return self.faults(forged(self.data, part) if is_forged else joined(parts_of(self.data) | part))


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Write it from the store of a real round."""
    folder = tmp_path_factory.mktemp("evidence")
    with new_desk(folder) as desk:
        for number in range(6):
            desk.act("DELETE_CLUSTER" if number == 3 else "BACKUP", 50 - number, f"user-{number}@example.com")
        assert desk.call("run", "--once").status == 0
        private, public = make_keys(folder)
        target = folder / "e.tar"
        done = desk.call("records", "export", "--bundle", str(target), "--since", "2h", "--sign", str(private))
        assert done.status == 0, done.err
    return Evidence(folder, target.read_bytes(), public)


def test_unchanged_bundle_has_no_fault(evidence: Evidence) -> None:
    """The bundle itself is accepted, so that what follows is about the change; and so is one that was only joined again."""
    assert evidence.faults(evidence.data, is_keyed=True) == []
    assert joined(parts_of(evidence.data)) == evidence.data
    assert evidence.faults(forged(evidence.data, {})) == []


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_any_changed_byte_is_found(evidence: Evidence, place: int, bit: int) -> None:
    """Wherever one bit is flipped, in a text, a digest, a header, the padding, the signature or the end, the check fails."""
    data = bytearray(evidence.data)
    data[place % len(data)] ^= 1 << bit
    assert evidence.faults(bytes(data), is_keyed=True)


def test_header_has_one_form() -> None:
    """The header of a part is what the first version wrote, whatever the version of Python."""
    digest = hashlib.sha256(bundle.header("x", 5)).hexdigest()
    assert digest.startswith("668883cdae7b")


def test_every_byte_between_the_parts_counts(evidence: Evidence) -> None:
    """Each place of a header, of the padding and of the end is compared, without any digest."""
    inside = set()
    for part in bundle.read_parts(io.BytesIO(evidence.data)).values():
        inside |= set(range(part.offset, part.offset + part.size))
    # Every seventh byte: a header has 512, so that each header is tried at other places than the one before.
    for place in set(range(0, len(evidence.data), 7)) - inside:
        data = bytearray(evidence.data)
        data[place] ^= 0x20
        with pytest.raises(BundleError):
            bundle.read_parts(io.BytesIO(bytes(data)))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda lines: lines.pop(2), "line 3 follows a line that is missing: "),
        (lambda lines: lines.pop(), "it ends after line 5"),
        (lambda lines: lines.insert(2, lines[2].replace(b"BACKUP", b"NOTHING")), "line 3 was added: "),
        (lambda lines: lines.append(b'{"record_key":"zz"}\n'), "line 7 was changed or added: zz"),
        (lambda lines: lines.insert(2, lines.pop(4)), "line 3 was moved: "),
        (lambda lines: lines.__setitem__(2, lines[2].replace(b"BACKUP", b"backup")), "line 3 was changed or added: "),
        (lambda lines: lines.clear(), "it ends after line 0"),
    ],
)
def test_changed_record_is_named(evidence: Evidence, change: Callable[[Lines], object], found: str) -> None:
    """A record that is missing, added, moved or changed is named by its line and key."""
    (fault,) = evidence.changed(RECORDS, change)
    assert fault.startswith(f"{RECORDS} is not what SHA256SUMS says: {found}")
    keys = [json.loads(line)["record_key"] for line in evidence.lines(RECORDS)]
    assert fault.endswith(("line 5", "line 0")) or any(key in fault for key in [*keys, "zz"])


@pytest.mark.parametrize("name", [name for name in bundle.NAMES if name != bundle.SIGNATURE])
def test_missing_doubled_and_moved_parts_are_found(evidence: Evidence, name: str) -> None:
    """A part that is missing, there twice, or in another place is named."""
    parts = list(parts_of(evidence.data).items())
    place = [each for each, _ in parts].index(name)
    for some in (
        parts[:place] + parts[place + 1 :],
        [*parts[: place + 1], *parts[place:]],
        [*parts[:place], *parts[place + 1 :], parts[place]],
    ):
        blocks = ended(b"".join(blocks_of(dict([each])) for each in some))
        (fault,) = evidence.faults(blocks)
        assert "should be: a part is missing, or was added or moved" in fault or "the end of the bundle" in fault


# -- somebody who computes all digests again ---------------------------------------------------------------------------


def edited(line: bytes, **changes: object) -> bytes:
    """Return a line with other values."""
    return bundle.to_line(json.loads(line) | changes)


FORGERIES: dict[str, tuple[str, Callable[[Lines], object], str]] = {
    "a record is removed": (RECORDS, lambda lines: lines.pop(2), "records, the bundle has"),
    "a record has another key": (
        RECORDS,
        lambda lines: lines.__setitem__(2, edited(lines[2], record_key=json.loads(lines[2])["record_key"][:-1] + "z")),
        "they differ",
    ),
    "a record has another kind": (
        RECORDS,
        lambda lines: lines.__setitem__(2, edited(lines[2], action_kind="CREATE_CLUSTER")),
        "they differ",
    ),
    "a record is called vanished": (
        RECORDS,
        lambda lines: lines.__setitem__(2, edited(lines[2], vanished_at="2000-01-01T00:00:00Z")),
        "they differ",
    ),
    "a record is doubled": (RECORDS, lambda lines: lines.insert(2, lines[2]), "occurs twice"),
    "records are moved": (RECORDS, lambda lines: lines.reverse(), "not in the order of keys"),
    "a record is invented": (
        RECORDS,
        lambda lines: lines.insert(
            3, edited(lines[2], record_key=json.loads(lines[2])["record_key"] + "0", source="acme")
        ),
        "they differ",
    ),
    "a receipt attests less": (
        RECEIPTS,
        lambda lines: lines.__setitem__(0, edited(lines[0], record_count=0, kind_counts={})),
        "they differ",
    ),
    "all receipts are removed": (RECEIPTS, lambda lines: lines.clear(), "called proved, and no receipt covers it"),
    "more is called proved": (
        PROOF,
        lambda lines: lines.__setitem__(-1, edited(lines[-1], start="2000-01-01T00:00:00Z")),
        "called proved, and no receipt covers it",
    ),
    "less is called proved": (PROOF, lambda lines: lines.clear(), "contradicts proof.jsonl"),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_forged_evidence_contradicts_itself(evidence: Evidence, case: str) -> None:
    """Even if all digests are computed again, receipts, records and what is called proved must agree."""
    name, change, expected = FORGERIES[case]
    faults = evidence.changed(name, change, is_forged=True)
    assert any(expected in fault for fault in faults), faults


def test_only_the_signature_shows_a_changed_text(evidence: Evidence) -> None:
    """What no receipt covers, such as the raw text or an alert, can be changed with its digests; the signature shows it."""
    for name, old, new in ((RECORDS, b"user-2", b"user-9"), ("alerts.jsonl", b"critical", b"low")):
        data = forged(evidence.data, {name: parts_of(evidence.data)[name].replace(old, new)})
        assert data != evidence.data
        assert evidence.faults(data) == []
        (fault,) = evidence.faults(data, is_keyed=True)
        assert fault.startswith("its signature is not by the owner of")


def test_signature_that_was_removed_is_missed(evidence: Evidence) -> None:
    """Without its signature, a bundle is not accepted by somebody who has the key."""
    parts = parts_of(evidence.data)
    del parts[bundle.SIGNATURE]
    assert evidence.faults(joined(parts)) == []
    assert evidence.faults(joined(parts), is_keyed=True) == ["it has no signature"]


# -- files that were never bundles -------------------------------------------------------------------------------------


def archive(*members: tuple[str, bytes, bytes]) -> bytes:
    """Make an archive with the library: names, types and contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, data in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(data), "/etc/passwd"
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


README = f"{bundle.FOLDER}/{bundle.README}"
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(4096),
    "no archive": b"A" * 4096,
    "a path out of the folder": archive((f"{bundle.FOLDER}/../../etc/passwd", tarfile.REGTYPE, b"x")),
    "an absolute path": archive(("/etc/passwd", tarfile.REGTYPE, b"x")),
    "a symbolic link": archive((README, tarfile.SYMTYPE, b"")),
    "a hard link": archive((README, tarfile.LNKTYPE, b"")),
    "a device": archive((README, tarfile.CHRTYPE, b"")),
    "a folder": archive((README, tarfile.DIRTYPE, b"")),
    "a sparse file": archive((README, tarfile.GNUTYPE_SPARSE, b"")),
    "a long name": archive((README + "x" * 200, tarfile.REGTYPE, b"x")),
    "compressed": b"\x1f\x8b\x08\x00" + bytes(4096),
    "a zip archive": b"PK\x03\x04" + bytes(4096),
    "a size that is not there": bundle.header(bundle.README, bundle.MAX_PART_BYTES),
    "a negative size": bundle.header(bundle.README, 0)[:124] + b"-0000000001\0" + bundle.header(bundle.README, 0)[136:],
    "a binary size": bundle.header(bundle.README, 0)[:124]
    + b"\x80"
    + bytes(11)
    + bundle.header(bundle.README, 0)[136:],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_other_files_are_refused(evidence: Evidence, case: str) -> None:
    """Whatever is not a bundle is refused at the first block that differs; nothing is extracted or followed."""
    before = {path.name for path in evidence.folder.iterdir()}
    (fault,) = evidence.faults(HOSTILE[case])
    assert "the bundle is cut off" in fault or "this is not a bundle of actionwatch" in fault
    assert {path.name for path in evidence.folder.iterdir()} - before <= {"other.tar"}


def test_pipes_folders_and_missing_files_are_refused(evidence: Evidence) -> None:
    """A FIFO does not block the command, and a folder or a missing file is an error of one line."""
    pipe = evidence.folder / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BundleError, match="a FIFO, not a regular file"):
        check_bundle(pipe, None)
    assert call("verify-bundle", str(evidence.folder)).status == 2
    assert call("verify-bundle", str(evidence.folder / "missing")).status == 2


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (RECORDS, b"[" * 100_000),
        (RECORDS, b'{"record_key":' + b"9" * 5000 + b"}"),
        (RECORDS, b"[]"),
        (RECORDS, b"\xff\xfe"),
        (RECEIPTS, b"{}"),
        (RECEIPTS, b'{"starts_at":"0001-01-01","ends_at":"noon"}'),
        (RECEIPTS, b'{"starts_at":7,"ends_at":[]}'),
        (PROOF, b'{"start":"2026-01-01T00:00:00","end":"x","is_proved":true,"source":"acme"}'),
        (PROOF, b'{"start":null}'),
    ],
)
def test_lines_that_are_no_documents_are_named(evidence: Evidence, name: str, line: bytes) -> None:
    """Deep, huge, malformed and mistyped values of a forged bundle are an error with the line, and no traceback."""
    faults = evidence.changed(name, lambda lines: lines.insert(0, line + b"\n"), is_forged=True)
    assert faults
    assert f"of {name}" in faults[0]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b"{" * 100_000, b'{"format": "other"}', b'{"format": 7, "parts": 7}']
)
def test_manifest_that_is_none_is_refused(evidence: Evidence, text: bytes) -> None:
    """A manifest of another form or format is a fault."""
    parts = parts_of(evidence.data) | {bundle.MANIFEST: text}
    sums = parts_of(forged(evidence.data, {}))[bundle.SUMS].decode()
    lines = [line for line in sums.splitlines() if not line.endswith(bundle.MANIFEST)]
    lines.insert(1, f"{hashlib.sha256(text).hexdigest()}  {bundle.MANIFEST}")
    parts[bundle.SUMS] = "".join(f"{line}\n" for line in lines).encode()
    faults = evidence.faults(joined(parts))
    assert any("manifest.json cannot be read" in each or "its format is" in each for each in faults), faults


def test_what_is_read_whole_is_bounded(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest or a list of sums beyond its limit, and a line beyond its limit, are refused before they are read whole."""
    parts = parts_of(evidence.data)
    monkeypatch.setattr(bundle, "MAX_SMALL_BYTES", len(parts[bundle.SUMS]) - 1)
    (fault,) = evidence.faults(evidence.data)
    assert "this is not a bundle of actionwatch" in fault
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "MAX_LINE_BYTES", 100)
    (fault,) = evidence.faults(evidence.data)
    assert "has a line of more than 100 bytes" in fault


def test_receipt_that_covers_everything_is_bounded(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the records that a receipt covers are kept, and no more than a number of them."""
    monkeypatch.setattr(bundle_checking, "MAX_WINDOW_RECORDS", 5)
    (fault,) = evidence.faults(evidence.data)
    assert "cover more than 5 records at once" in fault
    monkeypatch.setattr(bundle_checking, "MAX_WINDOW_RECORDS", 6)
    assert evidence.faults(evidence.data) == []


def test_records_of_many_sources_and_long_ones_are_bounded(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of sources that no receipt names, and long values, count too: neither fills the memory."""
    monkeypatch.setattr(bundle_checking, "MAX_WINDOW_RECORDS", 100)
    copies = [edited(evidence.lines(RECORDS)[2], source=f"source-{number:03}") for number in range(100)]
    faults = evidence.changed(RECORDS, lambda lines: lines.__setitem__(slice(3, 3), copies), is_forged=True)
    assert "cover more than 100 records at once" in faults[0]
    long = edited(evidence.lines(RECORDS)[2], action_kind="A" * 100_000)
    faults = evidence.changed(RECORDS, lambda lines: lines.__setitem__(2, long), is_forged=True)
    assert "cover more than 100 records at once" in faults[0]


def test_stretches_of_time_are_bounded(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many stretches are kept, of what is called proved and of what receipts cover."""
    stretch, receipt = evidence.lines(PROOF)[-1], evidence.lines(RECEIPTS)[-1]
    monkeypatch.setattr(bundle_checking, "MAX_STRETCHES", 9)
    faults = evidence.changed(PROOF, lambda lines: lines.extend([stretch] * 9), is_forged=True)
    assert f"{PROOF} has more than 9 separate stretches" in faults[0]
    nothing = {"record_count": 0, "kind_counts": {}, "digest": hashlib.sha256(b"").hexdigest()}
    later = [
        edited(receipt, starts_at=f"21{n}-01-01T00:00:00Z", ends_at=f"21{n}-01-02T00:00:00Z") for n in range(10, 20)
    ]
    faults = evidence.changed(
        RECEIPTS, lambda lines: lines.extend(edited(line, **nothing) for line in later), is_forged=True
    )
    assert f"{RECEIPTS} has more than 9 separate stretches" in faults[0]


LAST = "9999-12-31T23:59:59.999998Z"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59.999999-23:00", LAST])
def test_times_at_the_end_of_the_calendar_are_faults(evidence: Evidence, time: str) -> None:
    """A time that is none in UTC, or to which nothing can be added, is a fault of each part, and no traceback."""
    manifest = json.loads(parts_of(evidence.data)[bundle.MANIFEST]) | {"from": time}
    assert evidence.faults(forged(evidence.data, {bundle.MANIFEST: json.dumps(manifest).encode()}))
    for name, changes in (
        (RECORDS, {"vanished_at": time}),
        (RECEIPTS, {"starts_at": time, "ends_at": time}),
        (PROOF, {"start": time, "end": time}),
    ):
        lines = [*evidence.lines(name)[:-1], edited(evidence.lines(name)[-1], **changes)]
        faults = evidence.faults(forged(evidence.data, {name: b"".join(lines)}))
        assert "cannot be read" in faults[0]


@pytest.mark.parametrize("number", [None, "7", True, float("nan"), [[]]])
def test_record_without_an_id_is_named(evidence: Evidence, number: object) -> None:
    """An id that compares with nothing would hide an added record from every receipt."""
    line = evidence.lines(RECORDS)[2]
    added = edited(line, record_key=json.loads(line)["record_key"] + "0", id=number)
    assert evidence.changed(RECORDS, lambda lines: lines.insert(3, added), is_forged=True) == [
        f"line 4 of {RECORDS} has no id"
    ]


def test_source_that_the_manifest_does_not_name_is_a_fault(evidence: Evidence) -> None:
    """Nobody hides what is not proved of a source by not naming it."""
    manifest = json.loads(parts_of(evidence.data)[bundle.MANIFEST]) | {"sources": [], "proof": []}
    faults = evidence.faults(forged(evidence.data, {bundle.MANIFEST: json.dumps(manifest).encode()}))
    assert f"line 1 of {PROOF}: manifest.json does not name its source" in faults


def test_fault_quotes_only_the_beginning_of_a_value(evidence: Evidence) -> None:
    """A long value of a hostile bundle is not printed as a whole."""
    line = edited(evidence.lines(RECEIPTS)[0], record_count="9" * 1_000_000)
    (fault,) = evidence.changed(RECEIPTS, lambda lines: lines.__setitem__(0, line), is_forged=True)
    assert len(fault) == 1000


def test_faults_are_counted_up_to_a_number(evidence: Evidence) -> None:
    """Many faults are cut, so that one change of a large bundle prints no thousands of lines."""
    receipt = evidence.lines(RECEIPTS)[0]
    faults = evidence.changed(
        RECEIPTS, lambda lines: lines.__setitem__(slice(None), [edited(receipt, record_count=99)] * 50), is_forged=True
    )
    assert (len(faults), faults[-1]) == (MAX_FAULTS + 1, "and more")
