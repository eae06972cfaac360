"""The lists of the console: pages without counting, chips, groups, alerts below another one, and what opened since."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType

import httpx
import pytest
from playwright.sync_api import Browser

from actionwatch.alerts.silences import make_silence
from actionwatch.base.model import Entity, Level
from actionwatch.queries import PAGE_SIZE, alerts, records
from actionwatch.store import alerts as alert_table
from actionwatch.store import delivery_transitions, silences
from actionwatch.store import records as record_table
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.text.formats.exports import FORMATS
from tests.browser import SCHEMES, viewing
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_alert, make_delivery, make_record
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, arrive, give_token, session
from tests.unit.rules.builders import rules_in

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CLUSTER, ACCOUNT, GONE = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 5))
SIZES = {"at a desk": (1280, 900, 12), "on a telephone": (375, 812, 4)}


def linked(page: str) -> list[str]:
    """Return the last parts of the addresses to which the items of a page link, in its order."""
    return re.findall(r'href="/\w+/([^"?]+)"[^>]* data-item', page)


def pages_of(client: httpx.Client, path: str) -> Iterator[str]:
    """Follow a list to its end."""
    while True:
        text = client.get(path).text
        yield text
        following = re.search(r'href="([^"]+)" rel="next"', text)
        if following is None:
            return
        path = html.unescape(following[1])


# -- pages

COUNT = 2 * PAGE_SIZE + 7


def fill_lists(database: Database) -> dict[str, list[str]]:
    """Store more of each noun than a page has, several at one instant. Return the names in the order of each list."""
    levels = (Level.HIGH, Level.LOW, Level.CRITICAL)
    made = [
        make_alert(f"id-{n:03}", level=levels[n % 3], opened_at=NOON - MINUTE * (n // 40), group={"userName": f"{n}"})
        for n in range(COUNT)
    ]
    stored = [make_record(n, minutes=-(n // 40)) for n in range(COUNT)]
    rows = [
        make_delivery(each.id, "hook" if n % 3 else "z", due_at=NOON + MINUTE * (n % 4)) for n, each in enumerate(made)
    ]
    with database.write() as connection:
        alert_table.insert_new(connection, [(each, each.id) for each in made])
        record_table.insert_new(connection, stored)
        delivery_transitions.enqueue(connection, rows)
        for n in range(COUNT):
            start = NOON - (n + 2) * HOUR
            silences.write(
                connection, make_silence([f"rule=old{n}"], "sam", f"old{n}", start, start + HOUR, made_at=NOON)
            )
    return {
        "alerts": [
            each.id for each in sorted(made, key=lambda each: (-each.level, -each.opened_at.timestamp(), each.id))
        ],
        "alerts?level=high&status=any": [each.id for each in made if each.level is Level.HIGH],
        "records": [each.key for each in sorted(stored, key=lambda each: each.key, reverse=True)],
        "deliveries": [each.alert_id for each in sorted(rows, key=lambda each: (each.receiver, each.due_at, each.id))],
        "silences?state=expired": [f"old{n}" for n in range(COUNT)],
    }


def test_the_pages_of_a_list_are_one_list(database: Database) -> None:
    """The console and the API list everything once, in order, on pages of one size; a new alert moves nothing."""
    expected = fill_lists(database)
    with Served(database).open() as client:
        for query, names in expected.items():
            parts = [names[at : at + PAGE_SIZE] for at in range(0, COUNT, PAGE_SIZE) if names[at:]]
            assert list(pages_of_api(client, query)) == parts, query
            found, of_silences = list[list[str]](), re.compile(r"<td>(old\d+)</td>")
            for page in pages_of(client, f"/{query}"):
                found.append(of_silences.findall(page) if "silences" in query else linked(page))
                if "alerts" in query:
                    new = make_alert(
                        f"new {query} {len(found)}", level=Level.CRITICAL, opened_at=NOON + len(found) * MINUTE
                    )
                    with database.write() as connection:
                        alert_table.insert_new(connection, [(new, new.id)])
            assert found == parts, query


def pages_of_api(client: httpx.Client, query: str) -> Iterator[list[str]]:
    """Yield the names of the items on each page of a list of the API."""
    name = {"records": "key", "deliveries": "alert", "silences?state=expired": "comment"}.get(query, "id")
    place: str | None = ""
    while place is not None:
        answer = client.get(
            f"/api/v1/{query}{'&' if '?' in query else '?'}{f'cursor={place}' if place else 'limit=50'}"
        )
        yield [each[name] for each in answer.json()["items"]]
        place = answer.json()["next"]


SEARCHES = [("/alerts?level=low&status=open", alerts), ("/records?text=rare", records)]


@pytest.mark.parametrize(("path", "module"), SEARCHES, ids=["alerts", "records"])
def test_a_search_is_bounded_and_continues(
    database: Database, monkeypatch: pytest.MonkeyPatch, path: str, module: ModuleType
) -> None:
    """A page of a search looks at a limited number of items; one without a match leads to older ones, to the end."""
    monkeypatch.setattr(module, "SEARCHED", 10)
    with database.write() as connection:
        given = [make_alert(f"id-{number:02}", opened_at=NOON - number * MINUTE) for number in range(25)]
        last = make_alert("last", opened_at=NOON - 40 * MINUTE, level=Level.LOW)
        alert_table.insert_new(connection, [(each, "g") for each in [*given, last]])
        rare = make_record(99, minutes=-40, description="a rare word")
        record_table.insert_new(connection, [*(make_record(number, minutes=-number) for number in range(25)), rare])
    with Served(database).open() as client:
        assert [len(linked(page)) for page in pages_of(client, path)] == [0, 0, 1]
        first = client.get(path).text
        assert re.search(r"No (alert|record) matches among those back to", first)
        assert "Search older" in first
        assert [len(linked(page)) for page in pages_of(client, f"{path}&since=15m")] == [0, 0]
        exports = re.findall(r'href="(/records/export[^"]+)"', first)
        assert len(exports) == (len(FORMATS) if module is records else 0), "an empty page leads to the file too"


# -- the list of alerts


@pytest.fixture
def web(database: Database) -> Iterator[httpx.Client]:
    """Serve open alerts of three levels to the browser of sam."""
    acted = make_record(cluster=Entity(CLUSTER, "payments"), account=Entity(ACCOUNT, "Production <1>"))
    group = {"userName": "eve", "cluster": CLUSTER, "account": ACCOUNT}
    made = [
        make_alert("low", level=Level.LOW, opened_at=NOON, user="eve", cluster="orders"),
        make_alert("old", level=Level.CRITICAL, opened_at=NOON - 9 * MINUTE, user="eve", assigned_to="sam"),
        make_alert("new", level=Level.CRITICAL, opened_at=NOON - MINUTE, user="bob", cluster="orders"),
        make_alert("high", level=Level.HIGH, opened_at=NOON - 2 * MINUTE, assigned_to="kim", group=group),
    ]
    with database.write() as connection:
        record_table.insert_new(connection, [acted])
        alert_table.insert_new(connection, [(each, "g") for each in made])
        alert_table.join(connection, [("high", 1, NOON)])
    with Served(database, open_to=None, rules=rules_in(CLUSTER_DELETED_RULE).rules).open() as client:
        client.headers.update(session(client, give_token(database)))
        yield client


ON, OFF = ' aria-current="true"', ""
CHIPS = {
    "/alerts": [("/alerts?assigned=sam", OFF, "mine"), ("/alerts?unassigned=true", OFF, "unassigned")],
    "/alerts?assigned=sam": [("/alerts", ON, "mine")],
    "/alerts?unassigned=true": [("/alerts", ON, "unassigned")],
    "/alerts?unassigned=false": [("/alerts?unassigned=true", OFF, "unassigned")],
    "/alerts?level=critical&user=eve": [
        ("/alerts?level=critical&level=low&user=eve", OFF, "low"),
        ("/alerts?user=eve", ON, "critical"),
    ],
    "/alerts?level=critical": [("/alerts?level=critical&user=bob", OFF, "bob")],
}
"""The chips of a list: the address, whether it is on, and the text."""


@in_one_test(("path", "chips"), CHIPS.items())
def test_filters_are_chips_that_apply_at_once(web: httpx.Client, path: str, chips: list[tuple[str, str, str]]) -> None:
    """Each filter is a link that adds or removes itself and leaves the others."""
    page = html.unescape(web.get(path).text)
    for target, state, text in chips:
        assert re.search(rf'href="{re.escape(target)}"{state}[^>]*>\s*{text}', page), text


def test_a_filter_that_is_set_has_a_chip_with_its_name(web: httpx.Client) -> None:
    """It removes the filter. One with an id has the name that the store knows; the id stays in the address and on hover."""
    page = html.unescape(web.get("/alerts?level=critical&user=eve").text)
    assert re.search(r'aria-current="true" href="/alerts\?level=critical"[^>]*><span class="dim">user</span> eve', page)
    page = web.get(f"/alerts?cluster={CLUSTER}").text
    assert f'title="{CLUSTER}"><span class="dim">cluster</span> payments' in page
    named = {
        f"cluster={CLUSTER}": "payments",
        f"account={ACCOUNT}": "Production <1>",
        "user=eve": "eve",
        f"cluster={GONE}": GONE,
    }
    for query, shown in {**named, f"cluster={GONE}": GONE}.items():
        assert f"<h1>Records of {shown}</h1>" in html.unescape(web.get(f"/records?{query}").text)


@in_one_test(
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


def test_groups_unfold(web: httpx.Client) -> None:
    """A group has its counts by level; the one with the worst alerts comes first. A narrower list has no groups."""
    page = html.unescape(web.get("/alerts?group=user").text)
    assert re.findall(r"▸</span> ([^<]+)</a> <b>(\d+)</b>", page) == [("eve", "2"), ("bob", "1"), ("no user", "1")]
    assert all(count in page for count in ("1 critical", "1 low"))
    links = re.findall(r'href="([^"]+unfold=[^"]*)"', page)
    assert [linked(web.get(links[place]).text) for place in (0, 2)] == [["old", "low"], ["high"]]
    assert "▸" not in web.get("/alerts?group=rule&user=eve").text
    assert "by</span>" not in web.get("/alerts?user=eve").text


def test_counts_are_complete(database: Database) -> None:
    """More than a thousand alerts are counted in full, for the list, the first page and the API."""
    with database.write() as connection:
        many = [make_alert(f"id-{number}", level=Level.LOW) for number in range(1_201)]
        alert_table.insert_new(connection, [(each, f"g{number}") for number, each in enumerate(many)])
    with Served(database).open() as client:
        page = client.get("/alerts").text
        assert ("low <b>1,201</b>" in page, "1,201 open" in page) == (True, True)
        assert "1,201 open alerts need a person: 1,201 low" in client.get("/").text
        assert client.get("/api/v1/status").json()["open_alerts"]["low"] == 1_201


def test_many_below_one_are_counted_and_lead_to_all(web: httpx.Client, database: Database) -> None:
    """Of many alerts below one, the first are shown; the page and the API have their count, and a link lists all."""
    many = [make_alert(f"many-{number:02}", opened_at=NOON + MINUTE, level=Level.LOW) for number in range(60)]
    rows = [make_delivery(each.id) for each in many]
    with database.write() as connection:
        alert_table.insert_new(connection, [(each, each.id) for each in many])
        delivery_transitions.enqueue(connection, rows)
        delivery_transitions.suppress(connection, [Suppression(row, "inhibition", "old") for row in rows])
    items = web.get("/api/v1/alerts").json()["items"]
    counts = [(each["id"], each["folded_count"], len(each["folded"])) for each in items]
    assert counts == [("new", 0, 0), ("old", 60, 50), ("high", 0, 0), ("low", 0, 0)]
    assert items[1]["folded"][0].items() >= {("id", "many-00"), ("why", "inhibited")}
    page = html.unescape(web.get("/alerts").text)
    assert "60 alerts below it" in page
    (link,) = re.findall(r'and 10 more: <a href="([^"]+)">', page)
    assert (len(linked(web.get(link).text)), "64 open" in web.get(link).text) == (50, True)


@pytest.mark.parametrize(("size", "scheme"), list(zip(SIZES, SCHEMES, strict=True)))
def test_the_first_screen_is_alerts(browser: Browser, database: Database, size: str, scheme: str) -> None:
    """Twelve alerts are seen without scrolling at a desk, four on a telephone, signed in; nobody is shut out."""
    width, height, least = SIZES[size]
    with database.write() as connection:
        made = [make_alert(f"id-{number}", user="eve", cluster="orders-prod") for number in range(30)]
        alert_table.insert_new(connection, [(each, f"g{each.id}") for each in made])
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
            assert (viewer.barriers(), viewer.overflow(), viewer.wrong) == ([], [], [])


def test_an_open_page_asks_for_what_is_newer(web: httpx.Client, database: Database) -> None:
    """A page asks how many alerts opened after it was made; very many are a lower bound."""
    asked = "/news?after=2026-11-25T12%3A00%3A00.000Z"
    assert f'data-new="{asked}"' in web.get("/alerts").text
    assert web.get(asked).json() == {"count": 0, "more": False}
    for names, expected in ((["fresh"], 1), (map(str, range(100)), 100)):
        with database.write() as connection:
            alert_table.insert_new(connection, [(make_alert(name, opened_at=NOON + MINUTE), name) for name in names])
        assert web.get(asked).json() == {"count": expected, "more": expected == 100}
    assert web.get("/news").status_code == 400
