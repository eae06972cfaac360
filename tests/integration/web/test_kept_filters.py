"""Filters of the list of alerts that a person keeps under a name: a link above the list, in each of their browsers."""

from __future__ import annotations

import html
import re
from contextlib import ExitStack, closing
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import Browser, expect

from actionwatch.base.access import AccessRole
from actionwatch.base.model import Level
from actionwatch.service.prune import run_once
from actionwatch.settings.keys import Retention
from actionwatch.store import alerts, kept_filters, tokens
from actionwatch.store.database import Database
from actionwatch.store.kept_filters import MAX_KEPT, KeptFilter
from tests.browser import viewing
from tests.builders import NOON, make_alert, url_of
from tests.integration.web.console_kit import Served, arrive, give_token, session

SHARED = "open-sesame"
LIST = "/alerts?level=high&unassigned=true"


@pytest.fixture
def served(database: Database) -> Served:
    """A console that nobody reads without a token, with two open alerts."""
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert("one"), "g"), (make_alert("two", level=Level.LOW), "h")])
    return Served(database, open_to=None)


def send(client: httpx.Client, name: str, path: str = LIST, action: str = "keep") -> httpx.Response:
    """Send the form of a list."""
    found = re.search(r'name="form_token" value="(\w+)"', client.get(LIST).text)
    return client.post(path, data={"form_token": found[1] if found else "", "action": action, "name": name})


def kept(client: httpx.Client, path: str = "/alerts") -> list[tuple[str, str, bool]]:
    """Return the name and the target of each kept filter of a page, and whether it is the present one."""
    line = re.search(r'<nav aria-label="Your filters">(.*?)</nav>', client.get(path).text, re.DOTALL)
    links = re.findall(r'<a class="chip" href="([^"]*)"( aria-current="true")?>(.*?)</a>', line[1] if line else "")
    return [(html.unescape(name), html.unescape(target), bool(is_on)) for target, is_on, name in links]


def stored(database: Database, person: str = "sam") -> list[tuple[str, str]]:
    """Return the kept filters of a person, as the store has them."""
    with database.read() as connection:
        return [(each.name, each.query) for each in kept_filters.read(connection, person)]


def test_a_person_keeps_and_removes_a_filter(served: Served, database: Database) -> None:
    """The filter is a link in each session of the person, on each replica, whatever their role, and nobody else has it."""
    secrets = [give_token(database, "sam", AccessRole.READER), give_token(database, "kim")]
    with ExitStack() as stack:
        other = stack.enter_context(closing(Database(url_of(database))))
        mine, theirs = (stack.enter_context(served.open()) for _ in range(2))
        second = stack.enter_context(Served(other, open_to=None).open())
        for client, secret in ((mine, secrets[0]), (second, secrets[0]), (theirs, secrets[1])):
            client.headers.update(session(client, secret))
        answer = send(mine, "  eve, high ", "/alerts?unassigned=true&level=high&group=rule&after=&select=all")
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            "/alerts?group=rule&level=high&unassigned=true",
        )
        target = "/alerts?group=rule&level=high&unassigned=true"
        assert kept(mine) == [("eve, high", target, False)]
        assert kept(second, "/alerts?unassigned=true&group=rule&level=high") == [("eve, high", target, True)]
        assert kept(theirs) == []
        page = html.unescape(second.get(target).text)
        assert "Remove “eve, high”" in page
        assert "Keep this filter" not in page
        assert send(second, "eve, high", target, "forget").headers["location"] == target
        assert kept(mine) == []


def test_a_name_is_kept_once_and_any_text_is_one(served: Served, database: Database) -> None:
    """The same name replaces its filter. Markup, direction marks and quotes in a name are shown, and it can be removed."""
    odd = "<b>\"night\" & 'day'</b> \u202e\t漢字 ${x} {{ y }}"
    with served.open() as client:
        client.headers.update(session(client, give_token(database)))
        for path in (LIST, "/alerts?unassigned=true"):
            assert send(client, odd, path).status_code == 303
        ((shown, target, _),) = kept(client)
        assert (shown, target) == (odd.replace("\u202e", "\\u202e").replace("\t", "\\t"), "/alerts?unassigned=true")
        assert "<b>" not in client.get("/alerts").text.split('"Your filters"', 1)[1].split("</nav>")[0]
        name = html.unescape(re.findall(r'name="name" value="([^"]*)"', client.get(target).text)[0])
        assert send(client, name, target, "forget").status_code == 303
        assert stored(database) == []


