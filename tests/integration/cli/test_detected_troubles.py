"""Commands that read the store change nothing, and report what they cannot know."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from actionwatch.base.clock import to_micros
from actionwatch.service import app, configuration
from tests.children import run_child
from tests.integration.cli.conftest import Desk
from tests.integration.notifiers.http_end import Reply

READERS = [
    ["records", "list"], ["records", "export"], ["records", "receipts"], ["records", "receipts", "--verify"],
    ["records", "proof"], ["alerts", "list"], ["alerts", "show", "x"], ["deliveries", "list"], ["deliveries", "show", "x"],
    ["receivers", "list"], ["silences", "list"], ["explain", "x"], ["rules", "explain", "x", "cluster_deleted"],
    ["rules", "backtest", "cluster_deleted"],
]  # fmt: skip
WRITERS = [
    ["alerts", "ack", "x"], ["alerts", "resolve", "x"], ["deliveries", "retry", "--dead"], ["deliveries", "drop", "--dead"],
    ["silences", "add", "rule=x", "--for", "1h", "--comment", "test"], ["silences", "expire", "x"],
]  # fmt: skip
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def files(folder: Path) -> dict[str, str]:
    """Return a digest of every file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def polled(desk: Desk, ago: timedelta) -> None:
    """Set the age of the last poll."""
    desk.change("UPDATE poll SET last_poll_at = :at", at=to_micros(datetime.now(UTC) - ago))


@contextlib.contextmanager
def owning(desk: Desk) -> Iterator[None]:
    """Hold the lock of the store, like a running service."""
    database = app.open_store(configuration.read_settings(desk.config))
    with contextlib.closing(database), database.joined():
        yield


def test_missing_store_is_an_error(desk: Desk) -> None:
    """A wrong store path is an error with the path and a remedy. No file is created, and no list looks empty."""
    before = files(desk.folder)
    for command in [*READERS, *WRITERS]:
        called = desk.call(*command)
        assert (called.status, called.out) == (1, ""), command
        assert f"there is no store at {desk.file}" in called.err
        assert "'actionwatch run' creates" in called.err
    assert files(desk.folder) == before


def test_status_without_a_store(desk: Desk) -> None:
    """Without a store, `status` prints the document of the contract with the trouble, and creates nothing."""
    before = files(desk.folder)
    called = desk.call("status", "-o", "json")
    assert called.status == 1
    (source,) = called.json["sources"]
    assert (source["last_poll"], source["records"]) == (None, 0)
    (trouble,) = called.json["troubles"]
    assert (trouble["trouble"], trouble["since"]) == ("store_missing", None)
    assert "store.url" in trouble["remedy"]
    assert str(desk.file) in desk.call("status").out
    assert files(desk.folder) == before


@pytest.mark.parametrize(
    ("version", "words"), [("0019", "schema 0019 of a development version before 1.0"), ("9999", "schema 9999")]
)
def test_store_of_another_version_is_not_changed(desk: Desk, version: str, words: str) -> None:
    """Commands do not change a store of another version, and print the remedy. Only the service migrates it."""
    assert desk.call("run", "--once").status == 0
    desk.change("UPDATE alembic_version SET version_num = :version, minimum_reader = :version", version=version)
    before = files(desk.folder)
    for command in [*READERS, *WRITERS]:
        called = desk.call(*command)
        assert (called.status, called.out) == (1, ""), command
        assert words in called.err
    assert files(desk.folder) == before
    status = desk.call("status", "-o", "json")
    assert status.status == 1
    assert [trouble["trouble"] for trouble in status.json["troubles"]] == ["store_unreadable"]


def old_tables(desk: Desk) -> None:
    """Make the store like that of an unreleased version, which gave its schema the same revision."""
    desk.change("ALTER TABLE poll DROP COLUMN clock_skew")


def no_revision(desk: Desk) -> None:
    """Make the store like the database of another program."""
    desk.change("DROP TABLE alembic_version")


