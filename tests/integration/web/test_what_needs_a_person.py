"""The list of what needs a person: its order, its counts, its groups, and what is shown below another alert."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import Browser
from sqlalchemy import Connection

from actionwatch.base.clock import to_micros
from actionwatch.base.delivery import new_delivery
from actionwatch.base.model import CorrelatedAlert, Entity, Event, Level, Status
from actionwatch.store import alerts, correlations, delivery_transitions, open_alerts, records
from actionwatch.store.alerts import AlertFilter
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from tests.browser import SCHEMES, viewing
from tests.builders import NOON, make_alert, make_record, only_sqlite
from tests.integration.web.console_kit import Served, arrive, give_token, session
from tests.statements import statements

MINUTE = timedelta(minutes=1)
LINK = re.compile(r'href="/alerts/([^"?]+)"[^>]* data-item>')
SIZES = {"at a desk": (1280, 900, 12), "on a telephone": (375, 812, 4)}


def fill(connection: Connection) -> None:
    """Store open alerts of three levels, and some that need no person."""
    made = [
        make_alert("low", level=Level.LOW, opened_at=NOON, user="eve", cluster="orders"),
        make_alert("old", level=Level.CRITICAL, opened_at=NOON - 9 * MINUTE, user="eve", assigned_to="sam"),
        make_alert("new", level=Level.CRITICAL, opened_at=NOON - MINUTE, user="bob", cluster="orders"),
        make_alert("high", level=Level.HIGH, opened_at=NOON - 2 * MINUTE, assigned_to="kim"),
        make_alert("acked", level=Level.CRITICAL, status=Status.ACKED),
        make_alert("over", level=Level.CRITICAL, status=Status.RESOLVED),
        make_alert("shadow", level=Level.CRITICAL, labels={"mode": "shadow"}),
    ]
    alerts.insert_new(connection, [(each, "g") for each in made])


@pytest.fixture
def web(database: Database) -> Iterator[httpx.Client]:
    """Serve them to the browser of sam."""
    with database.write() as connection:
        fill(connection)
    with Served(database, open_to=None).open() as client:
        client.headers.update(session(client, give_token(database)))
        yield client


def ids(client: httpx.Client, path: str) -> list[str]:
    """Return the alerts of a page, in its order."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return LINK.findall(answer.text)


def test_the_first_list_is_what_needs_a_person(web: httpx.Client) -> None:
    """Open alerts, the worst first, then the newest; no decided ones, and none that only a shadow rule records."""
    assert ids(web, "/alerts") == ["new", "old", "high", "low"]
    assert ids(web, "/alerts?level=critical&level=low") == ["new", "old", "low"]
    assert [each["id"] for each in web.get("/api/v1/alerts").json()["items"]] == ["new", "old", "high", "low"]
    assert set(ids(web, "/alerts?status=any")) == {"new", "old", "high", "low", "acked", "over", "shadow"}
    assert set(ids(web, "/alerts?status=open")) == {"new", "old", "high", "low", "shadow"}


def test_a_person_has_the_own_view(web: httpx.Client) -> None:
    """The chips of the own alerts and of those of nobody lead to them, and a second click back."""
    page = html.unescape(web.get("/alerts").text)
    assert 'href="/alerts?assigned=sam">mine' in page
    assert 'href="/alerts?unassigned=true">unassigned' in page
    assert (ids(web, "/alerts?assigned=sam"), ids(web, "/alerts?unassigned=true")) == (["old"], ["new", "low"])
    assert 'href="/alerts" aria-current="true">mine' in html.unescape(web.get("/alerts?assigned=sam").text)


def test_a_filter_that_is_off_has_its_chip_off(web: httpx.Client) -> None:
    """`unassigned=false` lists the alerts of all, so that its chip is off, and turns the filter on."""
    page = html.unescape(web.get("/alerts?unassigned=false").text)
    assert 'href="/alerts?unassigned=true">unassigned' in page
    assert 'aria-current="true">unassigned' not in page
    assert 'aria-current="true">unassigned' in web.get("/alerts?unassigned=true").text


@pytest.mark.parametrize("level", ["x", "99", "-1", "", "4.0", "9" * 40])
def test_a_place_of_no_level_is_refused(web: httpx.Client, level: str) -> None:
    """A made-up position is a mistake of the request, for the API and for a person."""
    place = base64.urlsafe_b64encode(f"{level},{to_micros(NOON)},high".encode()).decode()
    answer = web.get("/api/v1/alerts", params={"cursor": place})
    assert (answer.status_code, "not a position in this list" in answer.text) == (400, True)
    page = web.get("/alerts", params={"after": place})
    assert (page.status_code, "not a position in this list" in page.text) == (400, True)


