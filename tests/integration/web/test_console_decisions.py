"""What people decide on the page of an alert: with a token only, with an author, and not by another site."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import Browser, expect

from actionwatch.base.access import AccessRole
from actionwatch.base.delivery import ESCALATION, new_delivery
from actionwatch.base.model import Alert, Event, Status
from actionwatch.store import alert_history, alerts, delivery_transitions, records, silences
from actionwatch.store.database import Database
from actionwatch.web.access import COOKIE
from tests.attacks.test_console import TOKEN, sign_in
from tests.browser import viewing
from tests.builders import NOON, make_alert, make_record
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served, cookie_of, form_token, forms_in
from tests.unit.render.messages import HOSTILE

PATH = "/alerts/alert-1/decision"


@pytest.fixture
def served(database: Database) -> Served:
    """A console with two open alerts of one group."""
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        given = [make_alert(f"alert-{number}", group={"userName": "eve"}) for number in (1, 2)]
        alerts.insert_new(connection, [(each, "g") for each in given])
        alerts.join(connection, [("alert-1", 1, NOON), ("alert-2", 1, NOON)])
    return Served(database)


@pytest.fixture
def web(served: Served) -> Iterator[httpx.Client]:
    """Serve it to a browser that has signed in."""
    with served.open(TOKEN) as client:
        client.headers["cookie"] = f"{COOKIE}={cookie_of(sign_in(client))}"
        yield client


def decide(client: httpx.Client, action: str, **fields: str) -> httpx.Response:
    """Send the form of the alert."""
    given = {
        "form_token": form_token(client, "/alerts/alert-1"),
        "action": action,
        "author": "sam",
        "comment": "",
        "span": "1h",
    }
    return client.post(PATH, data={**given, **fields})


def stored(database: Database) -> tuple[Alert, list[str]]:
    """Return the alert, and the lines of its history."""
    with database.read() as connection:
        alert = alerts.read(connection, "alert-1")
        assert alert is not None
        return alert, [f"{line.stage}: {line.what}" for line in alert_history.read(connection, "alert-1")]


def test_acknowledging_and_resolving_record_who(web: httpx.Client, database: Database) -> None:
    """Both change the alert once, keep author and comment, and lead back to the alert; a second person sees that."""
    answer = decide(web, "ack", comment="on it <b>now</b>")
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts/alert-1?done=ack")
    alert, history = stored(database)
    assert (alert.status, alert.acked_by) == (Status.ACKED, "sam")
    assert any(line.startswith("acknowledged: by sam") and "on it <b>now</b>" in line for line in history)
    page = web.get(answer.headers["location"]).text
    assert f"Acknowledged: {alert.title}" in page
    assert "on it &lt;b&gt;now&lt;/b&gt;" in page
    assert decide(web, "ack", author="kim").headers["location"].endswith("done=known")
    assert decide(web, "resolve", author="kim").headers["location"].endswith("done=resolve")
    alert, _ = stored(database)
    assert (alert.status, alert.acked_by, alert.resolved_by) == (Status.RESOLVED, "sam", "kim")
    assert decide(web, "resolve").headers["location"].endswith("done=known")


def test_an_alert_is_reopened_from_the_note_of_a_decision(web: httpx.Client, database: Database) -> None:
    """The note after a decision names the alert, and its button reopens it; the note about an open alert has none."""
    note = re.compile(r'<form class="reopen".*?</form>', re.DOTALL)
    for action in ("ack", "resolve"):
        page = web.get(decide(web, action).headers["location"]).text
        assert 'value="reopen">Reopen</button>' in note.findall(page)[0]
        assert decide(web, "reopen").headers["location"] == "/alerts/alert-1?done=reopen"
        assert stored(database)[0].status is Status.OPEN
        assert note.findall(web.get(f"/alerts/alert-1?done={action}").text) == []


def test_an_alert_is_assigned_and_gets_notes(web: httpx.Client, database: Database) -> None:
    """A person takes an alert, gives it to another one, and writes a note; an empty note changes nothing."""
    assert decide(web, "take").headers["location"].endswith("done=take")
    assert stored(database)[0].assigned_to == "sam"
    assert decide(web, "assign", to="kim").headers["location"].endswith("done=assign")
    assert "not the name of a person" in decide(web, "assign", to="Action-Watch").text
    assert decide(web, "note", comment="a <b>test</b>").headers["location"].endswith("done=note")
    assert "The note is empty" in decide(web, "note").text
    alert, history = stored(database)
    assert (alert.assigned_to, alert.note, alert.status) == ("kim", "a <b>test</b>", Status.OPEN)
    assert history[-3:] == ["assigned: to sam by sam", "assigned: to kim by sam", "noted: by sam: a <b>test</b>"]
    assert "a &lt;b&gt;test&lt;/b&gt;" in web.get("/alerts/alert-1").text


@in_one_test("action", ["ack", "resolve", "take", "note", "silence"])
@in_one_test("path", [PATH, "/alerts"])
def test_a_name_to_assign_to_makes_no_other_decision(
    web: httpx.Client, database: Database, path: str, action: str
) -> None:
    """Enter in the field "Assign to" presses the first button of some browsers: nothing changes, and the name stays."""
    typed = {"id": "alert-1", "to": "kim", "comment": "hers", "author": "sam", "span": "1h", "action": action}
    answer = web.post(path, data={**typed, "form_token": form_token(web, "/alerts/alert-1")})
    assert answer.status_code == 400
    assert "You wrote a name: press Assign, or empty the field." in html.unescape(answer.text)
    (form,) = [each for each in forms_in(answer.text) if "to" in each]
    assert (form["to"], form["comment"], form["author"]) == ("kim", "hers", "sam")
    assert (stored(database)[0].status, stored(database)[1]) == (Status.OPEN, [])


@pytest.mark.parametrize("path", ["/alerts/alert-1", "/alerts"])
def test_enter_in_a_field_presses_no_button(browser: Browser, served: Served, database: Database, path: str) -> None:
    """A person who types a name and presses Enter has not decided anything yet; the button Assign does it."""
    with served.open(TOKEN) as client, viewing(browser, str(client.base_url).rstrip("/")) as viewer:
        page = viewer.page
        viewer.open(path)
        expect(page.get_by_label("Token")).to_be_focused()
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_label("Your name").fill("sam")
        if path == "/alerts":
            page.locator("input[name=id]").last.check()
            page.locator(".decide summary").click()
        page.get_by_label("Assign to").fill("kim")
        page.get_by_label("Assign to").press("Enter")
        assert stored(database)[1] == []
        expect(page.get_by_role("button", name="Assign", exact=True)).to_be_visible()
        page.get_by_role("button", name="Assign", exact=True).click()
        expect(page.get_by_role("status").first).to_contain_text("assigned", ignore_case=True)
        assert viewer.wrong == []
    with database.read() as connection:
        found = alerts.read_many(connection, ["alert-1", "alert-2"])
    assert sorted((each.status, each.assigned_to or "") for each in found.values()) == [
        (Status.OPEN, ""),
        (Status.OPEN, "kim"),
    ]


def test_the_page_says_which_escalation_an_acknowledgement_stops(web: httpx.Client, database: Database) -> None:
    """Before the decision: to whom it would go, and when; nothing waits for one that was decided."""
    assert "No escalation waits" in web.get("/alerts/alert-1").text
    with database.write() as connection:
        row = new_delivery("alert-1", "boss", Event.UPDATED, ESCALATION, NOON, NOON + timedelta(minutes=15))
        delivery_transitions.enqueue(connection, [row])
    assert "stops its escalation to boss, which is due" in web.get("/alerts/alert-1").text
    decide(web, "ack")
    assert "escalation to boss" not in web.get("/alerts/alert-1").text


def test_a_silence_is_shown_before_it_is_made(web: httpx.Client, database: Database) -> None:
    """The first press shows what the silence would hide and makes none; the second one makes it, once."""
    shown = decide(web, "silence", comment="load test, ask sam", span="4h")
    text = html.unescape(shown.text)
    assert shown.status_code == 200
    assert "In the past, it would have hidden 2 of the 2 alerts of the last 7d: 2 cluster_deleted." in text
    assert 'rule="cluster_deleted" userName="eve"' in text
    with database.read() as connection:
        assert silences.read_all(connection) == []
    for expected in ("silence", "known"):
        made = decide(web, "silence", comment="load test, ask sam", span="4h", confirmed="1")
        assert made.headers["location"].endswith(f"done={expected}")
    with database.read() as connection:
        (silence,) = silences.read_all(connection)
    assert (silence.author, silence.comment, silence.ends_at) == (
        "sam",
        "load test, ask sam",
        NOON + timedelta(hours=4),
    )
    assert any(line.startswith("silenced: by sam") for line in stored(database)[1])


@pytest.mark.parametrize("path", [PATH, "/alerts"])
def test_a_reason_stays_as_it_was_typed(web: httpx.Client, database: Database, path: str) -> None:
    """The forms of an alert and of the list send back the reason and the name that a person typed, and no escaped text."""
    name, comment = "sam <s@example.com>", "ask \u202esam\x1b[1m <b>"
    token = {"form_token": form_token(web, "/alerts/alert-1")}
    typed = {**token, "id": "alert-1", "action": "silence", "author": name, "comment": comment, "span": "1h"}
    wrong = web.post(path, data={**typed, "span": "9999d"})
    assert (name, comment) in [(each.get("author"), each.get("comment")) for each in forms_in(wrong.text)]
    (shown,) = [each for each in forms_in(web.post(path, data=typed).text) if "confirmed" in each]
    assert web.post(path, data=shown).status_code in (200, 303)
    with database.read() as connection:
        (silence,) = silences.read_all(connection)
    assert (silence.author, silence.comment) == (name, comment)


@in_one_test(
    ("action", "fields", "problem"),
    [
        ("ack", {"author": " "}, "Your name is missing"),
        ("ack", {"author": "x" * 101}, "author: 101 characters: shorten it to 100."),
        ("resolve", {"comment": "x" * 1001}, "comment: 1,001 characters: shorten it to 1,000."),
        ("silence", {}, "The reason is missing"),
        ("silence", {"comment": "x", "span": "7d"}, "A silence lasts at most 3d (max_silence)."),
        ("silence", {"comment": "x", "span": "9999d", "confirmed": "1"}, "A silence lasts at most 3d (max_silence)."),
    ],
)
def test_mistakes_are_named_and_nothing_is_lost(
    web: httpx.Client, database: Database, action: str, fields: dict[str, str], problem: str
) -> None:
    """A wrong value changes nothing; the page says what is wrong, and keeps what was typed."""
    answer = decide(web, action, **{"comment": "a long story", **fields} if action == "ack" else fields)
    assert answer.status_code == 400
    assert problem in html.unescape(answer.text)
    assert action != "ack" or "a long story" in answer.text
    assert (stored(database)[0].status, stored(database)[1]) == (Status.OPEN, [])


def test_a_console_that_is_open_to_operators_decides(served: Served) -> None:
    """Where the configuration lets everybody decide, no token is needed."""
    served.open_to = AccessRole.OPERATOR
    with served.open() as client:
        assert decide(client, "ack").status_code == 303


def test_unknown_alerts_and_actions_are_errors(web: httpx.Client) -> None:
    """An alert that is gone and an action that does not exist are pages that say so."""
    given = {"form_token": form_token(web, "/alerts/alert-1"), "action": "ack", "author": "sam"}
    gone = web.post("/alerts/gone/decision", data=given)
    assert (gone.status_code, "no alert has the id gone" in gone.text) == (404, True)
    assert web.post(PATH, data={**given, "action": "explode"}).status_code == 400


def test_a_person_decides_in_the_browser(browser: Browser, served: Served, database: Database) -> None:
    """Sign in, acknowledge, silence with a preview: by keyboard and mouse, without an error, and the name is remembered."""
    with served.open(TOKEN) as client:
        origin = str(client.base_url).rstrip("/")
        with viewing(browser, origin, viewport={"width": 375, "height": 800}) as viewer:
            page = viewer.page
            viewer.open("/alerts/alert-1")
            expect(page.get_by_label("Token")).to_be_focused()
            page.keyboard.type(TOKEN)
            page.keyboard.press("Enter")
            page.get_by_label("Your name").fill("sam")
            page.get_by_label("Comment").fill(HOSTILE["html"])
            assert (viewer.barriers(), viewer.overflow()) == ([], [])
            page.get_by_role("button", name="Acknowledge").click()
            expect(page.get_by_role("status").first).to_contain_text("Acknowledged: Cluster deleted")
            expect(page.get_by_role("region", name="Decide").get_by_label("Your name")).to_have_value("sam")
            page.get_by_label("Comment").fill(HOSTILE["attribute"])
            page.get_by_role("button", name="Silence…").click()
            expect(page.get_by_text("In the past, it would have hidden")).to_be_visible()
            assert (viewer.barriers(), viewer.overflow()) == ([], [])
            page.get_by_role("button", name="Silence", exact=True).click()
            expect(page.get_by_role("status").first).to_contain_text("The silence is active")
            assert viewer.wrong == []
    with database.read() as connection:
        assert [each.comment for each in silences.read_all(connection)] == [HOSTILE["attribute"].strip()]
    assert stored(database)[0].acked_by == "sam"
