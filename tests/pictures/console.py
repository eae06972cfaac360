"""Photograph pages of the console of real runs, of the demo and of a fleet, in the chromium of this machine."""

from __future__ import annotations

import contextlib
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
FLEET_PAGES: Mapping[str, tuple[dict[str, int], str, str]] = {"sources.png": (DESK, "light", "/sources")}
"""The same of a service that watches 1,000 organisations, a few of which need a person."""
FLEET = """\
sources: {file: fleet.yml, defaults: {poll_interval: 1m, start: 12h}}
web: {listen: '127.0.0.1:0'}
"""
SOURCES = 1000
ENOUGH = 12  # alerts, so that the pages are not empty


def photograph(folder: Path) -> None:
    """Write all pictures."""
    photograph_demo(folder)
    photograph_fleet(folder)


def photograph_fleet(folder: Path) -> None:
    """Write the picture of a fleet, as soon as nearly all sources are read and proved."""
    with tempfile.TemporaryDirectory() as empty, contextlib.ExitStack() as stack:
        here = Path(empty)
        organisations = ("--organisations", f"{SOURCES}", "--write-sources", "sources.yml", "--port", "0")
        emulator = stack.enter_context(kit.started("emulator", *organisations, folder=here, stdout=subprocess.PIPE))
        assert emulator.stdout is not None
        kit.read_until(emulator.stdout, "ready")
        (here / "fleet.yml").write_text(_with_exceptions((here / "sources.yml").read_text()))
        (here / "actionwatch.yaml").write_text(FLEET)
        (here / "rules").mkdir()
        log = (here / "log").open("w+")
        service = stack.enter_context(kit.started("run", folder=here, stdout=log, stderr=subprocess.STDOUT))
        written = here / "log"
        found = re.compile(r"http://127\.0\.0\.1:\d+")
        wait_until(lambda: found.search(written.read_text()) is not None, "an address", pause=1.0)
        origin = found.findall(written.read_text())[0]
        browser = stack.enter_context(chromium())
        current = re.compile(rf"current <b>{SOURCES // 10 - 1}\d</b>")
        wait_until(lambda: current.search(http_client.get(f"{origin}/sources").text) is not None, "sources", pause=5.0)
        for name, (window, scheme, path) in FLEET_PAGES.items():
            with viewing(browser, origin, viewport=window, color_scheme=scheme, timezone_id="UTC") as viewer:
                viewer.open(path)
                viewer.page.screenshot(path=folder / name)
        for child in (service, emulator):
            child.send_signal(signal.SIGTERM)
            child.wait()


def _with_exceptions(sources: str) -> str:
    """Return a file of sources some of which have a wrong key, or the address of no server."""
    head, *items = re.split(r"(?m)^(?=- name)", sources)
    for number in {16, 203} & set(range(len(items))):
        items[number] = re.sub(r"api_key: \w+", "api_key: wrong", items[number])
    items[88 % len(items)] = re.sub(r"base_url: \S+", "base_url: http://127.0.0.1:9", items[88 % len(items)])
    return head + "".join(items)


def photograph_demo(folder: Path) -> None:
    """Write the pictures of the demo."""
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
