"""The export of a search of records: all of it, in every format of the command, in parts, without holding anything up."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import Browser, expect
from structlog.testing import capture_logs

from actionwatch.base.access import AccessRole
from actionwatch.store import records, tokens
from actionwatch.store.database import Database
from actionwatch.text.formats.exports import CSV_COLUMNS, FORMATS
from actionwatch.text.payloads import record_document
from actionwatch.web import connections
from actionwatch.web.console import records as view
from tests.browser import viewing
from tests.builders import NOON, make_record
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, give_token, newest_first
from tests.integration.web.test_console_browser import TEXTS
from tests.statements import transactions
from tests.waiting import pause, wait_until

PATH = "/records/export"
COUNT = 25
RECORDS = [make_record(number, minutes=number, user_name=("eve", "bob")[number % 2]) for number in range(COUNT)]


@pytest.fixture
def web(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Serve a console with some records, which takes several readings to export."""
    monkeypatch.setattr(view, "EXPORTED_AT_ONCE", 4)
    with database.write() as connection:
        records.insert_new(connection, RECORDS)
    with Served(database).open() as client:
        yield client


def keys(answer: httpx.Response) -> list[str]:
    """Return the keys of the records in a file of JSON lines."""
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["key"] for line in answer.text.splitlines()]


def test_all_that_match_are_exported_newest_first(web: httpx.Client) -> None:
    """The file has every record of the search, on however many pages, once, in the order of the page."""
    newest_first = [record.key for record in reversed(RECORDS)]
    assert keys(web.get(PATH)) == newest_first
    assert keys(web.get(PATH, params={"user": "eve"})) == newest_first[::2]
    assert keys(web.get(PATH, params={"user": "nobody"})) == []
    page = web.get("/records?user=eve").text
    links = re.findall(r'href="(/records/export[^"]+)"', page)
    assert len(links) == len(FORMATS)
    assert keys(web.get(html.unescape(links[0]))) == newest_first[::2]


@in_one_test("form", FORMATS)
@in_one_test("user", [None, "nobody"])
def test_each_format_is_a_whole_file(web: httpx.Client, form: str, user: str | None) -> None:
    """A file has its type, its name, and one item for each record, also if there is none."""
    answer = web.get(PATH, params={"format": form, **({"user": user} if user else {})})
    expected = 0 if user else COUNT
    assert answer.headers["content-type"] == FORMATS[form].media_type
    suffix = FORMATS[form].suffix
    assert answer.headers["content-disposition"] == f'attachment; filename="records-20261125T120000Z.{suffix}"'
    if form == "json":
        assert len(answer.json()) == expected
    elif form == "csv":
        rows = list(csv.reader(io.StringIO(answer.text, newline="")))
        assert (rows[0], len(rows) - 1) == (list(CSV_COLUMNS), expected)
    else:
        assert len([json.loads(line) for line in answer.text.splitlines()]) == expected


def test_hostile_text_stays_data(database: Database) -> None:
    """Audit text is the same in the file as in the store, and no formula in a spreadsheet."""
    texts = [*(text.replace("\0", "?") for text in TEXTS.values()), "=cmd()|'"]  # no text in PostgreSQL has a NUL
    made = [make_record(number, description=text, user_name=text) for number, text in enumerate(texts)]
    with database.write() as connection:
        records.insert_new(connection, made)
    with Served(database).open() as client:
        found = [json.loads(line) for line in client.get(PATH).text.splitlines()]
        rows = list(csv.DictReader(io.StringIO(client.get(f"{PATH}?format=csv").text, newline="")))
    with database.read() as connection:
        assert found == [record_document(each) for each in newest_first(connection)]
    assert "'=cmd()|'" in {row["description"] for row in rows}
    assert not [row for row in rows if (row["description"] or "x")[0] in "=+-@\t\r"]


@contextmanager
def unread(web: httpx.Client, database: Database) -> Iterator[Iterator[bytes]]:
    """Begin an export that is too large for the buffers of a connection, and do not read on."""
    with database.write() as connection:
        for some in range(8):
            made = [make_record(number, minutes=-some, description="x" * 40_000) for number in range(100)]
            records.insert_new(connection, made)
    with web.stream("GET", PATH, headers={"accept-encoding": "identity"}) as slow:
        parts = slow.iter_raw()
        next(parts)
        yield parts


