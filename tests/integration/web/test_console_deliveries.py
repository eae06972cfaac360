"""What people decide about dead letters on their page: send again, send elsewhere, drop; some, or all of one receiver."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.delivery import dead_letters
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.store import alert_history, alerts, delivery_transitions, outbox
from actionwatch.store.database import Database
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.web.console.forms import MAX_AT_ONCE
from actionwatch.web.parts import Destination
from tests.browser import WIDTHS, viewing
from tests.builders import Clock, make_alert, make_delivery
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, arrive, form_token, give_token, session
from tests.statements import statements, transactions

DEAD = "/deliveries?state=dead"
RECEIVERS = [Destination("hook", "webhook"), Destination("mail", "email")]


@pytest.fixture
def letters(database: Database) -> list[Delivery]:
    """Three dead letters of hook, and one of a receiver that was removed."""
    rows = [*(make_delivery(f"alert-{number}") for number in range(3)), make_delivery("alert-0", "old")]
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(f"alert-{number}"), "g") for number in range(3)])
        delivery_transitions.enqueue(connection, rows)
        for row in rows:
            delivery_transitions.bury(connection, row, "gave up after 8 attempts: 503")
    return rows


@pytest.fixture
def web(database: Database, letters: list[Delivery]) -> Iterator[httpx.Client]:
    """Serve it to the browser of sam, an operator."""
    served = Served(database, open_to=None, options={"receivers": RECEIVERS})
    with served.open() as client:
        client.headers.update(session(client, give_token(database)))
        yield client


def decide(client: httpx.Client, path: str = DEAD, **fields: Any) -> tuple[int, str]:
    """Send the form of a page. Return the status and the text of the page that follows."""
    answer = client.post(path, data={"form_token": form_token(client, path), **fields})
    return answer.status_code, html.unescape(answer.text)


def states(database: Database) -> list[tuple[str, str, str]]:
    """Return alert, receiver and status of all rows."""
    with database.read() as connection:
        rows = [row for number in range(3) for row in outbox.read_of_alert(connection, f"alert-{number}")]
    return [(row.alert_id, row.receiver, row.status.value) for row in rows]


def history(database: Database, alert_id: str) -> list[tuple[str, str]]:
    """Return the history of an alert."""
    with database.read() as connection:
        return [(line.stage, line.what) for line in alert_history.read(connection, alert_id)]


def test_dead_letters_are_one_click_away(web: httpx.Client) -> None:
    """The overview and the page of an alert lead to the dead letters that need a decision."""
    assert '<a href="/deliveries?state=dead">Dead letters</a>' in web.get("/").text
    assert '<a href="/deliveries?state=dead&amp;receiver=old">decide</a>' in web.get("/alerts/alert-0").text


def test_selected_letters_are_sent_again(web: httpx.Client, database: Database, letters: list[Delivery]) -> None:
    """The selected ones are pending again, no other; the history of each alert says who did it."""
    status, text = decide(web, action="retry", id=[letters[0].id, letters[1].id])
    assert (status, "2 dead letters will be sent again." in text) == (200, True)
    assert [state for _, _, state in states(database)] == ["pending", "dead", "pending", "dead"]
    assert history(database, "alert-0") == [("retried", "opened goes to hook again, by sam")]
    assert history(database, "alert-2") == []


def test_what_another_person_decided_stays(web: httpx.Client, database: Database, letters: list[Delivery]) -> None:
    """A row that is no longer a dead letter is reported, and does not keep the others from being sent."""
    token = form_token(web, DEAD)
    with database.write() as connection:
        delivery_transitions.drop(connection, DeliveryFilter(ids=[letters[0].id]), "kim")
    given = {"form_token": token, "action": "retry", "id": [letters[0].id, letters[1].id]}
    text = web.post(DEAD, data=given).text
    assert "1 dead letter will be sent again. 1 was not changed: it is no longer a dead letter." in text
    assert ("alert-0", "hook", "suppressed") in states(database)


def test_a_double_click_sends_once(web: httpx.Client, database: Database, letters: list[Delivery]) -> None:
    """The answer to the second click, the one that a person sees, blames nobody and does not say that nothing is sent."""
    given = {"form_token": form_token(web, DEAD), "action": "retry", "id": [letters[0].id, letters[1].id]}
    first, second = (outcome(web.post(DEAD, data=given).text) for _ in range(2))
    assert first == "2 dead letters will be sent again."
    assert second == "2 were not changed: they are no longer dead letters."
    assert [state for _, _, state in states(database)] == ["pending", "dead", "pending", "dead"]
    assert len(history(database, "alert-0")) == 1


def outcome(page: str) -> str:
    """Return what a page says about the decision before it."""
    return "".join(re.findall(r'<div class="note good" role="status"[^>]*><p>(.*?)</p>', page))


def test_another_receiver(web: httpx.Client, database: Database, letters: list[Delivery]) -> None:
    """Dead letters of a receiver that was removed are refused, and can be sent to another one."""
    old = letters[3].id
    status, text = decide(web, action="retry", id=[old, letters[1].id])
    assert status == 400
    assert "1 dead letter is for a receiver that is no longer configured (1 for old): choose another receiver" in text
    assert {state for _, _, state in states(database)} == {"dead"}, "nothing is half done"
    status, text = decide(web, action="retry", id=old, to="mail")
    assert (status, "1 dead letter will be sent to mail." in text) == (200, True)
    with database.read() as connection:
        (moved,) = [row for row in outbox.read_of_alert(connection, "alert-0") if row.receiver == "mail"]
    assert (moved.id, moved.status) == (old, DeliveryStatus.PENDING)
    assert history(database, "alert-0") == [("retried", "opened goes to mail in place of old, by sam")]


def test_dropping_asks_first(web: httpx.Client, database: Database, letters: list[Delivery]) -> None:
    """The first press asks, and changes nothing; the second one drops, and says who."""
    asked, text = decide(web, action="drop", id=letters[0].id)
    assert (asked, "Drop 1 dead letter for good? Nobody gets this message then." in text) == (200, True)
    assert {state for _, _, state in states(database)} == {"dead"}
    done, text = decide(web, action="drop", id=letters[0].id, confirmed="1")
    assert (done, "1 dead letter is dropped." in text) == (200, True)
    with database.read() as connection:
        row = outbox.read(connection, letters[0].id)
    assert row is not None
    assert (row.status, row.why, row.ref) == (DeliveryStatus.SUPPRESSED, "dropped", "sam")
    assert history(database, "alert-0") == [("dropped", "opened for hook is not sent, by sam")]


def test_all_of_one_receiver(web: httpx.Client, database: Database) -> None:
    """All dead letters of a receiver, on whatever page, are one decision, after a question with their number."""
    path = f"{DEAD}&receiver=hook"
    _, text = decide(web, path, action="retry", which="all")
    assert "Send 3 dead letters of hook again?" in text
    _, text = decide(web, path, action="retry", which="all", confirmed="1")
    assert "3 dead letters will be sent again." in text
    assert [state for _, receiver, state in states(database) if receiver == "hook"] == ["pending"] * 3
    assert ("alert-0", "old", "dead") in states(database)
    status, text = decide(web, action="drop", which="all")
    assert (status, "Choose a receiver first" in text) == (400, True)


@pytest.mark.parametrize("is_selected", [False, True], ids=["of a receiver", "by id"])
def test_many_are_several_transactions(
    database: Database, letters: list[Delivery], monkeypatch: pytest.MonkeyPatch, *, is_selected: bool
) -> None:
    """Many dead letters are moved in portions, between which the other steps can write; none is left out.

    Before the first portion, only their ids are read: there may be a hundred thousand.
    """
    monkeypatch.setattr(dead_letters, "PORTION", 2)
    actions = DeadLetters(database, ["hook", "mail"], Clock())
    ids = [each.id for each in letters] if is_selected else None
    with transactions() as ran, statements() as asked:
        assert actions.retry(DeliveryFilter(ids, "hook"), "sam", "mail").count == len(letters) - 1
    assert ran.count("write") == 2
    assert next(each for each in asked if each.startswith("SELECT delivery")).startswith("SELECT delivery.id \n")
    assert [state for _, receiver, state in states(database) if receiver == "mail"] == ["pending"] * 3


@in_one_test(
    ("fields", "problem"),
    [
        ({"action": "retry"}, "Nothing is selected: select one dead letter or more."),
        ({"action": "retry", "id": [f"x{number}" for number in range(MAX_AT_ONCE + 1)]}, "select at most 50 at once"),
        ({"action": "retry", "id": "x", "to": "nobody<b>"}, "to: no receiver has the name nobody<b>: use hook, mail"),
        ({"action": "explode", "id": "x"}, "action: use retry or drop"),
        ({"action": "retry", "id": "x\0"}, "the form contains a NUL character: remove it"),
    ],
)
def test_mistakes_are_named(web: httpx.Client, database: Database, fields: dict[str, Any], problem: str) -> None:
    """A wrong form changes nothing and says what helps."""
    status, text = decide(web, **fields)
    assert (status, problem in text) == (400, True), text
    assert {state for _, _, state in states(database)} == {"dead"}


def test_a_shared_token_needs_a_name(database: Database, letters: list[Delivery]) -> None:
    """With the shared token, people type who they are."""
    with Served(database, options={"receivers": RECEIVERS}).open("open-sesame") as client:
        client.headers.update(session(client, "open-sesame"))
        assert "Your name is missing" in decide(client, action="retry", id=letters[0].id)[1]
        assert decide(client, action="retry", id=letters[0].id, author="kim")[0] == 200
    assert history(database, "alert-0") == [("retried", "opened goes to hook again, by kim")]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_person_decides_in_the_browser(browser: Browser, web: httpx.Client, database: Database, width: int) -> None:
    """With the keyboard alone: select, choose a receiver, send; then drop, which asks. Nothing shuts people out."""
    origin = str(web.base_url).rstrip("/")
    secret = give_token(database, "kim")
    with viewing(browser, origin, viewport={"width": width, "height": 800}) as viewer:
        arrive(viewer, DEAD, secret)
        assert (viewer.barriers(), viewer.overflow()) == ([], [])
        page = viewer.page
        page.get_by_role("checkbox", name="Select opened for old").press("Space")
        page.get_by_label("Send to").select_option("mail")
        page.get_by_role("button", name="Send", exact=True).press("Enter")
        expect(page.get_by_role("status")).to_have_text("1 dead letter will be sent to mail.")
        page.get_by_role("checkbox").first.press("Space")
        page.get_by_role("button", name="Drop…").press("Enter")
        assert (viewer.barriers(), viewer.overflow()) == ([], [])
        page.get_by_role("button", name="Drop", exact=True).press("Enter")
        expect(page.get_by_role("status")).to_have_text("1 dead letter is dropped.")
        assert viewer.wrong == []
    assert [state for _, _, state in states(database)].count("dead") == 2
