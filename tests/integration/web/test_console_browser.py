"""The console in a real browser: every page, on a phone and a desk, light and dark, with hostile audit text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect
from sqlalchemy import Connection

from actionwatch.base.access import AccessRole
from actionwatch.base.model import Entity, Level, RuleName, Silence, Stretch
from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.base.source_labels import use_labels
from actionwatch.queries.source_health import MANY
from actionwatch.rules.model import Rule
from actionwatch.store import (
    alert_history,
    alerts,
    delivery_transitions,
    marks,
    polls,
    receipts,
    records,
    rule_history,
    rule_versions,
    self_alerts,
    silences,
)
from actionwatch.store.database import Database
from actionwatch.text.escaping import visible
from actionwatch.web.console.app import _PAGES
from tests.browser import SCHEMES, WIDTHS, Viewer, viewing
from tests.builders import (
    CLUSTER_DELETED_RULE,
    NOON,
    make_alert,
    make_delivery,
    make_marks,
    make_receipt,
    make_record,
    make_version,
)
from tests.integration.web.console_kit import Served
from tests.unit.render.messages import HOSTILE
from tests.unit.rules.builders import rules_in
from tests.waiting import wait_until

MINUTE = timedelta(minutes=1)
TEXTS = {name: text[:10_000].replace("\ud800", "\ufffd").replace("\udfff", "\ufffd") for name, text in HOSTILE.items()}
ALERT = "hostile-html"
ERRORS = ("/nothing", "/alerts/nothing", "/records/nothing", "/rules/nothing", "/records/export?format=x")
PATHS = (
    "/",
    "/?range=month",
    "/alerts",
    "/alerts?select=all",
    "/alerts?text=alert&level=high&user=%3Cscript%3E&since=7d",
    f"/alerts/{ALERT}",
    "/records",
    "/records?user=eve",
    "RECORD",
    "/deliveries",
    "/deliveries?state=dead",
    "/deliveries?state=dead&receiver=dead&select=all",
    "/deliveries?state=held",
    "/silences",
    "/sources",
    "/sources?text=nothing+has+this",
    "/rules",
    f"/rules/{ALERT}",
    "/rules?x=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    "/alerts?group=rule&level=high",
    "/alerts?text=nothing+has+this",
    "/alerts?since=never",
    "/records?text=nothing+has+this",
    "/rules?text=nothing+has+this",
    *ERRORS,
)
NO_PAGES = {"/news", "/sign-in"}  # of people, or not HTML
COMBINATIONS = list(zip(WIDTHS, SCHEMES, strict=True))  # contrast is also looked at in the other scheme


def hostile_rule(name: str, text: str) -> Rule:
    """Make a rule whose name and title are hostile, as the title in a file could be."""
    (rule,) = rules_in(CLUSTER_DELETED_RULE).rules
    return replace(rule, name=RuleName(f"hostile-{name}", text[:300], text, (text[:300],)), file=text[:300])


@pytest.fixture
def served(database: Database) -> Served:
    """A console whose store has hostile text wherever text from outside can be."""
    rules = [hostile_rule(name, text) for name, text in TEXTS.items()]
    with database.write() as connection:
        marks.write(connection, make_marks(begins_at=NOON - 90 * MINUTE))
        polls.note_poll(connection, "acme", NOON, TEXTS["html"])
        window = {"starts_at": NOON - 60 * MINUTE, "ends_at": NOON}
        receipts.write(connection, make_receipt(**window, record_count=3, kind_counts={"A": 3}))
        for number, (name, text) in enumerate(TEXTS.items()):
            entity = Entity(text, text)
            named: dict[str, Any] = {
                "user_name": text,
                "description": text,
                "action_kind": text,
                "cluster": entity,
                "account": entity,
            }
            records.insert_new(connection, [make_record(number, raw=f'{{"a": {number}}}', **named)])
            store_alert(connection, number, f"hostile-{name}", text)
            store_silences(connection, number, text)
            rule_versions.write(connection, [make_version(f"hostile-{name}", text, name=text[:300], file=text[:300])])
    entries = [
        RuleEntry(
            at=NOON, rule_id=f"hostile-{name}", name=text[:300], state=RuleState.OFF,
            why=text, file=text[:300],
        )
        for name, text in TEXTS.items()
    ]  # fmt: skip
    with database.write() as connection:
        rule_history.append(connection, [replace(each, is_held=held) for each in entries for held in (False, True)])
    # Operators see all that readers see, and the forms.
    made = Served(database, rules=rules, open_to=AccessRole.OPERATOR)
    made.unready.append(TEXTS["html"])
    made.stretches.append(Stretch("acme", NOON - 60 * MINUTE, NOON - 30 * MINUTE, is_proved=False, why=TEXTS["html"]))
    made.stretches.append(Stretch("acme", NOON - 30 * MINUTE, NOON, is_proved=True))
    return made


def store_alert(connection: Connection, number: int, alert_id: str, text: str) -> None:
    """Store an alert of the newest record, with deliveries in each state, its history, and a self-alert about it."""
    alert = make_alert(
        alert_id, rule=RuleName(alert_id, text[:300], text, (text[:300],)), title=text, body=text, runbook=text,
        labels={"team": text, text[:50]: "x"}, group={"userName": text, "cluster": text}, acked_by=text, resolved_by=text,
        source=text[:300], opened_at=NOON - number * MINUTE, level=Level(number % 5),
    )  # fmt: skip
    alerts.insert_new(connection, [(alert, "g")])
    alerts.join(connection, [(alert.id, records.newest_id(connection), NOON)])
    rows = [make_delivery(alert.id, receiver) for receiver in ("hook", text[:300], "dead", "held")]
    delivery_transitions.enqueue(connection, rows)
    delivery_transitions.bury(connection, rows[2], text)
    stopped = delivery_transitions.Suppression(rows[3], "silence", text[:300], "silence")
    delivery_transitions.suppress(connection, [stopped])
    alert_history.append(connection, [alert_history.Entry(NOON, alert.id, text[:300], text)])
    opened = self_alerts.OpenSelfAlert(f"trouble {number}", text, NOON, text, text, alert.id)
    self_alerts.insert(connection, opened)


def store_silences(connection: Connection, number: int, text: str) -> None:
    """Store a silence that is expired, one that is active, and one to come."""
    for place, hours in enumerate((-3, -1, 1)):
        start = NOON + hours * 60 * MINUTE
        silence = Silence(f"s{number}-{place}", (text,), text, text, start, start + 120 * MINUTE, text[:300])
        silences.write(connection, silence)


@pytest.fixture
def web(served: Served) -> Iterator[httpx.Client]:
    """Serve it."""
    with served.open() as client:
        yield client


def origin_of(client: httpx.Client) -> str:
    """Return the origin of the console."""
    return str(client.base_url).rstrip("/")


def test_every_page_is_looked_at() -> None:
    """Each page of the console is among those that are opened with hostile text; the others are no pages."""
    shown = [re.compile(re.sub(r"{\w+}", "[^?]+", path) + r"(\?.*)?") for path in _PAGES if path not in NO_PAGES]
    assert [each.pattern for each in shown if not any(map(each.fullmatch, ("/records/RECORD", *PATHS)))] == []


@pytest.mark.parametrize(("width", "scheme"), COMBINATIONS)
def test_every_page_works_for_everyone(browser: Browser, web: httpx.Client, width: int, scheme: str) -> None:
    """No page has an error, runs hostile text, asks another origin, scrolls sideways, or shuts people out."""
    key = re.findall(r'href="(/records/[^"?]+)"', web.get("/records").text)[0]
    size = {"width": width, "height": 800}
    with viewing(browser, origin_of(web), viewport=size, color_scheme=scheme, timezone_id="Australia/Sydney") as viewer:
        for path in PATHS:
            viewer.open(key if path == "RECORD" else path)
            assert [each for each in viewer.wrong if not _is_of_error(each, path)] == [], path
            viewer.wrong.clear()
            check_layout(viewer, path)
            assert (
                viewer.page.evaluate(
                    "document.querySelectorAll('main script, main img, main style, [onmouseover]').length"
                )
                == 0
            )
        assert all(url.startswith(viewer.origin) for url in viewer.requested)


def check_layout(viewer: Viewer, path: str) -> None:
    """Check that a page does not scroll sideways, and shuts nobody out."""
    assert viewer.overflow() == [], path
    assert viewer.barriers() == [], path
    assert viewer.faint() == [], path
    assert viewer.page.locator("main h1").count() == 1, path


@pytest.mark.parametrize(("width", "scheme"), COMBINATIONS)
def test_pages_of_many_sources_work_for_everyone(browser: Browser, served: Served, width: int, scheme: str) -> None:
    """The same is true with so many sources that the overview shows exceptions, whatever their labels and errors are."""
    names = ["acme", *(f"{'long-' * number}name-{number}" for number in range(MANY))]
    with served.database.write() as connection:
        for number, name in enumerate(names[1:MANY]):
            marks.write(connection, make_marks(name=name, begins_at=NOON - 90 * MINUTE))
            polls.write(connection, {name: polls.Poll(NOON, number % 4, "x" * 300 if number % 4 else None)})
    served.sources = names
    texts = [*TEXTS.values()]
    use_labels({name: {"customer": texts[number % len(texts)]} for number, name in enumerate(names)})
    size = {"width": width, "height": 800}
    with (
        served.open() as web,
        viewing(browser, origin_of(web), viewport=size, color_scheme=scheme, timezone_id="UTC") as viewer,
    ):
        for path in ("/", "/sources", "/sources?state=paused&label=customer!%3Dx&text=name&sort=lag"):
            viewer.open(path)
            assert viewer.wrong == []
            check_layout(viewer, path)
            assert viewer.page.locator("table.sources tbody tr").count() > 1
    use_labels({})


def _is_of_error(note: str, path: str) -> bool:
    """Return whether a note is the browser's report that a page has an error status, which it should have."""
    return "Failed to load resource" in note and (path in ERRORS or "since=never" in path)


