"""Photograph pages of the console of a real run of the demo, in the chromium of this machine."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests import http_client
from tests.browser import Viewer, chromium, viewing
from tests.children import printed
from tests.end_to_end import kit
from tests.waiting import wait_until

DESK, PHONE = {"width": 1100, "height": 800}, {"width": 390, "height": 800}
PAGES: Mapping[str, tuple[dict[str, int], str, str]] = {
    "console-overview.png": (DESK, "light", "/?range=week"),
    "console-alert.png": (DESK, "dark", "/alerts?level=critical"),
    "console-phone.png": (PHONE, "dark", "/alerts?status=open"),
}
"""The window, the colours, and the path of each picture. That of an alert shows the first one of its list."""
ENOUGH = 12  # alerts, so that the pages are not empty


def photograph(folder: Path) -> None:
    """Write all pictures."""
    with (
        tempfile.TemporaryDirectory() as empty,
        kit.started("demo", "--for", "0", folder=Path(empty), stdout=subprocess.PIPE) as demo,
        chromium() as browser,
    ):
        assert demo.stdout is not None
        origin = re.search(r"http://127\.0\.0\.1:\d+(?=/ in a browser)", kit.read_until(demo.stdout, "in a browser"))
        assert origin is not None
        counted = re.compile(r"\d+ open alerts")
        wait_until(lambda: _number(counted.search(http_client.get(origin[0]).text)) >= ENOUGH, "alerts", pause=1.0)
        for name, (window, scheme, path) in PAGES.items():
            with viewing(browser, origin[0], viewport=window, color_scheme=scheme, timezone_id="UTC") as viewer:
                _open(viewer, path, is_detail=name == "console-alert.png")
                viewer.page.screenshot(path=folder / name)
        demo.send_signal(signal.SIGINT)
        printed(demo)


def _open(viewer: Viewer, path: str, *, is_detail: bool) -> None:
    viewer.open(path)
    if is_detail:
        viewer.open(viewer.page.locator("[data-item]").first.get_attribute("href") or "/")


def _number(found: re.Match[str] | None) -> int:
    return int(found[0].split()[0]) if found else 0
