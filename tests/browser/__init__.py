"""A browser for tests: the chromium of this machine, headless, and what it noticed on a page.

`axe.min.js` is axe-core 4.14.1 of npm, unchanged, under the Mozilla Public License 2.0 (`axe.LICENSE.txt`). It finds what
people with a screen reader or weak eyes cannot use. Only tests load it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, sync_playwright

from tests.waiting import LIMIT

AXE = Path(__file__).with_name("axe.min.js")
WIDTHS = (375, 1280)
SCHEMES = ("light", "dark")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser. Without one, skip the test; in CI, fail it."""
    executable = shutil.which("chromium")
    if executable is None:
        why = "there is no chromium: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        # Root has no sandbox. The pages are ours, and nothing leaves the machine.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"], timeout=LIMIT * 1000)
        yield browser
        browser.close()


@dataclass
class Viewer:
    """A page in a browser, and everything wrong that it noticed: errors, dialogs, and requests to other origins."""

    page: Page
    origin: str
    wrong: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(LIMIT * 1000)
        self.page.on(
            "console", lambda message: self._note(f"console: {message.text}", message.type in ("error", "warning"))
        )
        self.page.on("pageerror", lambda error: self._note(f"error: {error}"))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", self._look)

    def open(self, path: str) -> None:
        """Load a path, with its style and script."""
        self.page.goto(f"{self.origin}{path}")

    def overflow(self) -> list[str]:
        """Return the elements that are wider than the window, if the page can be scrolled sideways."""
        found: list[str] = self.page.evaluate(
            """() => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
            .slice(0, 3).map((each) => each.outerHTML.slice(0, 200))"""
        )
        return found

    def barriers(self) -> list[str]:
        """Return what axe finds."""
        # By the protocol of the browser, because the policy of the pages allows no other script.
        self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def faint(self) -> list[str]:
        """Return the texts that have too little contrast in the other colour scheme. `barriers` was called before."""
        is_dark = self.page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
        self.page.emulate_media(color_scheme="light" if is_dark else "dark", reduced_motion="reduce")
        found: dict[str, Any] = self.page.evaluate("() => axe.run(document, {runOnly: ['color-contrast']})")
        self.page.emulate_media(color_scheme="dark" if is_dark else "light", reduced_motion="reduce")
        return [node["html"][:200] for each in found["violations"] for node in each["nodes"]]

    def _note(self, what: str, is_wrong: bool = True) -> None:
        if is_wrong:
            self.wrong.append(what)

    def _dismiss(self, dialog: Dialog) -> None:
        self._note(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _look(self, request: Request) -> None:
        self.requested.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.wrong.append(f"request to {request.url}")


@contextmanager
def viewing(browser: Browser, origin: str, **options: Any) -> Iterator[Viewer]:
    """Open a window: `viewport`, `color_scheme`, `timezone_id`."""
    context: BrowserContext = browser.new_context(**options)
    try:
        yield Viewer(context.new_page(), origin)
    finally:
        context.close()