def test_hostile_text_is_shown_as_text(browser: Browser, web: httpx.Client) -> None:
    """What an attacker wrote is on the page as they wrote it; what would reorder or hide text is an escape."""
    with viewing(browser, origin_of(web)) as viewer:
        for name in ("html", "attribute", "entity", "template", "right to left", "json", "rich markup"):
            viewer.open(f"/alerts/hostile-{name}")
            assert viewer.page.locator("h1").text_content() == visible(TEXTS[name]), name
        assert viewer.wrong == []


def test_long_text_is_cut_and_pages_stay_small(web: httpx.Client) -> None:
    """Texts of any length make no page too large; the page says how much was cut."""
    for path in PATHS[:-1]:
        answer = web.get("/records" if path == "RECORD" else path)
        assert len(answer.content) < 400_000, path
    assert "… (+" in web.get("/records").text


def test_keys_move_through_lists(browser: Browser, web: httpx.Client) -> None:
    """`j` and `k` move, Enter opens, `/` searches, `?` shows the keys, and `g r` goes to the records."""
    with viewing(browser, origin_of(web)) as viewer:
        page = viewer.page
        viewer.open("/alerts")
        page.keyboard.press("?")
        expect(page.locator("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_be_hidden()
        items = page.locator("[data-item]")
        for key, place in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
            page.keyboard.press(key)
            expect(items.nth(place)).to_be_focused()
        page.keyboard.press("/")
        expect(page.locator("[data-search]")).to_be_focused()
        page.keyboard.type("jk?/")
        expect(page.locator("[data-search]")).to_have_value("jk?/")
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        target = items.nth(0).get_attribute("href") or ""
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: url.endswith(target))
        page.keyboard.press("g")
        page.keyboard.press("r")
        page.wait_for_url(lambda url: url.endswith("/records"))
        assert viewer.wrong == []


def test_times_are_in_the_zone_of_the_viewer(browser: Browser, web: httpx.Client) -> None:
    """A time is local, with UTC on hover, and the foot of the page names the zone. Without a script it is UTC."""
    with viewing(browser, origin_of(web), timezone_id="Australia/Sydney") as viewer:
        viewer.open("/records")
        first = viewer.page.locator("td time").first
        assert (first.text_content(), first.get_attribute("title")) == (
            "2026-11-25 23:00:00",
            "2026-11-25 12:00:00 UTC",
        )
        expect(viewer.page.locator("[data-zone]")).to_have_text(
            "Times are in Australia/Sydney; hover over one for UTC."
        )
    with viewing(browser, origin_of(web), timezone_id="Australia/Sydney", java_script_enabled=False) as viewer:
        viewer.open("/records")
        assert viewer.page.locator("td time").first.text_content() == "2026-11-25 12:00:00"
        expect(viewer.page.locator("[data-zone]")).to_have_text("Times are in UTC.")


def test_an_open_page_learns_of_new_alerts(browser: Browser, web: httpx.Client, database: Database) -> None:
    """A page that is open offers to reload when alerts opened, also if it was refused once, as while the service restarts."""
    with viewing(browser, origin_of(web)) as viewer:
        page, refused = viewer.page, list[str]()
        page.clock.install()

        def refuse(route: Route) -> None:
            refused.append(route.request.url)
            route.fulfill(status=502)

        page.route("**/news*", refuse)
        page.goto(f"{origin_of(web)}/alerts")
        page.clock.fast_forward(16_000)
        wait_until(lambda: page.evaluate("1") and refused, "a refusal")
        page.unroute("**/news*")
        with database.write() as connection:
            alerts.insert_new(connection, [(make_alert("new", opened_at=NOON + MINUTE), "g")])
        page.clock.fast_forward(16_000)
        expect(page.locator("[data-new]")).to_have_text("1 new alert: reload")
        page.locator("[data-new] a").click()
        expect(page.locator("a[href='/alerts/new']")).to_be_visible()
        assert [each for each in viewer.wrong if "502" not in each] == [], "the browser reports only the refusal"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_people_sign_in_once(browser: Browser, served: Served, host: str) -> None:
    """A browser that signed in keeps its session, also when a link of another site leads here, until it signs out."""
    served.unready.clear()
    with served.open("open-sesame") as client:
        origin = origin_of(client).replace("127.0.0.1", host)
        with viewing(browser, origin) as viewer:
            page = viewer.page
            viewer.open("/alerts?level=high")
            expect(page.locator("h1")).to_have_text("Sign in")
            assert viewer.barriers() == []
            expect(page.get_by_label("Token")).to_be_focused()
            page.keyboard.type("open-sesame")
            page.keyboard.press("Enter")
            page.wait_for_url(f"{origin}/alerts?level=high")
            arrive_from_another_site(viewer, f"{origin}/silences")
            expect(page.locator("h1")).to_have_text("Silences")
            page.get_by_role("button", name="Sign out").click()
            expect(page.locator("h1")).to_have_text("Sign in")
            assert viewer.wrong == []


def arrive_from_another_site(viewer: Viewer, url: str) -> None:
    """Follow a link on a page of another site, for which browsers do not send the cookie."""
    viewer.page.route(
        "https://chat.example/",
        lambda route: route.fulfill(body=f"<a href='{html.escape(url)}'>x</a>", content_type="text/html"),
    )
    viewer.page.goto("https://chat.example/")
    viewer.wrong.clear()  # our own detour
    viewer.page.locator("a").click()
    viewer.page.wait_for_url(url)
