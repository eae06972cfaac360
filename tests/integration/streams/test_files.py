"""Objects in folders: their names, their formats, and the manifests that prove a day."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.streams.driver import StreamMessage
from actionwatch.streams.drivers import files
from tests.children import run_child

DAY = datetime(2026, 11, 25, tzinfo=UTC)
ONE_DAY = timedelta(days=1)


def driver(folder: Path, **changed: Any) -> files.FilesDriver:
    options = files.Options.model_validate({"url": f"file://{folder}", **changed}, context={"folder": Path()})
    return files.build(options, stream="files")


def record(
    offset: int, at: datetime = DAY + timedelta(hours=9), body: bytes = b'{"text": "\xc3\xa4"}'
) -> StreamMessage:
    return StreamMessage(f"record/{offset}", "record", offset, at, "key", body)


def statement(kind: str, offset: int, ends_at: datetime) -> StreamMessage:
    return StreamMessage(f"{kind}/{offset}", kind, offset, ends_at, "source", b'{"count": 1}')


def complete(offset: int, day: datetime = DAY) -> StreamMessage:
    return statement("stream.complete_through", offset, day + ONE_DAY)


def amended(offset: int, day: datetime = DAY) -> StreamMessage:
    return statement("stream.amended", offset, day + timedelta(hours=10))


def verified(folder: Path) -> str:
    """Verify the manifest of a day as people do, and return its names."""
    checked = run_child(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return checked.stdout


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_each_day_of_a_batch_becomes_an_object(tmp_path: Path) -> None:
    """A batch becomes one object for each day of its messages; the name has the first and the last offset."""
    driver(tmp_path).send([record(7), record(8, DAY - ONE_DAY), record(9)])
    assert [name[:57] for name in names(tmp_path)] == [
        "date=2026-11-24/00000000000000000008-00000000000000000008",
        "date=2026-11-25/00000000000000000007-00000000000000000009",
    ]


def test_statement_belongs_to_the_day_that_it_is_about(tmp_path: Path) -> None:
    """The statement about the last hour of a day, made at midnight, is in the folder of that day."""
    driver(tmp_path).send([complete(3)])
    assert {name.partition("/")[0] for name in names(tmp_path)} == {"date=2026-11-25"}


def test_repeat_overwrites_with_the_same_bytes(tmp_path: Path) -> None:
    """With and without compression, a repeat changes nothing."""
    for compression in ("gzip", "none"):
        folder = tmp_path / compression
        folder.mkdir()
        for _ in range(2):
            driver(folder, compression=compression).send([record(1), record(2)])
        assert len(names(folder)) == 1


def test_lines_contain_the_bodies(tmp_path: Path) -> None:
    """A body in JSON is part of its line; what is not JSON, or has several lines, is a text."""
    bodies = (b'{"a": 1}', b"plain text", b'{\n"a": 1}', b"\xff")
    driver(tmp_path, compression="none").send([record(n, body=body) for n, body in enumerate(bodies)])
    (name,) = names(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
    assert [line["body"] for line in lines] == [{"a": 1}, "plain text", '{\n"a": 1}', "\ufffd"]
    assert lines[0] == {
        "id": "record/0",
        "kind": "record",
        "offset": 0,
        "at": "2026-11-25T09:00:00.000Z",
        "key": "key",
        "body": {"a": 1},
    }


def test_gzip_is_the_usual_one(tmp_path: Path) -> None:
    """What reads gzip reads the objects."""
    driver(tmp_path, compression="gzip").send([record(1)])
    line = gzip.decompress(next(tmp_path.rglob("*.jsonl.gz")).read_bytes())
    assert json.loads(line)["id"] == "record/1"


def test_complete_day_has_a_manifest(tmp_path: Path) -> None:
    """When a day is complete, `sha256sum -c` verifies all its objects, and finds one that was changed or removed."""
    opened = driver(tmp_path)
    opened.send([record(1)])
    folder = tmp_path / "date=2026-11-25"
    assert not (folder / "SHA256SUMS").exists()
    opened.send([record(2), complete(2)])
    assert verified(folder).count("OK") == 2
    changed, removed = sorted(folder.glob("*.gz"))
    changed.write_bytes(b"")
    removed.unlink()
    checked = run_child(["sha256sum", "-c", "SHA256SUMS"], cwd=folder)
    assert checked.returncode == 1
    assert "FAILED\n" in checked.stdout
    assert "FAILED open or read" in checked.stdout


def test_hours_complete_no_day(tmp_path: Path) -> None:
    """A statement about another hour than the last one of the day writes no manifest."""
    driver(tmp_path).send([record(1), statement("stream.complete_through", 1, DAY + timedelta(hours=10))])
    assert not [name for name in names(tmp_path) if "SHA256SUMS" in name]


def test_manifest_contains_the_one_before_it(tmp_path: Path) -> None:
    """Each manifest names that of the day before: who changes a day must change all after it."""
    opened = driver(tmp_path)
    for number, day in enumerate((DAY, DAY + ONE_DAY, DAY + 2 * ONE_DAY)):
        opened.send([record(number, day), complete(number, day)])
    last = tmp_path / "date=2026-11-27"
    assert "../date=2026-11-26/SHA256SUMS: OK" in verified(last)
    before = (last / "SHA256SUMS").read_text()
    opened.send([record(9), amended(9)])
    assert (last / "SHA256SUMS").read_text() != before
    for name, count in (("date=2026-11-25", 2), ("date=2026-11-26", 2), ("date=2026-11-27", 2)):
        assert verified(tmp_path / name).count("OK") == count


def test_amendment_of_an_open_day_waits(tmp_path: Path) -> None:
    """An amendment of a day without a manifest writes none."""
    driver(tmp_path).send([record(1), amended(1)])
    assert not [name for name in names(tmp_path) if "SHA256SUMS" in name]


def test_manifest_names_only_objects(tmp_path: Path) -> None:
    """A file of somebody else, and a draft that a crash has left, are not in the manifest."""
    opened = driver(tmp_path)
    opened.send([record(1)])
    folder = tmp_path / "date=2026-11-25"
    (folder / "notes.txt").write_text("mine")
    shutil.copy(next(folder.glob("*.gz")), folder / f".{next(folder.glob('*.gz')).name}")
    opened.send([complete(2)])
    assert verified(folder).count("OK") == 2


def test_full_disk_is_transient(tmp_path: Path) -> None:
    """A full disk is a transient error that says so, and leaves no object."""
    if run_child(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path]).returncode != 0:
        pytest.skip("only root may mount a small file system")
    try:
        with pytest.raises(TransientDeliveryError, match="No space left on device: check the disk"):
            driver(tmp_path, compression="none").send([record(1, body=b"x" * 100_000)])
        assert not [name for name in names(tmp_path) if Path(name).name[0] != "."]
    finally:
        assert run_child(["umount", tmp_path]).returncode == 0


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"url": "https://bucket"}, "must be s3://bucket/prefix, or file:///folder"),
        ({"url": "file://host/folder"}, "must be s3://bucket/prefix, or file:///folder"),
        ({"url": "s3://bucket", "access_key_id": "x"}, "belong together"),
        ({"url": "s3://bucket", "endpoint": "http://storage.example"}, "only for loopback"),
        ({"url": "s3://bucket", "lock": {"days": 1}}, "Extra inputs are not permitted"),
    ],
)
def test_options_are_checked(given: dict[str, Any], what: str) -> None:
    """A wrong key is reported with the configuration."""
    with pytest.raises(ValueError, match=what):
        files.Options.model_validate(given)
