"""A person with nothing but Tab, Enter and letters: from the sign-in to a resolved alert."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from actionwatch.base.model import Level, Status
from actionwatch.store import alerts, records
from actionwatch.store.database import Database
from tests.browser import Viewer, viewing
from tests.builders import NOON, make_alert, make_record
from tests.integration.web.console_kit import Served, give_token

MOST_TABS = 60
# What has the focus: whether it matches a selector, and whether people see that it has it.
FOCUS = """(wanted) => {
  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
  return [at.matches(wanted), style.outlineStyle !== "none" && box.width > 0 && box.bottom > 0 && box.top < innerHeight];
}"""


@pytest.fixture
def viewer(database: Database, browser: Browser) -> Iterator[Viewer]:
    """A browser at a console that needs a token, with a worst alert and others."""
    levels = (Level.CRITICAL, Level.HIGH, Level.LOW)
    with database.write() as connection:
        records.insert_new(connection, [make_record()])
        alerts.insert_new(connection, [(make_alert(level.word, level=level), level.word) for level in levels])
        alerts.join(connection, [("critical", 1, NOON)])
    with (
        Served(database, open_to=None).open() as client,
        viewing(browser, str(client.base_url).rstrip("/"), reduced_motion="reduce") as found,
    ):
        yield found


def tab_to(viewer: Viewer, selector: str) -> None:
    """Press Tab until something has the focus. It is visible at each step."""
    passed = []
    for _ in range(MOST_TABS):
        viewer.page.keyboard.press("Tab")
        is_there, is_visible = viewer.page.evaluate(FOCUS, selector)
        assert is_visible, viewer.page.evaluate("document.activeElement.outerHTML")
        if is_there:
            return
        passed.append(viewer.page.evaluate("document.activeElement.textContent"))
    pytest.fail(f"Tab does not lead to {selector}, but to {passed}")


def test_an_alert_is_resolved_with_the_keyboard_alone(viewer: Viewer, database: Database) -> None:
    """The focus is always visible, and after the decision it is at the sentence about it, before Reopen."""
    page = viewer.page
    viewer.open("/alerts")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(give_token(database))
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts")
    tab_to(viewer, "a.one-line")
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts/critical")
    tab_to(viewer, "button[value=resolve]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts/critical?done=resolve")
    expect(page.locator(".note.good")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Reopen").first).to_be_focused()
    with database.read() as connection:
        resolved = alerts.read(connection, "critical")
    assert resolved is not None
    assert (resolved.status, resolved.resolved_by) == (Status.RESOLVED, "sam")
    assert viewer.wrong == []