def other_content(desk: Desk) -> None:
    """Put a file of another kind in the place of the store."""
    desk.file.write_text("something else" * 1000)


def damage(desk: Desk) -> None:
    """Damage every page except the first, which lists the tables."""
    file = desk.file
    content = file.read_bytes()
    page_bytes = int.from_bytes(content[16:18])
    file.write_bytes(content[:page_bytes] + b"\xff" * (len(content) - page_bytes))


@pytest.mark.parametrize(
    ("wreck", "why", "remedy"),
    [
        (old_tables, "the column poll.clock_skew is missing", "'actionwatch run' creates a new store"),
        (no_revision, "no revision of actionwatch", "check store.url"),
        (other_content, "file is not a database", "'actionwatch run' creates a new store"),
        (damage, "database disk image is malformed", "'actionwatch run' creates a new store"),
    ],
)
def test_unusable_store_is_reported_by_every_command(
    desk: Desk, wreck: Callable[[Desk], None], why: str, remedy: str
) -> None:
    """A command does not change such a store, and prints the file, the reason and the remedy."""
    assert desk.call("run", "--once").status == 0
    wreck(desk)
    before = desk.file.read_bytes()
    for command in [*READERS, *WRITERS, ["run"], ["run", "--once"]]:
        called = desk.call(*command)
        assert (called.status, called.out) == (1, ""), command
        assert f"the store {desk.file} " in called.err, command
        assert why in called.err, command
        assert remedy in called.err, command
    assert desk.file.read_bytes() == before
    status = desk.call("status", "-o", "json")
    assert status.status == 1
    assert [trouble["trouble"] for trouble in status.json["troubles"]] == ["store_unreadable"]
    assert why in desk.call("status").out


def test_reading_changes_nothing(filled: Desk) -> None:
    """No command that reads changes the store or leaves a file next to it."""
    before = files(filled.folder)
    (filled.folder / "silences").mkdir()
    (filled.folder / "silences" / "night.yml").write_text(
        "- matchers: ['rule=\"cluster_deleted\"']\n  author: sam\n  comment: test\n  ends_at: 2999-01-01T00:00:00Z\n"
    )
    for command in [*READERS, ["status"]]:
        filled.call(*command)
        assert files(filled.folder) == before, command


def test_stopped_service_is_reported(desk: Desk) -> None:
    """A service that stopped days ago, or no longer polls, is a trouble with a remedy, and the exit status is 1."""
    assert desk.call("run", "--once").status == 0
    polled(desk, timedelta(days=7))
    stopped = desk.call("status", "-o", "json")
    assert stopped.status == 1
    (trouble,) = stopped.json["troubles"]
    assert (trouble["trouble"], trouble["since"]) == ("service_stopped", stopped.json["sources"][0]["last_poll"])
    assert "actionwatch run" in trouble["remedy"]
    text = desk.call("status").out
    assert "last polled 7d" in text
    assert "no service is running on this store" in text
    with owning(desk):
        stuck = desk.call("status", "-o", "json")
        assert stuck.status == 1
        assert [trouble["trouble"] for trouble in stuck.json["troubles"]] == ["poll_overdue"]
        assert "the service is running but does not poll" in desk.call("status").out
        polled(desk, timedelta(seconds=30))
        assert desk.call("status").status == 0


def test_between_two_runs_of_cron(desk: Desk) -> None:
    """After `run --once`, `status` shows no trouble until the next run is overdue by its poll_interval."""
    desk.write(poll_interval="10m")
    assert desk.call("run", "--once").status == 0
    for ago, status in ((0, 0), (10, 0), (20, 0), (22, 1)):
        polled(desk, timedelta(minutes=ago))
        assert desk.call("status").status == status, ago


