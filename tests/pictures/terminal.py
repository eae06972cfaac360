"""The terminal: a run of `actionwatch demo`, recorded through a pseudo terminal, with its colours.

The recording is kept beside the picture, so that a test can compare the two.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

from tests.children import on_terminal
from tests.end_to_end import kit
from tests.pictures.svg import MONO, document

RECORDING = Path(__file__).parents[2] / "docs" / "pictures" / "demo.ansi"
COLUMNS, SECONDS = 100, 20
FIRST, LAST = 35, 8  # rows that are shown, of a longer run
WIDE, TALL, SIZE, MARGIN = 8.4, 19, 14, 18
GROUND, INK = "#161b22", "#e6edf3"  # a terminal is dark on every page
PALETTE = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4"]
BRIGHT = ["#6e7681", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff"]
ESCAPE = re.compile(r"\x1b\[([\d;]*)m")
DESCRIPTION = (
    "The output of actionwatch demo. Records of an emulated organisation appear as single lines. Alerts appear as cards with a "
    "level, a sentence that says who did what, the time, the rule, the command that explains the alert, a link to its page, "
    "and what to do. A summary ends the run: records seen, proved, matched and delivered, and the latency."
)


@dataclass(frozen=True)
class Style:
    """How characters look."""

    colour: str = INK
    is_bold: bool = False
    is_dim: bool = False
    is_italic: bool = False
    is_reversed: bool = False


def record() -> None:
    """Run the demo on a terminal and keep what it prints."""
    environment = kit.environment(TERM="xterm", TZ="UTC", COLUMNS=str(COLUMNS), LINES="50")
    with (
        tempfile.TemporaryDirectory() as folder,
        on_terminal([kit.COMMAND, "demo", "--for", f"{SECONDS}s"], cwd=folder, env=environment) as terminal,
    ):
        assert terminal.exit_status() == 0, terminal.screen
        RECORDING.write_text(terminal.screen)


def draw() -> str:
    """Return the picture of the recording."""
    rows = RECORDING.read_text().splitlines()
    left_out = len(rows) - FIRST - LAST
    shown = [f"\x1b[1m$ actionwatch demo --for {SECONDS}s\x1b[0m", *rows[:FIRST]]
    shown += ["", f"\x1b[2m  … {left_out} more lines …\x1b[0m", "", *rows[-LAST:]]
    width, height = COLUMNS * WIDE + 2 * MARGIN, len(shown) * TALL + 2 * MARGIN
    background = f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{GROUND}"/>'
    lines = [_row(number, content) for number, content in enumerate(shown)]
    return document("A run of actionwatch demo", DESCRIPTION, width, height, [background, *lines])


def _row(number: int, content: str) -> str:
    y = MARGIN + (number + 0.75) * TALL
    return f'<g font-family="{MONO}" font-size="{SIZE}">{"".join(_spans(content, y))}</g>'


def _spans(content: str, y: float) -> Iterator[str]:
    style, column = Style(), 0
    pieces = ESCAPE.split(content)
    for number, piece in enumerate(pieces):
        if number % 2:
            for code in piece.split(";"):
                style = _styled(style, int(code or 0))
        elif piece:
            yield _span(piece, MARGIN + column * WIDE, y, style)
            column += len(piece)


def _span(content: str, x: float, y: float, style: Style) -> str:
    """Return characters in cells of the same width, whatever font the reader has."""
    length = len(content) * WIDE
    box = ""
    colour = style.colour
    if style.is_reversed:
        box = f'<rect x="{x:g}" y="{y - 14:g}" width="{length:g}" height="{TALL}" fill="{colour}"/>'
        colour = GROUND
    attributes = f'fill="{colour}"' + ' font-weight="700"' * style.is_bold + ' font-style="italic"' * style.is_italic
    attributes += ' opacity="0.62"' * style.is_dim
    return (
        f'{box}<text x="{x:g}" y="{y:g}" textLength="{length:g}" lengthAdjust="spacingAndGlyphs" xml:space="preserve" '
        f'style="font-family: inherit" {attributes}>{escape(content)}</text>'
    )


def _styled(style: Style, code: int) -> Style:
    match code:
        case 0:
            return Style()
        case 1:
            return replace(style, is_bold=True)
        case 2:
            return replace(style, is_dim=True)
        case 3:
            return replace(style, is_italic=True)
        case 7:
            return replace(style, is_reversed=True)
    assert 30 <= code <= 37 or 90 <= code <= 97, f"the recording has another style: {code}"
    return replace(style, colour=(BRIGHT if code >= 90 else PALETTE)[code % 10])
