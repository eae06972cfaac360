"""`store copy`: what a person sees, and a service that continues on the copy."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests import postgresql
from tests.integration.cli.conftest import Desk, call, new_desk


def opened(desk: Desk) -> list[str]:
    """Return the users of the alerts that the webhook received, in order."""
    bodies = [request.json for request in desk.webhook.requests]
    return [body["data"]["records"][-1]["userName"] for body in bodies if body["type"] == "alert.opened"]


def test_service_continues_on_the_copy(tmp_path: Path) -> None:
    """After the move no alert is repeated, a new record alerts, and the alerts of before can be acknowledged."""
    with postgresql.other_database("moved") as url, new_desk(tmp_path) as desk:
        desk.act("DELETE_CLUSTER", 40, "eve@example.com")
        desk.act("DELETE_CLUSTER", 30, "bob@example.com")
        assert desk.call("run", "--once").status == 0
        alerts, records = (desk.call(noun, "list", "-o", "json").json for noun in ("alerts", "records"))

        copied = call("store", "copy", f"sqlite:///{desk.file}", url)
        assert (copied.status, copied.err) == (0, "")
        *_, summary, following = copied.out.splitlines()
        assert summary.endswith(f" tables: the copy is equal to sqlite:///{desk.file}")
        assert following == f"next: set store.url to {url}, and start no service on the file again"
        assert any(line.split()[:3] == ["record", "2", "rows"] for line in copied.out.splitlines())

        desk.store = url
        desk.write()
        assert [desk.call(noun, "list", "-o", "json").json for noun in ("alerts", "records")] == [alerts, records]
        assert desk.call("alerts", "ack", alerts[0]["id"]).status == 0
        desk.act("DELETE_CLUSTER", 5, "mallory@example.com")
        for _ in range(2):
            assert desk.call("run", "--once").status == 0
        assert sorted(opened(desk)) == ["bob@example.com", "eve@example.com", "mallory@example.com"]
        assert desk.call("records", "receipts", "--verify").status == 0
        with contextlib.closing(desk.open_store()) as database, database.read() as connection:
            ids = connection.exec_driver_sql("SELECT id FROM record ORDER BY occurred_at").scalars().all()
        assert ids == sorted(ids)
        again = call("store", "copy", f"sqlite:///{tmp_path / 'actionwatch.db'}", url)
        assert (again.status, again.out) == (1, "")
        assert "has a store already" in again.err


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        (
            ("postgresql+psycopg://u@h/a", "sqlite:///a.db"),
            "SQLITE-URL: not the URL of a store in sqlite",
        ),
        (("sqlite:///a.db", "sqlite:///b.db"), "POSTGRESQL-URL: not the URL of a store in postgresql"),
        (("sqlite:///a.db", "postgresql+psycopg://u:secret@h/a"), "PGPASSWORD"),
    ],
)
def test_unsuitable_urls_are_usage_errors(urls: tuple[str, str], words: str) -> None:
    """A URL of the wrong kind, or with a password, is a usage error that says what is accepted."""
    refused = call("store", "copy", *urls)
    assert (refused.status, refused.out) == (2, "")
    assert words in " ".join(refused.err.split())
    assert "secret" not in refused.err


def test_missing_file_is_reported(tmp_path: Path) -> None:
    """Without a store to copy, nothing is created, and the message names the file."""
    missing = call("store", "copy", f"sqlite:///{tmp_path / 'none.db'}", "postgresql+psycopg://u@127.0.0.1:9/a")
    assert (missing.status, missing.out) == (1, "")
    assert f"there is no store at {tmp_path / 'none.db'}" in missing.err
    assert not list(tmp_path.iterdir())
