"""Write SVG: a document that is readable on light and dark pages, and the few shapes that the pictures consist of."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

SANS = "-apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
COLOURS = {
    # name: (on a light page, on a dark page)
    "ground": ("#ffffff", "#0d1117"),
    "panel": ("#f6f8fa", "#161b22"),
    "edge": ("#8c959f", "#6e7681"),
    "ink": ("#1f2328", "#e6edf3"),
    "quiet": ("#59636e", "#9198a1"),
    "blue": ("#0969da", "#58a6ff"),
    "green": ("#1a7f37", "#3fb950"),
    "orange": ("#bc4c00", "#f0883e"),
}


def document(title: str, description: str, width: float, height: float, parts: Iterable[str]) -> str:
    """Return a picture. `description` is for readers who cannot see it."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f"<style>\n{_style()}</style>",
        rect(0, 0, width, height, "ground", radius=6),
        *parts,
        "</svg>\n",
    ]
    return "\n".join(lines)


def _style() -> str:
    def rules(number: int) -> str:
        return "".join(
            f".{name} {{ fill: {pair[number]}; }}\n.{name}-line {{ stroke: {pair[number]}; }}\n"
            for name, pair in COLOURS.items()
        )

    base = f"text {{ font-family: {SANS}; }}\n.mono {{ font-family: {MONO}; }}\n"
    return f"{base}{rules(0)}@media (prefers-color-scheme: dark) {{\n{rules(1)}}}\n"


def rect(x: float, y: float, width: float, height: float, colour: str, *, radius: float = 0, line: str = "") -> str:
    """Return a rectangle, with a border in the colour `line`."""
    names = colour + (f" {line}-line" if line else "")
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" class="{names}"/>'


def text(
    x: float, y: float, content: str, colour: str = "ink", *, size: float = 14, anchor: str = "start", weight: int = 400
) -> str:
    """Return one line of text with its baseline at y."""
    return (
        f'<text x="{x:g}" y="{y:g}" class="{colour}" font-size="{size:g}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(content)}</text>'
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str = "edge", *, dashes: str = "none") -> str:
    """Return a straight line."""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{colour}-line" stroke-width="1.5" '
        f"stroke-dasharray={quoteattr(dashes)}/>"
    )


def arrow(x1: float, x2: float, y: float, colour: str = "edge") -> str:
    """Return an arrow to the right."""
    head = f'<path d="M {x2:g} {y:g} l -8 -4.5 v 9 z" class="{colour}"/>'
    return line(x1, y, x2 - 6, y, colour) + head
