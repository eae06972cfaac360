"""The pictures of the documentation are what the program draws, well-formed, safe to embed, and shown with a description."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.pictures.gallery import FOLDER, PICTURES, SCREENSHOTS
from tests.pictures.terminal import RECORDING

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("name", "draw"), PICTURES.items(), ids=PICTURES)
def test_picture_is_up_to_date(name: str, draw: Callable[[], str]) -> None:
    """The picture is what `python -m tests.pictures` writes now."""
    assert (FOLDER / name).read_text() == draw()


@pytest.mark.parametrize("name", PICTURES)
def test_picture_can_be_embedded(name: str) -> None:
    """A picture is XML with a title, a description and a size, adapts to dark pages, and loads and runs nothing."""
    text = (FOLDER / name).read_text()
    picture = ElementTree.fromstring(text)
    assert [picture[0].tag, picture[1].tag] == [f"{SVG}title", f"{SVG}desc"]
    assert all((picture[number].text or "").strip() for number in (0, 1))
    assert picture.get("viewBox") == f"0 0 {picture.get('width')} {picture.get('height')}"
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<script|\bon\w+=|(href|src)=|url\(|@import", text)


@pytest.mark.parametrize("name", SCREENSHOTS)
def test_screenshots_are_small(name: str) -> None:
    """A screenshot is a PNG that a page of documentation can load."""
    content = (FOLDER / name).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 300_000


def test_pictures_are_shown_with_a_description() -> None:
    """Each picture is on a page, with a text for readers who cannot see it, and the folder has no other files."""
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for alternative, target in re.findall(r"!\[([^]]+)\]\(([^)]+)\)", page.read_text())
        if len(alternative) > 20
    }
    assert shown == {FOLDER / name for name in (*PICTURES, *SCREENSHOTS)}
    assert set(FOLDER.iterdir()) == shown | {RECORDING}


def test_recording_is_one_whole_run() -> None:
    """The picture of the terminal shows one run, from the command to the summary."""
    lines = RECORDING.read_text().splitlines()
    assert "actionwatch demo" in lines[0]
    assert any("of actionwatch" in line for line in lines[-9:])
    assert not re.search(r"/(home|root|tmp|work)/", RECORDING.read_text())
