"""The pages of the records: search, timelines, paging without counting, and one record with its proof and raw text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.base.model import Entity, RecordFilter
from actionwatch.queries import records as queries
from actionwatch.store import alerts, receipts, record_search, records
from actionwatch.store.database import Database
from actionwatch.text.formats.exports import FORMATS
from tests.builders import NOON, make_alert, make_receipt, make_record, only_sqlite, open_database
from tests.integration.web.console_kit import Served, newest_first
from tests.integration.web.test_console_alerts import pages_of
from tests.statements import statements

MINUTE = timedelta(minutes=1)
LINK = re.compile(r'<a href="/records/([^"?]+)" data-item>')


@pytest.fixture
def web(database: Database) -> Iterator[httpx.Client]:
    """Serve a console with three records."""
    orders = Entity("c-1", "orders")
    with database.write() as connection:
        made = [
            make_record(1, minutes=0, cluster=orders, description="deleted 100% by hand"),
            make_record(2, minutes=-10, user_name="sam", action_kind="CREATE_CLUSTER", account=Entity("a-1", "retail")),
            make_record(3, minutes=-90, cluster=orders),
        ]
        records.insert_new(connection, made)
    with Served(database).open() as client:
        yield client


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"user": "EVE"}, [1, 3]),
        ({"cluster": "orders", "since": "1h"}, [1]),
        ({"account": "a-1"}, [2]),
        ({"kind": "create cluster"}, [2]),
        ({"text": "100%"}, [1]),
        ({"text": "EVE orders"}, [1, 3]),
        ({"text": "C-1 hand"}, [1]),
        ({"text": "retail create"}, [2]),
        ({"text": "' \" % _ \\"}, []),
        ({"until": "5m"}, [2, 3]),
        ({"user": "nobody"}, []),
    ],
)
def test_filters(web: httpx.Client, query: dict[str, str], expected: list[int]) -> None:
    """Each filter selects."""
    answer = web.get("/records", params=query)
    assert answer.status_code == 200
    assert [int(key[-20:]) for key in LINK.findall(answer.text)] == expected


def test_one_user_and_one_cluster_have_a_timeline(web: httpx.Client) -> None:
    """A record leads to what its user did, and what happened in its cluster, in that hour."""
    key = LINK.findall(web.get("/records").text)[0]
    around = re.findall(r'href="(/records\?[^"]+)">same (\w+)', web.get(f"/records/{key}").text)
    assert [name for _, name in around] == ["user", "cluster"]
    for target, _ in around:
        assert len(LINK.findall(web.get(html.unescape(target)).text)) == 1
    assert "<h1>Records of eve</h1>" in web.get("/records?user=eve").text


def test_one_record_has_everything(database: Database) -> None:
    """The page of a record has its facts, its alerts, the receipts of its time, its copies, and the raw JSON."""
    record = make_record(1, raw='{"actionKind":"DELETE_CLUSTER","note":"<b>x</b>"}', late_by=MINUTE)
    with database.write() as connection:
        records.insert_new(connection, [record])
        records.insert_new(connection, [make_record(1, source="other")])
        alerts.insert_new(connection, [(make_alert("one"), "g")])
        alerts.join(connection, [("one", 1, NOON)])
        window = {"starts_at": NOON - MINUTE, "ends_at": NOON + MINUTE}
        receipts.write(connection, make_receipt(**window, record_count=7))
        receipts.write(connection, make_receipt(starts_at=NOON + MINUTE, ends_at=NOON + 2 * MINUTE, record_count=9))
    with Served(database).open() as client:
        text = client.get(f"/records/{record.key}").text
        assert client.get(f"/records/{record.key[:20]}").status_code == 200
        missing = client.get("/records/ffff")
    assert (missing.status_code, "no stored record has the key ffff" in missing.text) == (404, True)
    for expected in (
        "1m late",
        "Cluster deleted",
        "7 records, by counts",
        "&lt;b&gt;x&lt;/b&gt;",
        "by a poll of other",
    ):
        assert expected in text, expected
    assert "9 records" not in text


@settings(max_examples=40, deadline=None)
@given(
    made=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["timed", "own"]), st.integers(0, 3)), max_size=25),
    most=st.integers(1, 12),
    wanted=st.sampled_from(
        [
            RecordFilter(),
            RecordFilter(user="eve"),
            RecordFilter(since=NOON + 2 * MINUTE),
            RecordFilter(until=NOON + 3 * MINUTE),
        ]
    ),
)
def test_pages_are_the_parts_of_one_list(tmp_path_factory: Any, made: Any, most: int, wanted: RecordFilter) -> None:
    """Whatever the size of a page and the bound of a search, the pages together are the whole list, once and in order."""
    database = open_database(tmp_path_factory.mktemp("store"))
    try:
        with database.write() as connection:
            for number, (minute, kind, user) in enumerate(made):
                at = NOON + minute * MINUTE
                changes: dict[str, Any] = {} if kind == "timed" else {"key": f"own-{number:05}"}
                record = make_record(number, occurred_at=at, user_name="eve" if user else "sam", **changes)
                records.insert_new(connection, [record])
        with database.read() as connection:
            expected = [record.key for record in newest_first(connection, wanted)]
            found, after = list[str](), None
            for _ in range(200):
                page, after = record_search.search(connection, wanted, 3, after, most)
                found += [record.key for record in page]
                if after is None:
                    break
    finally:
        database.close()
    assert found == expected


def _key(number: int, *, is_timed: bool) -> dict[str, Any]:
    return {} if is_timed else {"key": f"untimed-{number:05}", "is_time_readable": False}


@pytest.mark.parametrize("is_timed", [True, False])
def test_a_search_is_bounded_and_continues(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, is_timed: bool
) -> None:
    """A page of a search looks at a limited number of records, and leads to older ones, to the end."""
    monkeypatch.setattr(queries, "SEARCHED", 10)
    with database.write() as connection:
        given = [make_record(number, minutes=-number, **_key(number, is_timed=is_timed)) for number in range(25)]
        rare = make_record(99, minutes=-30, description="a rare word", **_key(99, is_timed=is_timed))
        records.insert_new(connection, [*given, rare])
    with Served(database).open() as client:
        found = [len(LINK.findall(text)) for text in pages_of(client, "/records?text=rare")]
        assert found == [0, 0, 1]
        page = client.get("/records?text=rare").text
        assert "No record matches among those back to" in page
        links = re.findall(r'href="(/records/export[^"]+)"', page)
        assert len(links) == len(FORMATS), "an empty page with older ones leads to the file too"
        assert client.get(html.unescape(links[0])).text.count("\n") == 1
        assert "/records/export" not in client.get("/records?text=rare&since=soon").text


def test_searches_read_the_index(database: Database) -> None:
    """A page of a search is one range of each index of records. The receipts of a record are found by the index by time."""
    only_sqlite(database)
    place = (NOON, make_record().key, "acme")
    with database.read() as connection, statements() as ran:
        record_search.search(connection, RecordFilter(scope="account"), 50, place, 100)
        receipts.read_covering(connection, make_record(), 5)
    with database.read() as connection:
        plans = []
        for statement in ran:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?"))
            plans.append("\n".join(row[3] for row in rows))
    nth, nth_other, timed, others, covering = plans
    assert "USING COVERING INDEX record_by_key (record_key>? AND record_key<?)" in nth
    assert "USING INDEX record_by_key (record_key>? AND record_key<?)" in timed
    assert "USING COVERING INDEX record_untimed ((occurred_at,record_key,source)<(?,?,?))" in nth_other
    assert "USING INDEX record_untimed ((occurred_at,record_key,source)<(?,?,?))" in others
    assert "USING COVERING INDEX receipt_by_time (source=? AND starts_at<?)" in covering
    assert not any("SCAN record" in plan or "TEMP B-TREE" in plan for plan in (nth, nth_other, timed, others))


def test_the_search_box_suggests_names(web: httpx.Client) -> None:
    """Each list with a box asks one address for the names that have its last word, and what each is; words before it stay."""
    for path, of in (("/alerts", "alerts"), ("/records", "records"), ("/rules", "rules")):
        page = web.get(path).text
        assert f'list="suggestions" data-search data-suggest="/suggestions?of={of}"' in page
        assert page.count('<datalist id="suggestions"></datalist>') == 1

    def suggested(text: str, of: str = "records") -> list[tuple[str, str]]:
        answer = web.get("/suggestions", params={"of": of, "text": text}).raise_for_status()
        return [(each["text"], each["what"]) for each in answer.json()]

    assert suggested("deleted ORD") == [("deleted orders", "cluster")]
    assert suggested("cluster") == [("CREATE_CLUSTER", "kind"), ("DELETE_CLUSTER", "kind")]
    assert suggested("a-1") == [("a-1", "account retail")]
    assert (
        suggested("eve", "rules") == suggested("") == suggested("eve ") == suggested("x" * 501) == suggested("%") == []
    )