def test_a_slow_client_holds_nothing_up(web: httpx.Client, database: Database) -> None:
    """While one export is not read, another one and a writer are served: no transaction is open between two parts."""
    with unread(web, database) as parts:
        with database.write() as connection:
            records.insert_new(connection, [make_record(9999, minutes=COUNT + 1)])
        assert len(keys(web.get(f"{PATH}?user=bob"))) == COUNT // 2
        assert sum(map(len, parts)) > 30_000_000, "the first one is complete"


def test_an_export_outlives_the_deadline_of_a_page(
    web: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes some of the file all the time gets all of it, however long that takes."""
    monkeypatch.setattr(connections, "SERVE_SECONDS", 1.5)
    with unread(web, database) as parts:
        for _ in range(20):
            next(parts)
            pause(0.1)
        assert sum(map(len, parts)) > 28_000_000


def test_exports_are_bounded(web: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports that run leave connections for probes. One that ends makes room, also if its client leaves."""
    monkeypatch.setattr(view, "MAX_EXPORTS", 1)
    with unread(web, database):
        refused = web.get(PATH)
        assert (refused.status_code, "try again when one has ended" in refused.text) == (503, True)

    def export() -> httpx.Response | None:
        answer = web.get(f"{PATH}?user=bob")
        return None if answer.status_code == 503 else answer

    assert len(keys(wait_until(export, "room for an export"))) == COUNT // 2


def test_a_failing_store_leaves_no_whole_file(web: httpx.Client, database: Database) -> None:
    """If the store fails, the client sees an error: a broken transfer after the first part, and a page before it."""
    with unread(web, database) as parts:
        with database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE record RENAME TO gone")
        with pytest.raises(httpx.RemoteProtocolError):
            sum(map(len, parts))
    refused = web.get(PATH)
    assert (refused.status_code, "<h1>" in refused.text) == (503, True)


def test_a_token_that_is_revoked_ends_an_export(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person exports breaks off when their token is revoked, and is no whole file."""
    monkeypatch.setattr(view, "EXPORTED_AT_ONCE", 4)
    secret = give_token(database, role=AccessRole.READER)
    with Served(database, open_to=None).open() as client, capture_logs() as logs:
        client.headers["authorization"] = f"Bearer {secret}"
        with unread(client, database) as parts:
            with database.write() as connection:
                tokens.revoke(connection, ["token of sam"], "admin", NOON)
            with pytest.raises(httpx.RemoteProtocolError):
                sum(map(len, parts))
        assert client.get(PATH).status_code == 401
    assert [each["event"] for each in logs if each["event"] == "export_broken_off"] == ["export_broken_off"]


def test_each_reading_is_short(web: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that finds nothing reads in parts too, so that it neither fills the memory nor holds the others up."""
    monkeypatch.setattr(view, "SEARCHED_AT_ONCE", 5)
    with transactions() as ran:
        assert web.get(f"{PATH}?text=nowhere").text == ""
    assert len(ran) >= COUNT // 5


@in_one_test(
    ("query", "problem"),
    [
        ("format=xml", "format: xml is unknown: use jsonl, json, csv, cloudevents, ocsf"),
        ("since=soon", "since: soon is not a time"),
        ("user=%00", "NUL"),
    ],
)
def test_mistakes_are_named(web: httpx.Client, query: str, problem: str) -> None:
    """A wrong query is a page that says what is wrong, not a file."""
    answer = web.get(f"{PATH}?{query}")
    assert (answer.status_code, problem in answer.text) == (400, True)


def test_another_site_starts_no_export(web: httpx.Client) -> None:
    """Pages of other sites may not start one, and the method HEAD sends no file."""
    assert web.get(PATH, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert web.get(PATH, headers={"sec-fetch-site": "same-origin"}).status_code == 200
    assert web.head(PATH).headers["content-type"] == "application/x-ndjson"


def test_a_browser_saves_the_file(browser: Browser, web: httpx.Client) -> None:
    """The link on the page of records saves a file."""
    with viewing(browser, str(web.base_url).rstrip("/")) as viewer:
        viewer.open("/records?user=eve")
        link = viewer.page.get_by_role("link", name="CSV")
        expect(link).to_be_visible()
        with viewer.page.expect_download() as saved:
            link.click()
        assert saved.value.suggested_filename == "records-20261125T120000Z.csv"
        assert saved.value.path().read_text().count("\n") == 1 + (COUNT + 1) // 2
        assert viewer.wrong == []
