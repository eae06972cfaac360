"""What people do on the page of silences: add one after a preview, and end some."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from actionwatch.alerts.silences import MAX_MATCHERS, make_silence
from actionwatch.base.model import Silence
from actionwatch.store import alerts, silences
from actionwatch.store.database import Database
from tests.browser import SCHEMES, WIDTHS, viewing
from tests.builders import NOON, make_alert
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, arrive, form_token, forms_in, give_token, session
from tests.unit.render.messages import HOSTILE

HOUR = timedelta(hours=1)
UNUSUAL = ["eve\u202ex", "e\u200bve", "eve\x1b[1m", "<b>&lt;eve", "\\u202e", "e" * 900]
FORM = {"action": "add", "matchers": "rule=cluster_deleted\n", "ends": "2h", "comment": "load test, ask sam"}


@pytest.fixture
def served(database: Database) -> Served:
    """A console with an alert that a silence could hide."""
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(), "g")])
    return Served(database, open_to=None)


@pytest.fixture
def web(served: Served, database: Database) -> Iterator[httpx.Client]:
    """Serve it to the browser of sam, an operator."""
    with served.open() as client:
        client.headers.update(session(client, give_token(database)))
        yield client


def send(client: httpx.Client, **fields: Any) -> tuple[int, str]:
    """Send a form of the page. Return the status and the text of the page that follows."""
    answer = client.post("/silences", data={"form_token": form_token(client, "/silences"), **fields})
    return answer.status_code, html.unescape(answer.text)


def chosen_id(text: str) -> str:
    """Return the id of the silence that a page shows before it is made."""
    return str(re.findall(r'name="silence_id" value="([^"]+)"', text)[0])


def stored(database: Database) -> list[Silence]:
    """Return the silences."""
    with database.read() as connection:
        return silences.read_all(connection)


def test_a_silence_is_shown_and_added_once(web: httpx.Client, served: Served, database: Database) -> None:
    """The first press shows what it would have hidden and adds nothing; the second one adds it, also if it is sent twice."""
    status, text = send(web, **FORM)
    assert (status, stored(database)) == (200, [])
    assert "it would have hidden 1 of the 1 alert of the last 7d: 1 cluster_deleted." in text
    for note in ("The silence is added.", "This silence was added before."):
        status, again = send(web, **FORM, silence_id=chosen_id(text), confirmed="1")
        assert (status, note in again) == (200, True)
        served.clock.advance(minutes=1)
    (made,) = stored(database)
    assert (made.id, made.author, made.comment) == (chosen_id(text), "sam", "load test, ask sam")
    assert (made.matchers, made.starts_at, made.ends_at) == (("rule=cluster_deleted",), NOON, NOON + 2 * HOUR)


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_confirmed_is_what_was_shown(web: httpx.Client, database: Database, name: str) -> None:
    """The form that a preview shows makes the silence that was shown, and its editor has what was typed, whatever the text."""
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert("odd", group={"userName": name}), "h")])
    typed = {**FORM, "matchers": f'userName="{name}"', "comment": f"ask {name}"}
    page = web.post("/silences", data={"form_token": form_token(web, "/silences"), **typed}).text
    assert "would have hidden 1 of the 2 alerts" in page
    shown, editor = [form for form in forms_in(page) if "matchers" in form]
    assert (editor["matchers"], editor["comment"]) == (typed["matchers"], typed["comment"])
    assert "The silence is added." in web.post("/silences", data=shown).text
    (made,) = stored(database)
    assert (made.matchers, made.comment) == ((typed["matchers"],), typed["comment"])


@pytest.mark.parametrize(
    ("starts", "ends", "expected"),
    [
        ("3h", "2h", (NOON + 3 * HOUR, NOON + 5 * HOUR)),
        ("2026-11-26 12:00", "2026-11-26T13:00Z", (NOON + 24 * HOUR, NOON + 25 * HOUR)),
        ("", "2026-11-25T15:00+02:00", (NOON, NOON + HOUR)),
    ],
)
def test_times_are_durations_or_times(
    web: httpx.Client, database: Database, starts: str, ends: str, expected: tuple[Any, Any]
) -> None:
    """It begins now, later, or at a time, and ends after a duration or at a time; without a zone, a time is UTC."""
    assert send(web, **{**FORM, "starts": starts, "ends": ends}, confirmed="1")[0] == 200
    (made,) = stored(database)
    assert (made.starts_at, made.ends_at) == expected


def test_what_is_doubtful_must_be_confirmed(web: httpx.Client, served: Served, database: Database) -> None:
    """Doubts are shown with the preview, and keep the silence from being added until somebody confirms them."""
    served.options["doubts"] = lambda made, now: [
        "no rule has the name cluster_deletet: did you mean 'cluster_deleted'?"
    ]
    with served.open() as client:
        client.headers.update(session(client, give_token(database, "kim")))
        for confirmed in ({}, {"confirmed": "1"}):
            _, text = send(client, **FORM, **confirmed)
            assert "did you mean 'cluster_deleted'?" in text
            assert 'name="force"' in text
        assert "This is probably a mistake: confirm that you want it." in text
        assert stored(database) == []
        assert "The silence is added." in send(client, **FORM, confirmed="1", force="1")[1]
    assert [each.author for each in stored(database)] == ["kim"]


@in_one_test(
    ("fields", "problem"),
    [
        ({"matchers": " \n"}, "a silence needs a matcher"),
        ({"matchers": "rule=~.*"}, "this would silence every alert"),
        ({"matchers": "rule"}, "rule"),
        ({"matchers": "a=b\n" * (MAX_MATCHERS + 1)}, "matchers: 51 lines: write at most 50."),
        ({"matchers": f"a={'x' * 1000}"}, "matchers: a line is too long: shorten it to 1,000 characters."),
        ({"comment": " "}, "The reason is missing"),
        ({"comment": "x" * 1001}, "comment: 1,001 characters: shorten it to 1,000."),
        ({"ends": ""}, "until: nothing is not a time"),
        ({"ends": "soon<b>"}, "until: soon<b> is not a time: use 2h"),
        ({"ends": "99999999d"}, "until: 99999999d is not a time"),
        ({"ends": "2026-11-25T11:00Z"}, "a silence must end after it starts"),
        ({"starts": "9999-12-31T23:59Z", "ends": "2h"}, "from: 9999-12-31T23:59Z is not a time"),
        ({"action": "explode"}, "action: use add or end"),
        ({"action": "end"}, "Nothing is selected: select one silence or more."),
    ],
)
def test_mistakes_are_named(web: httpx.Client, database: Database, fields: dict[str, str], problem: str) -> None:
    """A wrong form adds nothing, says what helps, and keeps what was typed."""
    status, text = send(web, **{**FORM, **fields}, confirmed="1")
    assert (status, problem in text, stored(database)) == (400, True, []), text
    assert fields.get("action") or fields.get("comment") or FORM["comment"] in text


def test_silences_are_ended(web: httpx.Client, served: Served, database: Database) -> None:
    """The selected ones end now. One that a file has, or that is gone, is reported, and keeps no other from ending."""
    made = [
        make_silence([f"rule=r{number}"], "kim", "x", NOON - HOUR, NOON + HOUR, made_at=NOON) for number in range(3)
    ]
    with database.write() as connection:
        for each in (*made[:2], replace(made[2], file="silences.yml")):
            silences.write(connection, each)
    page = web.get("/silences").text
    assert [each.id in re.findall(r'name="id" value="([^"]+)"', page) for each in made] == [True, True, False]
    served.clock.advance(minutes=1)
    _, text = send(web, action="end", id=[made[0].id, made[2].id, "gone"])
    assert "1 silence is over." in text
    assert f"{made[2].id} comes from silences.yml: remove it there." in text
    assert "no silence has the id gone." in text
    now = NOON + timedelta(minutes=1)
    assert {each.id: each.status(now) for each in stored(database)} == {
        made[0].id: "expired",
        made[1].id: "active",
        made[2].id: "active",
    }


@pytest.mark.parametrize(("width", "scheme"), list(zip(WIDTHS, SCHEMES, strict=True)))
def test_a_person_adds_and_ends_one_in_the_browser(
    browser: Browser, web: httpx.Client, served: Served, database: Database, width: int, scheme: str
) -> None:
    """Add one with hostile text, end it: with nothing that shuts people out or scrolls sideways."""
    origin = str(web.base_url).rstrip("/")
    size = {"width": width, "height": 800}
    with viewing(browser, origin, viewport=size, color_scheme=scheme) as viewer:
        page = viewer.page
        arrive(viewer, "/silences", give_token(database, "kim"))
        page.get_by_text("New silence").click()
        page.get_by_label("Matchers").fill('rule=cluster_deleted\nuserName="<b>eve</b>"')
        page.get_by_label("Reason").fill(HOSTILE["attribute"])
        assert (viewer.barriers(), viewer.overflow()) == ([], [])
        page.get_by_role("button", name="Show what it would hide").click()
        expect(page.get_by_role("status")).to_contain_text("it would have hidden none of the 1 alert")
        assert (viewer.barriers(), viewer.overflow()) == ([], [])
        page.get_by_role("button", name="Add the silence").click()
        expect(page.get_by_role("status")).to_have_text("The silence is added.")
        assert (viewer.barriers(), viewer.overflow()) == ([], [])
        page.get_by_role("checkbox").press("Space")
        page.get_by_role("button", name="End the selected").press("Enter")
        expect(page.get_by_role("status")).to_have_text("1 silence is over.")
        assert viewer.wrong == []
    (made,) = stored(database)
    assert (made.author, made.comment, made.ends_at) == ("kim", HOSTILE["attribute"].strip(), NOON)
