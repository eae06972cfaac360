"""A long action shows that it runs, also to a screen reader, and a second press sends nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from actionwatch.base.access import AccessRole
from actionwatch.store import alerts, records
from actionwatch.store.database import Database
from tests.browser import Viewer, viewing
from tests.builders import make_alert, make_record
from tests.cases import in_one_test
from tests.integration.web.console_kit import Served

# Press twice, and let the page stay: whether each press would have asked the service.
PRESS_TWICE = """(pressed) => {
  const asked = [];
  const note = (event) => {
    if (event.type === "click" && !event.target.closest("a")) return;
    asked.push(!event.defaultPrevented);
    event.preventDefault();
  };
  for (const kind of ["submit", "click"]) addEventListener(kind, note);
  pressed.click();
  pressed.click();
  return asked;
}"""


@pytest.fixture
def viewer(database: Database, browser: Browser) -> Iterator[Viewer]:
    """A browser at a console with a record and an alert."""
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        alerts.insert_new(connection, [(make_alert("one"), "g")])
    with (
        Served(database, open_to=AccessRole.OPERATOR).open() as client,
        viewing(browser, str(client.base_url).rstrip("/")) as found,
    ):
        yield found


@in_one_test(
    ("path", "press", "what"),
    [
        ("/records", "button:text('Search')", "Searching the records…"),
        ("/records", "a[data-runs]", "Reading all matching records; the download begins with the first ones…"),
        ("/alerts/one", "button:text('Silence…')", "Counting what the silence would have hidden…"),
        ("/alerts/one", "button:text('Acknowledge')", "Working…"),
    ],
)
def test_what_runs_is_shown_once(viewer: Viewer, path: str, press: str, what: str) -> None:
    """Until the answer comes, a live line says what runs, the button is busy, and another press asks nothing more."""
    page = viewer.page
    viewer.open(path)
    if path == "/alerts/one":
        page.get_by_label("Your name").fill("sam")
        page.get_by_label("Comment").fill("ask sam")
    line = page.locator("[data-running]")
    expect(line).to_have_text("")
    target = page.locator(press).first
    assert target.evaluate(PRESS_TWICE) == [True, False]
    expect(line).to_have_text(what)
    assert line.get_attribute("aria-live") == "polite"
    expect(target).to_have_attribute("aria-busy", "true")
    assert (viewer.overflow(), viewer.wrong) == ([], [])


def test_a_page_that_comes_back_is_at_rest(viewer: Viewer) -> None:
    """After Back the line is empty, and the form can be sent again. The keys open and close without it."""
    page = viewer.page
    viewer.open("/records")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/records?*")
    page.go_back()
    expect(page.locator("[data-running]")).to_have_text("")
    for _ in range(2):
        page.keyboard.press("?")
        page.get_by_role("button", name="Close").click()
        expect(page.locator("dialog")).to_be_hidden()
    assert page.locator("[aria-busy]").count() == 0
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/records?*")
    assert viewer.wrong == []
