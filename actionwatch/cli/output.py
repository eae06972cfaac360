"""How commands print: a table for people, JSON for scripts, and the words both use."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click
from click.decorators import FC

from actionwatch.options import parse_duration
from actionwatch.text import one_line

Item = TypeVar("Item")


def output_option(function: FC) -> FC:
    """Add `-o table|json|jsonl`."""
    choice = click.Choice(["table", "json", "jsonl"])
    return click.option(
        "-o", "--output", "form", type=choice, default="table", show_default=True, help="How to print."
    )(function)


def print_items(
    items: Iterable[Item],
    form: str,
    *,
    document: Callable[[Item], Any],
    columns: Sequence[str],
    row: Callable[[Item], Sequence[object]],
    nothing: str = "nothing to show",
) -> None:
    """Print a list: each item's document as JSON, or its row in a table."""
    if form == "jsonl":
        for item in items:
            click.echo(dump(document(item)))
    elif form == "json":
        click.echo(dump([document(item) for item in items], indent=2))
    else:
        print_table(columns, [row(item) for item in items], nothing=nothing)


def print_document(document: Any, form: str, *, as_text: Callable[[], None]) -> None:
    """Print one thing: as JSON, or as the text that `as_text` prints."""
    if form == "table":
        as_text()
    else:
        click.echo(dump(document, indent=2 if form == "json" else None))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, nothing: str = "nothing to show") -> None:
    """Print a table as wide as the terminal; in a pipe, lines are never cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo(nothing, err=True)
        return
    table = Table(*columns, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for cells in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(spell(cell)) for cell in cells))
    console().print(table)


def console() -> Any:
    """Make the console that tables and texts are printed on."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 10_000, soft_wrap=not sys.stdout.isatty(), highlight=False)


def level_text(word: str) -> Any:
    """Give a level in its colour."""
    from rich.text import Text

    styles = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan"}
    return Text(f" {word} " if word == "critical" else word, style=styles.get(word, "dim"))


def spell(value: object) -> str:
    """Give a table cell's text: times in UTC to the second, nothing for None, hostile characters escaped."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return one_line(str(value))


def dump(document: Any, indent: int | None = None) -> str:
    """Give JSON that any reader takes: ASCII, so that no terminal or pipe can trip over a character."""
    return json.dumps(document, indent=indent, ensure_ascii=True)


class Moment(click.ParamType[datetime]):
    """A time: RFC 3339, or a duration back from now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.now(UTC) - parse_duration(value)
        except ValueError:
            pass
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no time: write RFC 3339 (2026-11-25T09:00:00Z) or a duration back (7d)", param, ctx
            )
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class Span(click.ParamType[timedelta]):
    """A duration: `30s`, `15m`; a bare 0 is one too."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it."""
        try:
            return parse_duration("0s" if value == "0" else value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