def test_a_service_that_was_killed_is_missed_at_once(desk: Desk) -> None:
    """A service that did not end by itself is missed at once; one that did, after 3 intervals and 10 s; then a round waits."""
    desk.write(poll_interval="10m")
    assert desk.call("run", "--once").status == 0
    database = app.open_store(configuration.read_settings(desk.config))
    with contextlib.closing(database):
        with contextlib.suppress(KeyError), database.joined() as membership:
            membership.write(b"note of a service")
            raise KeyError
        killed = desk.call("status", "-o", "json")
        assert [trouble["trouble"] for trouble in killed.json["troubles"]] == ["service_stopped"]
        assert (
            "no service is running on this store, and the last one did not end by itself"
            in killed.json["troubles"][0]["what"]
        )
        with database.joined() as membership:
            membership.write(b"note of a service")
        for ago, status in ((timedelta(0), 0), (timedelta(minutes=30), 0), (timedelta(minutes=30, seconds=11), 1)):
            polled(desk, ago)
            assert desk.call("status").status == status, ago
        with contextlib.suppress(KeyError), database.joined() as membership:
            membership.write(b"note of a service")
            raise KeyError
    assert desk.call("run", "--once").status == 0
    assert desk.call("status").status == 0


def test_source_that_waits_after_failures(desk: Desk) -> None:
    """`status` shows how a source fails and when it is polled again, and takes no wait of a running service for a hang."""
    desk.faults.set("rate_limited:20m")
    assert desk.call("run", "--once").status == 1
    with owning(desk):
        text = desk.call("status").out
        assert "the last poll failed: the upstream limits the request rate: HTTP 429" in " ".join(text.split())
        assert re.search(r"the next poll starts in (20m|19m\d+s)", " ".join(text.split()))
        (source,) = desk.call("status", "-o", "json").json["sources"]
        assert source["failing"]["polls"] == 1
        assert "HTTP 429" in source["failing"]["error"]
        last, resumes = (datetime.fromisoformat(at) for at in (source["last_poll"], source["failing"]["resumes_at"]))
        assert resumes - last == timedelta(minutes=20)
        polled(desk, timedelta(minutes=20))
        assert "poll_overdue" not in desk.call("status").out
        polled(desk, timedelta(minutes=23))
        assert "poll_overdue" in desk.call("status").out
    polled(desk, timedelta(minutes=20))
    assert "service_stopped" in desk.call("status").out
    assert "the next poll" not in desk.call("status").out
    desk.faults.clear()
    assert desk.call("run", "--once").status == 0
    (source,) = desk.call("status", "-o", "json").json["sources"]
    assert "failing" not in source


def test_a_source_that_was_never_polled(desk: Desk) -> None:
    """A store that was never polled, and a source that was added later, are troubles."""
    app.open_store(configuration.read_settings(desk.config)).close()
    never = desk.call("status", "-o", "json")
    assert never.status == 1
    assert [(trouble["trouble"], trouble["since"]) for trouble in never.json["troubles"]] == [("service_stopped", None)]
    assert "never polled" in desk.call("status").out
    assert desk.call("run", "--once").status == 0
    assert desk.call("status").status == 0
    desk.change("UPDATE poll SET source = 'other'")
    assert desk.call("status").status == 1


def test_a_last_poll_in_the_future(desk: Desk) -> None:
    """A clock that was set back does not make an old poll fresh."""
    assert desk.call("run", "--once").status == 0
    polled(desk, timedelta(hours=-1))
    assert desk.call("status").status == 1
    assert "in the future" in desk.call("status").out