def test_what_cannot_be_kept_is_refused_with_a_sentence(served: Served, database: Database) -> None:
    """A filter without a name or that is empty or too long, and one too many."""
    with database.write() as connection:
        for number in range(MAX_KEPT):
            assert kept_filters.keep(connection, "sam", KeptFilter(f"filter {number:03}", "level=low", NOON))
    with served.open() as client:
        client.headers.update(session(client, give_token(database)))
        for name, path, why in (
            (" ", LIST, "The name is missing"),
            ("x" * 61, LIST, "61 characters: shorten it to 60"),
            ("all", "/alerts?after=", "Nothing is filtered"),
            ("long", f"/alerts?{'&'.join(f'rule={number:0400}' for number in range(6))}", "shorten it to 2,000"),
            ("new", LIST, f"You have {MAX_KEPT} filters, which is the maximum: remove one first."),
        ):
            refused = send(client, name, path)
            assert (refused.status_code, why in html.unescape(refused.text)) == (400, True), name
            assert 'class="find"' in refused.text, "the list stays"
        assert send(client, "filter 007").status_code == 303
        assert dict(stored(database))["filter 007"] == "level=high&unassigned=true"
        assert len(kept(client)) == MAX_KEPT
    assert len(stored(database)) == MAX_KEPT


def test_who_has_no_name_keeps_nothing(served: Served, database: Database) -> None:
    """The shared token and an open listener name nobody: the page says what helps, and has no form for it."""
    with served.open(SHARED) as client:
        client.headers.update(session(client, SHARED))
        page = client.get(LIST).text
        assert "Sign in with your own token</a> to keep this filter under a name." in page
        assert 'value="keep"' not in page
        assert "Keep this filter" not in client.get("/alerts").text
    served.open_to = AccessRole.READER
    with served.open() as client:
        assert "to keep this filter under a name." in client.get(LIST).text
        assert send(client, "mine").status_code == 403
    assert stored(database, "") == []


def test_a_filter_that_finds_nothing_any_more_can_be_removed(served: Served, database: Database) -> None:
    """A rule that is gone, and a query that is no longer valid, have a page with the button that removes the filter."""
    old = [KeptFilter("gone", "rule=removed", NOON), KeptFilter("invalid", "level=severe&since=never", NOON)]
    with database.write() as connection:
        for each in old:
            kept_filters.keep(connection, "sam", each)
    with served.open() as client:
        client.headers.update(session(client, give_token(database)))
        for name, target, _ in kept(client):
            assert f"Remove “{name}”" in client.get(target).text
            assert send(client, name, target, "forget").status_code == 303
    assert stored(database) == []


def test_filters_end_with_the_person(served: Served, database: Database) -> None:
    """A new token of that name has the filters of one that ended; if nobody looks at them while records are kept, they go."""
    kept_for, secret = Retention().records, give_token(database)
    with served.open() as client:
        client.headers.update(session(client, secret))
        send(client, "mine")
        with database.write() as connection:
            tokens.revoke(connection, ["token of sam"], "admin", NOON)
            tokens.delete_ended(connection, NOON + timedelta(days=1))
        served.clock.now += kept_for - timedelta(days=1)
        client.headers.update(session(client, give_token(database)))
        assert [name for name, _, _ in kept(client)] == ["mine"]
    run_once(database, Retention(), NOON + kept_for + timedelta(days=1))
    assert stored(database) == [("mine", "level=high&unassigned=true")]
    run_once(database, Retention(), NOON + 2 * kept_for + timedelta(days=1))
    assert stored(database) == []


def test_a_filter_in_use_outlives_records_of_some_hours(served: Served, database: Database) -> None:
    """Its use is noted once a day, so it stays for longer than the records, if these are kept for less."""
    with served.open() as client:
        client.headers.update(session(client, give_token(database)))
        send(client, "mine")
    for hours, count in ((21, 1), (50, 0)):
        run_once(database, Retention(records=timedelta(hours=12)), NOON + timedelta(hours=hours))
        assert len(stored(database)) == count


@pytest.mark.parametrize("has_script", [True, False])
def test_a_filter_is_kept_in_a_browser(served: Served, database: Database, browser: Browser, has_script: bool) -> None:
    """With and without a script, on a phone: name it, follow it later, remove it."""
    secret = give_token(database)
    size = {"width": 375, "height": 812}
    with (
        served.open() as client,
        viewing(browser, str(client.base_url).rstrip("/"), viewport=size, java_script_enabled=has_script) as viewer,
    ):
        arrive(viewer, LIST, secret)
        page = viewer.page
        page.get_by_text("Keep this filter").click()
        page.get_by_label("Name of this filter").fill("eve, and a name that is longer than a telephone is wide")
        page.get_by_role("button", name="Keep").click()
        page.goto(f"{viewer.origin}/alerts")
        assert viewer.overflow() == []
        page.get_by_role("link", name="eve, and a name").click()
        expect(page.locator("[data-item]")).to_have_count(1)
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_role("link", name="eve, and a name")).to_have_count(0)
        assert not has_script or viewer.barriers() == []  # axe is a script
