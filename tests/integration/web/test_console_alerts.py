"""The pages of the alerts: filters, paging without counting, and one alert with everything that the terminal shows."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from actionwatch.base.model import Entity, Level, Status
from actionwatch.queries import PAGE_SIZE
from actionwatch.queries import alerts as queries
from actionwatch.rules.model import Rule
from actionwatch.store import alert_history, alerts, delivery_transitions, records
from actionwatch.store.database import Database
from tests.builders import CLUSTER_DELETED_RULE, NOON, RULE, make_alert, make_delivery, make_record, only_sqlite
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served
from tests.statements import statements
from tests.unit.rules.builders import rules_in

MINUTE = timedelta(minutes=1)
LINK = re.compile(r'href="/alerts/([^"?]+)"[^>]* data-item>')


def listed(client: httpx.Client, query: Mapping[str, Any]) -> list[str]:
    """Return the ids of the alerts on a page."""
    answer = client.get("/alerts", params=query, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    return LINK.findall(answer.text)


def pages_of(client: httpx.Client, path: str) -> Iterator[str]:
    """Follow a list to its end."""
    while True:
        text = client.get(path).text
        yield text
        following = re.search(r'href="([^"]+)" rel="next"', text)
        if following is None:
            return
        path = html.unescape(following[1])


def pages(client: httpx.Client, path: str) -> Iterator[list[str]]:
    """Return the ids on each page of a list."""
    return map(LINK.findall, pages_of(client, path))


def fill(connection: Connection) -> None:
    """Store four alerts with records."""
    made = [
        make_record(1, user_name="eve", cluster=Entity("c-1", "orders"), account=Entity("a-1", "retail")),
        make_record(2, user_name="mallory"),
    ]
    records.insert_new(connection, made)
    first, second = records.read_after(connection, 0, 10)
    given = [
        make_alert("one", opened_at=NOON),
        make_alert("two", opened_at=NOON - MINUTE, level=Level.LOW, title="A 100% test", assigned_to="kim"),
        make_alert("three", opened_at=NOON - 2 * MINUTE, status=Status.RESOLVED),
        make_alert("four", opened_at=NOON - 3 * MINUTE, status=Status.ACKED, labels={"mode": "shadow"}),
    ]
    alerts.insert_new(connection, [(each, "g") for each in given])
    alerts.join(connection, [("one", first.id, NOON), ("two", second.id, NOON)])


@pytest.fixture
def web(database: Database) -> Iterator[httpx.Client]:
    """Serve a console with four alerts."""
    with database.write() as connection:
        fill(connection)
    with Served(database).open() as client:
        yield client


@in_one_test(
    ("query", "expected"),
    [
        ({}, ["one", "two"]),
        ({"status": "any"}, ["one", "two", "three", "four"]),
        ({"source": "acme"}, ["one", "two"]),
        ({"source": "other"}, []),
        ({"assigned": "kim"}, ["two"]),
        ({"unassigned": "true"}, ["one"]),
        ({"level": "low"}, ["two"]),
        ({"level": ["low", "high"], "status": ["open", "acked"]}, ["one", "two", "four"]),
        ({"status": "resolved"}, ["three"]),
        ({"user": "EVE"}, ["one"]),
        ({"cluster": "orders"}, ["one"]),
        ({"account": "a-1"}, ["one"]),
        ({"text": "100%"}, ["two"]),
        ({"text": "CLUSTER", "status": "any"}, ["one", "two", "three", "four"]),
        ({"rule": "other"}, []),
        ({"rule": RULE.id}, ["one", "two"]),
        ({"since": "90s"}, ["one", "two"]),
        ({"since": "2026-11-25T11:58:00Z", "until": "2026-11-25T11:59", "status": "any"}, ["two", "three"]),
        ({"since": "2026-11-25T12:58:00+01:00", "text": "", "user": " "}, ["one", "two"]),
    ],
)
def test_filters(web: httpx.Client, query: dict[str, object], expected: list[str]) -> None:
    """Each filter selects, and the form shows it again."""
    assert listed(web, query) == expected


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"level": "dire"}, "level: dire is unknown: use informational, low, medium, high, critical"),
        ({"since": "yesterday"}, "since: yesterday is not a time: use 7d (before now) or 2026-11-25T09:00Z"),
        ({"since": "9999-12-31T23:59:59-23:00"}, "is not a time"),
        ({"until": "1000000000d"}, "is not a time"),
        ({"user": "x" * 501}, "user: 501 characters: shorten it to 500"),
        ({"after": "x"}, "after: not a position in this list"),
        ({"after": "99999999999999999999~x"}, "after: not a position in this list"),
    ],
)
def test_mistakes_are_named(web: httpx.Client, query: dict[str, str], problem: str) -> None:
    """A wrong filter is named next to the form with what is accepted, and nothing is searched."""
    answer = web.get("/alerts", params=query)
    assert answer.status_code == 400
    assert problem in html.unescape(answer.text)
    assert not LINK.findall(answer.text)


def test_pages_have_each_alert_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paging lists every alert once, newest first, also those that opened at one instant, and a new one moves nothing."""
    count = 2 * PAGE_SIZE + 7
    with database.write() as connection:
        given = [make_alert(f"id-{number:04}", opened_at=NOON - MINUTE * (number // 60)) for number in range(count)]
        alerts.insert_new(connection, [(each, "g") for each in given])
    with Served(database).open() as client:
        found = []
        for page in pages(client, "/alerts?level=high"):
            found.append(page)
            with database.write() as connection:
                new = make_alert(f"new-{len(found)}", opened_at=NOON + MINUTE * len(found))
                alerts.insert_new(connection, [(new, "g")])
    assert [len(page) for page in found] == [PAGE_SIZE, PAGE_SIZE, 7]
    assert [alert_id for page in found for alert_id in page] == [f"id-{number:04}" for number in range(count)]


def test_a_search_is_bounded_and_continues(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of a search looks at a limited number of alerts; a page without a match leads to older ones, to the end."""
    monkeypatch.setattr(queries, "SEARCHED", 10)
    with database.write() as connection:
        given = [make_alert(f"id-{number:02}", opened_at=NOON - number * MINUTE) for number in range(35)]
        last = make_alert("last", opened_at=NOON - 40 * MINUTE, level=Level.LOW)
        alerts.insert_new(connection, [(each, "g") for each in [*given, last]])
    with Served(database).open() as client:
        found = list(pages(client, "/alerts?level=low&status=open"))
        assert found == [[], [], [], ["last"]]
        first = client.get("/alerts?level=low&status=open").text
        assert "No alert matches among those back to" in first
        assert "Search older alerts" in first
        assert list(pages(client, "/alerts?level=low&status=open&since=15m")) == [[], []]


def test_lists_read_indexes(database: Database) -> None:
    """A page of the list is one range of the index by opening: no statement scans or sorts all alerts."""
    only_sqlite(database)
    after = (NOON, "x")
    with database.read() as connection, statements() as ran:
        alerts.search(connection, alerts.EVERY, 50, after, 100)
        alerts.search(connection, alerts.AlertFilter(user="eve", text="x"), 50, after, 100)
        alerts.count_opened_after(connection, NOON, 100)
    with database.read() as connection:
        for statement in ran:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?"))
            plan = "\n".join(row[3] for row in rows)
            assert "INDEX alert_by_opening (opened_at" in plan, plan
            assert "SCAN alert" not in plan, plan
            assert "TEMP B-TREE FOR ORDER BY" not in plan, plan


@pytest.fixture
def detailed(database: Database) -> Served:
    """A console with an alert of a real rule, its record, its history, and a delivery that failed once."""
    (rule,) = rules_in(CLUSTER_DELETED_RULE).rules
    assert isinstance(rule, Rule)
    record = make_record(1, raw='{"actionKind": "DELETE_CLUSTER"}', description="deleted by hand")
    alert = make_alert("0badcafe-1", rule=rule.name, runbook="1. Ask.\n2. Run `<restore>`.", group={"userName": "eve"})
    with database.write() as connection:
        records.insert_new(connection, [record])
        alerts.insert_new(connection, [(alert, "g"), (make_alert("0badcafe-2"), "g"), (make_alert("0badcafe"), "g")])
        alerts.join(connection, [(alert.id, records.newest_id(connection), NOON)])
        delivery_transitions.enqueue(connection, [make_delivery(alert.id)])
        line = alert_history.Entry(
            NOON, alert.id, "delivery to hook", "attempt 1: 503, retried at 2026-11-25T12:00:30Z"
        )
        alert_history.append(connection, [line])
    return Served(database, rules=[rule])


def test_one_alert_has_everything(detailed: Served) -> None:
    """The page of an alert has its records, the selections with their values, deliveries, history, runbook and command."""
    with detailed.open() as client:
        page = client.get("/alerts/0badcafe-1").text
    assert "<li>Run <code>&lt;restore&gt;</code>.</li>" in page
    text = html.unescape(page)
    for expected in (
        "eve deleted a cluster",
        "deleted by hand",
        "actionKind: DELETE_CLUSTER",
        "← DELETE_CLUSTER",
        "attempt 1: 503, retried at",
        "actionwatch explain 0badcafe",
        '<a href="/records?user=eve">eve</a>',
        ">pending</span>",
    ):
        assert expected in text, expected


def test_an_alert_is_found_by_a_prefix(detailed: Served) -> None:
    """A unique prefix of an id opens its alert, as on the terminal; another one is a page that says what is missing."""
    with detailed.open() as client:
        assert client.get("/alerts/0badcafe-2").status_code == 200
        assert client.get("/alerts/0badcafe").status_code == 200, "a whole id is unique"
        several = client.get("/alerts/0badcaf")
        assert (several.status_code, "give a longer prefix" in several.text) == (404, True)
        missing = client.get("/alerts/%3Cscript%3E")
        assert (missing.status_code, "&lt;script&gt;" in missing.text) == (404, True)


def test_open_page_knows_its_time(web: httpx.Client) -> None:
    """A page asks for what is newer than itself."""
    page = web.get("/alerts").text
    assert re.search(r'data-new="/news\?after=2026-11-25T12%3A00%3A00.000Z"', page)
