"""What people decide about several alerts of the list at once: acknowledge, resolve, and silence with a preview."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from actionwatch.base.model import Silence, Status
from actionwatch.store import alert_history, alerts, records, silences
from actionwatch.store.database import Database
from actionwatch.web.console.forms import MAX_AT_ONCE
from tests.browser import SCHEMES, WIDTHS, viewing
from tests.builders import NOON, make_alert, make_record
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, arrive, form_token, give_token, session
from tests.statements import statements
from tests.unit.render.messages import HOSTILE

USERS = ("eve", "eve", "bob", "bob")
IDS = [f"alert-{number}" for number in range(4)]


@pytest.fixture
def served(database: Database) -> Served:
    """A console with four open alerts: two of eve, two of bob, the titles of one of which is hostile."""
    with database.write() as connection:
        records.insert_new(connection, [make_record(number, user_name=USERS[number]) for number in range(4)])
        for number, alert_id in enumerate(IDS):
            title = HOSTILE["html"] if number == 3 else f"Title {number}"
            alerts.insert_new(connection, [(make_alert(alert_id, title=title, group={"userName": USERS[number]}), "g")])
            alerts.join(connection, [(alert_id, number + 1, NOON)])
    return Served(database, open_to=None)


@pytest.fixture
def web(served: Served, database: Database) -> Iterator[httpx.Client]:
    """Serve it to the browser of sam, an operator."""
    with served.open() as client:
        client.headers.update(session(client, give_token(database)))
        yield client


def decide(client: httpx.Client, action: str, ids: list[str], path: str = "/alerts", **fields: str) -> tuple[int, str]:
    """Send the form of the list. Return the status and the text of the page that follows."""
    given: dict[str, Any] = {"action": action, "id": ids, "comment": "", "span": "1h", **fields}
    answer = client.post(path, data={"form_token": form_token(client, path), **given})
    return answer.status_code, answer.text


def statuses(database: Database) -> list[tuple[Status, str | None]]:
    """Return the status of each alert, and who acknowledged it."""
    with database.read() as connection:
        found = alerts.read_many(connection, IDS)
    return [(found[alert_id].status, found[alert_id].acked_by) for alert_id in IDS]


def stored(database: Database) -> list[Silence]:
    """Return the silences."""
    with database.read() as connection:
        return silences.read_all(connection)


def test_several_alerts_are_acknowledged(web: httpx.Client, database: Database) -> None:
    """The selected ones change, each with author and comment in its history; the filters of the list stay."""
    status, text = decide(web, "ack", IDS[:2], "/alerts?status=open", comment="on it")
    assert (status, "2 alerts are acknowledged." in text) == (200, True)
    assert statuses(database) == [(Status.ACKED, "sam")] * 2 + [(Status.OPEN, None)] * 2
    assert ("Title 1" in text.split("<table")[1], "Title 2" in text) == (False, True), "only open ones are listed"
    with database.read() as connection:
        lines = [line.what for line in alert_history.read(connection, "alert-1")]
    assert lines == ["by sam: on it"]


def test_several_alerts_are_reopened_at_once(web: httpx.Client, database: Database) -> None:
    """The note names the alerts, and its button opens exactly those again."""
    decide(web, "ack", IDS[2:3])
    _, text = decide(web, "ack", IDS)
    named = text[text.index("3 alerts are acknowledged.") : text.index(">Reopen</button>")]
    assert ("Title 0" in named, "Title 2" in named) == (True, False)
    assert re.findall(r'name="id" value="([^"]+)"', named) == [IDS[0], IDS[1], IDS[3]]
    _, text = decide(web, "reopen", [IDS[0], IDS[1], IDS[3]], "/alerts?status=any")
    assert "3 alerts are open again." in text
    assert [status for status, _ in statuses(database)] == [Status.OPEN, Status.OPEN, Status.ACKED, Status.OPEN]


def test_what_somebody_changed_meanwhile_is_reported(web: httpx.Client, database: Database, served: Served) -> None:
    """An alert that another person decided about, or that is gone, stays as it is; the others change."""
    actions = served.parts().actions
    actions.resolve("alert-0", "kim")
    actions.acknowledge("alert-3", "kim")
    _, text = decide(web, "ack", ["alert-0", "alert-1", "gone", "alert-3"])
    assert "1 alert is acknowledged." in text
    assert "3 alerts were not changed:" in text
    assert "Title 0</a>: already resolved by kim" in text
    assert "no alert has the id gone" in text
    assert "already acknowledged by kim" in text
    assert HOSTILE["html"] not in text
    assert [who for _, who in statuses(database)] == [None, "sam", None, "kim"]


def test_one_silence_for_each_group(web: httpx.Client, database: Database) -> None:
    """All silences are shown with what they would have hidden before one is made: one for each rule and group."""
    status, text = decide(web, "silence", IDS[:3], comment="load test")
    assert status == 200
    shown = html.unescape(text)
    assert shown.count("This silence would last until") == 2
    for name in ("eve", "bob"):
        assert f'<code>rule="cluster_deleted" userName="{name}"</code>' in shown
    assert shown.count("it would have hidden 2 of the 4 alerts of the last 7d: 2 cluster_deleted.") == 2
    assert "Make 2 silences" in shown
    assert len(re.findall(r'name="id"[^>]* checked', text)) == 3
    assert stored(database) == []
    for note in ("2 silences are active.", "2 alerts were not changed:"):
        _, text = decide(web, "silence", IDS[:3], comment="load test", confirmed="1")
        assert note in text
    assert sorted(each.matchers[1] for each in stored(database)) == ['userName="bob"', 'userName="eve"']
    assert {(each.author, each.comment) for each in stored(database)} == {("sam", "load test")}


def test_previews_read_the_alerts_once(web: httpx.Client) -> None:
    """The preview of several silences costs as many statements as that of one."""
    counts = []
    for ids in (IDS[:1], IDS):
        with statements() as ran:
            decide(web, "silence", ids, comment="x")
        counts.append(sum("FROM alert \n" in each and "LIMIT" in each for each in ran))
    assert counts[0] == counts[1]


@in_one_test(
    ("action", "ids", "fields", "problem"),
    [
        ("ack", [], {}, "Nothing is selected: select one alert or more."),
        ("ack", [f"x{number}" for number in range(MAX_AT_ONCE + 1)], {}, "51 alerts are selected: select at most 50"),
        ("silence", IDS, {}, "The reason is missing"),
        ("silence", IDS, {"comment": "x", "span": "7d"}, "A silence lasts at most 3d (max_silence)."),
        ("resolve", IDS, {"comment": "x" * 1001}, "comment: 1,001 characters: shorten it to 1,000."),
        ("explode", IDS, {}, "action: use ack, resolve, reopen, take"),
    ],
)
def test_mistakes_change_nothing(
    web: httpx.Client, database: Database, action: str, ids: list[str], fields: dict[str, str], problem: str
) -> None:
    """A wrong form says what helps, keeps the selection, and changes nothing."""
    status, text = decide(web, action, ids, **fields)
    assert (status, problem in html.unescape(text)) == (400, True)
    if ids == IDS and action != "explode":
        assert len(re.findall(r'name="id"[^>]* checked', text)) == len(IDS)
    assert (statuses(database), stored(database)) == ([(Status.OPEN, None)] * 4, [])


def test_all_can_be_selected_without_a_script(web: httpx.Client) -> None:
    """The link selects every row of the page, and the next page does not inherit that."""
    target = html.unescape(re.findall(r'href="([^"]+)" data-select-all', web.get("/alerts?status=open").text)[0])
    assert target == "/alerts?status=open&select=all"
    text = web.get(target).text
    assert len(re.findall(r'name="id"[^>]* checked', text)) == len(IDS)
    assert 'action="/alerts?status=open"' in text


@pytest.mark.parametrize(("width", "scheme"), list(zip(WIDTHS, SCHEMES, strict=True)))
def test_the_keyboard_is_enough(
    browser: Browser, web: httpx.Client, database: Database, width: int, scheme: str
) -> None:
    """`x` selects, `a` acknowledges, `s` silences with a preview; no page shuts people out or scrolls sideways."""
    origin = str(web.base_url).rstrip("/")
    size = {"width": width, "height": 800}
    with viewing(browser, origin, viewport=size, color_scheme=scheme) as viewer:
        page = viewer.page
        arrive(viewer, "/alerts?status=any", give_token(database, "kim"))
        assert (viewer.barriers(), viewer.overflow()) == ([], [])
        for key in ("j", "x", "j", "x"):
            page.keyboard.press(key)
        expect(page.locator("[data-selected]")).to_have_text("2 selected")
        page.keyboard.press("a")
        expect(page.get_by_role("status")).to_contain_text("2 alerts are acknowledged.")
        page.get_by_role("link", name="Select all").click()
        expect(page.locator("[data-selected]")).to_have_text("4 selected")
        page.keyboard.press("s")
        expect(page.get_by_label("Comment")).to_be_focused()
        page.keyboard.type(HOSTILE["attribute"])
        page.keyboard.press("Escape")
        page.keyboard.press("s")
        expect(page.get_by_role("button", name="Make 2 silences")).to_be_visible()
        assert (viewer.barriers(), viewer.overflow()) == ([], [])
        page.keyboard.press("s")
        expect(page.get_by_role("status")).to_have_text("2 silences are active.")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("acknowledge this alert, or the selected ones")
        assert viewer.wrong == []
    assert [who for _, who in statuses(database)].count("kim") == 2
    assert {each.comment for each in stored(database)} == {HOSTILE["attribute"].strip()}


def test_no_script_is_needed(browser: Browser, web: httpx.Client, database: Database) -> None:
    """In a browser without scripts, links and forms are enough to silence all alerts of a page."""
    origin = str(web.base_url).rstrip("/")
    with viewing(browser, origin, java_script_enabled=False) as viewer:
        page = viewer.page
        arrive(viewer, "/alerts?status=open", give_token(database, "kim"))
        page.get_by_role("link", name="Select all").click()
        page.get_by_label("Comment").fill("load test")
        page.get_by_role("button", name="Silence…").click()
        page.get_by_role("button", name="Make 2 silences").click()
        expect(page.get_by_role("status")).to_have_text("2 silences are active.")
        assert page.url == f"{origin}/alerts?status=open"
        assert viewer.wrong == []
    assert {each.author for each in stored(database)} == {"kim"}