def test_decision_without_a_service_prints_a_note(desk: Desk) -> None:
    """A decision while no service runs prints a note that its messages wait for the next run."""
    desk.act("DELETE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    with owning(desk):
        assert desk.call("alerts", "ack", alert["id"]).err == ""
    resolved = desk.call("alerts", "resolve", alert["id"])
    assert resolved.status == 0
    assert "no service is running on this store" in resolved.err
    assert desk.call("run", "--once").status == 0
    assert desk.webhook.requests[-1].json["type"] == "alert.resolved"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of 16 MB."""
    folder.mkdir()
    assert run_child(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder]).returncode == 0
    try:
        yield folder
    finally:
        assert run_child(["umount", "-l", folder]).returncode == 0


@needs_root
def test_full_disk_is_reported_while_it_lasts(desk: Desk) -> None:
    """`status` checks the disk itself: a full disk, which can store no alert, is a trouble until there is room again."""
    with small_disk(desk.folder / "disk") as disk:
        assert not desk.file.exists()
        desk.more = "store: {url: 'sqlite:///disk/actionwatch.db'}\n"
        desk.write()
        assert desk.call("run", "--once").status == 0
        assert desk.call("status").status == 0, desk.call("status").out
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        desk.act("DELETE_CLUSTER", 5)
        failed = desk.call("run", "--once")
        assert failed.status == 1
        assert "Traceback" not in failed.err
        full = desk.call("status", "-o", "json")
        assert full.status == 1
        assert "store_nearly_full" in [trouble["trouble"] for trouble in full.json["troubles"]]
        assert "0 MiB are free" in desk.call("status").out
        ballast.unlink()
        assert desk.call("run", "--once").status == 0
        assert desk.call("status").status == 0, desk.call("status").out
        assert len(desk.webhook.requests) >= 1


@needs_root
def test_store_on_a_read_only_file_system_can_be_read(desk: Desk) -> None:
    """A store on a read-only file system, such as a backup, can be read if its log is empty."""
    with small_disk(desk.folder / "disk") as disk:
        assert not desk.file.exists()
        desk.more = "store: {url: 'sqlite:///disk/actionwatch.db'}\n"
        desk.write()
        desk.act("DELETE_CLUSTER", 5)
        assert desk.call("run", "--once").status == 0
        assert run_child(["mount", "-o", "remount,ro", disk]).returncode == 0
        assert len(desk.call("alerts", "list", "-o", "json").json) == 1
        assert len(desk.call("records", "list", "-o", "json").json) == 1


def test_write_ahead_log_of_a_killed_service_is_read(desk: Desk) -> None:
    """Commands show what a service committed before it was killed, even if it is only in the log."""
    assert desk.call("run", "--once").status == 0
    code = (
        "import os, sys; from actionwatch.store.database import Database; d = Database(sys.argv[1])\n"
        "with d.write() as c: c.exec_driver_sql(\"UPDATE poll SET failures = 2, last_error = 'lost'\")\n"
        "os._exit(9)"
    )
    assert run_child([sys.executable, "-c", code, f"sqlite:///{desk.file}"]).returncode == 9
    assert desk.file.with_name("actionwatch.db-wal").stat().st_size > 0
    assert "the last 2 polls failed: lost" in desk.call("status").out


def test_retry_without_a_service_prints_a_note(desk: Desk) -> None:
    """`deliveries retry` prints a note if no service is running to send."""
    desk.act("DELETE_CLUSTER", 5)
    desk.webhook.queue.append(Reply(400))
    assert desk.call("run", "--once").status == 1
    assert "no service is running on this store" in desk.call("deliveries", "retry", "--dead").err


def test_reader_does_not_prevent_a_service_from_starting(desk: Desk) -> None:
    """Checking whether a service runs takes the lock for an instant. A service that starts at that time waits for it."""
    database = desk.open_store()
    with contextlib.closing(database):
        database.upgrade()
        with database.joined():
            assert database.is_owned()
        assert not database.is_owned()


@pytest.mark.parametrize("key", ["lists", "templates", "silences"])
def test_missing_configured_folder_is_reported(desk: Desk, key: str) -> None:
    """`check` reports a configured folder that does not exist, with its location. A default folder may be missing."""
    assert desk.call("check").status == 0
    desk.more = f"{key}: mistyped/\n"
    desk.write()
    called = desk.call("check")
    assert called.status == 2
    line = desk.config.read_text().splitlines().index(desk.more.strip()) + 1
    assert f"actionwatch.yaml:{line}:1: {key}: there is no {desk.folder / 'mistyped'}: create it" in called.err
    (desk.folder / "mistyped").mkdir()
    assert desk.call("check").status == 0