def test_filters_are_chips_that_apply_at_once(web: httpx.Client) -> None:
    """Each filter is a link: a level adds itself, a filter of a row leaves the others, and each chip removes its own."""
    page = html.unescape(web.get("/alerts?level=critical&user=eve").text)
    assert 'href="/alerts?level=critical&level=low&user=eve">low' in page
    assert 'href="/alerts?user=eve" aria-current="true">critical' in page
    assert re.search(r'aria-current="true" href="/alerts\?level=critical"[^>]*><span class="dim">user</span> eve', page)
    assert 'href="/alerts?level=critical&user=bob"' in html.unescape(web.get("/alerts?level=critical").text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/alerts?text=&user=&level=low", "/alerts?level=low"),
        ("/alerts?user=eve&user=bob&rule=a&rule=b", "/alerts?user=bob&rule=a&rule=b"),
        ("/alerts?text=+", "/alerts"),
    ],
)
def test_an_address_has_no_empty_parameter(web: httpx.Client, given: str, expected: str) -> None:
    """A form sends every field: the browser is led to the short address, which people share."""
    answer = web.get(given)
    assert (answer.status_code, answer.headers["location"]) == (303, expected)
    assert web.get(expected).status_code == 200


def test_counts_are_complete(database: Database) -> None:
    """More than a thousand alerts are counted in full, for the list, the first page and the API; an index is enough."""
    with database.write() as connection:
        many = [make_alert(f"id-{number}", level=Level.LOW) for number in range(1_201)]
        alerts.insert_new(connection, [(each, f"g{number}") for number, each in enumerate(many)])
    with Served(database).open() as client:
        assert "low <b>1,201</b>" in client.get("/alerts").text
        assert "1,201 open" in client.get("/alerts").text
        assert "1,201 open alerts need a person: 1,201 low" in client.get("/").text
        assert client.get("/api/v1/status").json()["open_alerts"]["low"] == 1_201


def test_the_list_reads_one_index(database: Database) -> None:
    """Counting, grouping and the first page look at no alert that needs no person."""
    only_sqlite(database)
    with database.read() as connection, statements() as ran:
        open_alerts.count_by_level(connection)
        open_alerts.read_groups(connection, "rule")
        open_alerts.read_of_group(connection, "user", "eve", (), 20)
        open_alerts.search(connection, AlertFilter(needs_person=True, levels=[Level.HIGH]), 50, None, 20_000)
        open_alerts.search(connection, AlertFilter(needs_person=True), 50, (Level.HIGH, NOON, "x"), 20_000)
    for statement in ran:
        with database.read() as connection:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?"))
            plan = "\n".join(row[3] for row in rows)
        assert "alert_needing_person" in plan, statement
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan, statement


def test_groups_unfold(web: httpx.Client) -> None:
    """A group has its counts by level; the group with the worst alerts comes first, and a link shows its alerts."""
    page = html.unescape(web.get("/alerts?group=user").text)
    names = re.findall(r"▸</span> ([^<]+)</a> <b>(\d+)</b>", page)
    assert names == [("eve", "2"), ("bob", "1"), ("no user", "1")]
    assert "1 critical" in page
    assert "1 low" in page
    links = re.findall(r'href="([^"]+unfold=[^"]*)"', page)
    assert ids(web, links[0]) == ["old", "low"]
    assert ids(web, links[2]) == ["high"]


def test_groups_of_a_narrower_list_are_not_offered(web: httpx.Client) -> None:
    """The counts are those of everything that needs a person: a list with other filters has none, and ignores the group."""
    assert ids(web, "/alerts?group=rule&user=eve") == []
    assert "by</span>" not in web.get("/alerts?user=eve").text


def test_an_inhibited_alert_is_below_its_source(web: httpx.Client, database: Database) -> None:
    """It is in the list of the console and the API below the alert that inhibits it, until that one is decided."""
    with database.write() as connection:
        row = new_delivery("high", "hook", Event.OPENED, 1, NOON, NOON)
        delivery_transitions.enqueue(connection, [row])
        delivery_transitions.suppress(connection, [Suppression(row, "inhibition", "old")])
    assert ids(web, "/alerts") == ["new", "old", "low"]
    assert "1 alert below it" in web.get("/alerts").text
    items = {each["id"]: each["folded"] for each in web.get("/api/v1/alerts").json()["items"]}
    assert [(each["id"], each["why"]) for each in items["old"]] == [("high", "inhibited")]
    assert ids(web, "/alerts?level=high") == ["high"], "a filter shows what it selects"
    assert web.post("/api/v1/alerts/old/acknowledge", json={}).status_code == 200
    assert ids(web, "/alerts") == ["new", "high", "low"]


