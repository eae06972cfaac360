"""All pictures by name, and where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.pictures import console, flow, messages, terminal, windows

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
PICTURES: Mapping[str, Callable[[], str]] = {
    "flow.svg": flow.draw,
    "windows.svg": windows.draw,
    "demo.svg": terminal.draw,
    "email.svg": messages.draw_email,
    "slack.svg": messages.draw_slack,
}

SCREENSHOTS = (*console.PAGES, *console.FLEET_PAGES)
"""These depend on the fonts of the machine that made them, so that no test can draw them again."""


def write() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw())