def test_many_below_one_are_counted_and_lead_to_all(web: httpx.Client, database: Database) -> None:
    """Of many alerts below one, the first are shown; the page and the API have their count, and a link lists all."""
    many = [make_alert(f"many-{number:02}", opened_at=NOON + MINUTE, level=Level.LOW) for number in range(60)]
    rows = [new_delivery(each.id, "hook", Event.OPENED, 1, NOON, NOON) for each in many]
    with database.write() as connection:
        alerts.insert_new(connection, [(each, each.id) for each in many])
        delivery_transitions.enqueue(connection, rows)
        delivery_transitions.suppress(connection, [Suppression(row, "inhibition", "old") for row in rows])
    items = {
        each["id"]: (each["folded_count"], len(each["folded"])) for each in web.get("/api/v1/alerts").json()["items"]
    }
    assert items == {"new": (0, 0), "old": (60, 50), "high": (0, 0), "low": (0, 0)}
    page = html.unescape(web.get("/alerts").text)
    assert "60 alerts below it" in page
    (link,) = re.findall(r'and 10 more: <a href="([^"]+)">', page)
    assert len(ids(web, link)) == 50
    assert "64 open" in web.get(link).text


def test_alerts_that_inhibit_each_other_are_both_shown(web: httpx.Client, database: Database) -> None:
    """No alert is hidden because it is below one that is hidden too."""
    with database.write() as connection:
        for below, above in (("high", "old"), ("old", "high")):
            row = new_delivery(below, "hook", Event.OPENED, 1, NOON, NOON)
            delivery_transitions.enqueue(connection, [row])
            delivery_transitions.suppress(connection, [Suppression(row, "inhibition", above)])
    assert set(ids(web, "/alerts")) >= {"old", "high"}


def test_what_a_sequence_explains_is_below_it(web: httpx.Client, database: Database) -> None:
    """An alert whose newest record is part of a correlation's alert is below that, and one with a later record is not."""
    with database.write() as connection:
        records.insert_new(connection, [make_record(number, cluster=Entity("c", "orders")) for number in (1, 2, 3)])
        alerts.join(connection, [("new", 1, NOON), ("new", 2, NOON + MINUTE), ("high", 2, NOON + MINUTE)])
        alerts.join(connection, [("low", 1, NOON), ("low", 3, NOON + 2 * MINUTE)])
        found = CorrelatedAlert("new", "rule-2", ("eve",), "x", NOON, NOON, NOON + MINUTE, is_reported=True)
        correlations.write(connection, [(found, "g", None)])
    assert ids(web, "/alerts") == ["new", "old", "low"]
    items = {each["id"]: each["folded"] for each in web.get("/api/v1/alerts").json()["items"]}
    assert [(each["id"], each["why"]) for each in items["new"]] == [("high", "explained")]


def test_pages_have_each_alert_once(database: Database) -> None:
    """Paging the worst first lists every alert once, also over a change of the level, and those of one instant."""
    with database.write() as connection:
        levels = (Level.HIGH, Level.LOW, Level.CRITICAL)
        made = [
            make_alert(f"id-{number:03}", level=levels[number % 3], opened_at=NOON - MINUTE * (number // 40))
            for number in range(130)
        ]
        alerts.insert_new(connection, [(each, f"g{each.id}") for each in made])
    found, path = [], "/api/v1/alerts?limit=40"
    with Served(database).open() as client:
        while True:
            page = client.get(path).json()
            found += [each["id"] for each in page["items"]]
            if page["next"] is None:
                break
            path = f"/api/v1/alerts?limit=40&cursor={page['next']}"
    expected = sorted(made, key=lambda each: (-each.level, -each.opened_at.timestamp(), each.id))
    assert found == [each.id for each in expected]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
def test_the_first_screen_is_alerts(browser: Browser, database: Database, size: str, scheme: str) -> None:
    """Twelve alerts are seen without scrolling at a desk, four on a telephone, signed in; nobody is shut out."""
    width, height, least = SIZES[size]
    with database.write() as connection:
        made = [make_alert(f"id-{number}", user="eve", cluster="orders-prod") for number in range(30)]
        alerts.insert_new(connection, [(each, f"g{each.id}") for each in made])
    viewport = {"width": width, "height": height}
    with Served(database, open_to=None).open() as client:
        origin = str(client.base_url).rstrip("/")
        with viewing(browser, origin, viewport=viewport, color_scheme=scheme) as viewer:
            arrive(viewer, "/alerts", give_token(database, "kim"))
            seen = viewer.page.evaluate(
                """[...document.querySelectorAll(".alerts tbody tr")].filter((row) => {
                  const bar = document.querySelector(".decide");
                  const end = getComputedStyle(bar).position === "sticky" ? bar.getBoundingClientRect().top : innerHeight;
                  const { top, bottom } = row.getBoundingClientRect();
                  return top >= 0 && bottom <= Math.min(innerHeight, end);
                }).length"""
            )
            assert seen >= least
            for path in ("/alerts", "/alerts?group=rule", "/alerts?level=high&user=eve"):
                viewer.page.goto(f"{origin}{path}")
                assert (viewer.barriers(), viewer.overflow(), viewer.wrong) == ([], [], []), path
