"""How commands print: a table for people, JSON for scripts, and the words both use."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.decorators import FC

from actionwatch.base.clock import utc_now
from actionwatch.text.escaping import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Item = TypeVar("Item")

GAP = 2  # blanks between two columns
ROOMY = 100  # from this width on, times are printed with their year
COMFORTABLE = 28  # a column that may be cut keeps this much before any other is left out
NARROWEST = 10
SHORT_ID = 8  # what a terminal shows of an id; commands take such a beginning
STYLES = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan"}


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
    columns: Sequence[str] = (),
    row: Callable[[Item], Sequence[object]] = lambda _: (),
    nothing: str = "nothing to show",
    cut: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> None:
    """Print a list: each item's document as JSON, or its row in a table (see `print_table`)."""
    if form == "jsonl":
        for item in items:
            click.echo(dump(document(item)))
    elif form == "json":
        click.echo(dump([document(item) for item in items], indent=2))
    else:
        print_table(columns, [row(item) for item in items], nothing=nothing, cut=cut, leave_out=leave_out)


def print_document(document: Any, form: str, *, as_text: Callable[[], None]) -> None:
    """Print one thing: as JSON, or as the text that `as_text` prints."""
    if form == "table":
        as_text()
    else:
        click.echo(dump(document, indent=2 if form == "json" else None))


def print_faults(faults: Iterable[object], after: str = "") -> None:
    """Print faults to standard error, a line each. What they quote of a file is shown, never run by a terminal."""
    for fault in faults:
        click.echo(one_line(f"{fault}{after}"), err=True)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    nothing: str = "nothing to show",
    cut: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    is_wrapped: bool = False,
) -> None:
    """Print a table, one line a row. In a pipe nothing is cut; a terminal too narrow for all cuts and leaves out columns.

    `cut` names the columns that may be shortened, `leave_out` those that may go, each in the order of doing so. With
    `is_wrapped` the last column goes on in further lines instead of being shortened.
    """
    from rich.text import Text

    if not rows:
        click.echo(nothing, err=True)
        return
    out = console()
    is_terminal = sys.stdout.isatty()
    width = out.width if is_terminal else None
    cells = [[_cell(value, name, width) for name, value in zip(columns, row, strict=True)] for row in rows]
    natural = [max(line[index].cell_len for line in [_head(columns), *cells]) for index in range(len(columns))]
    widths = natural if width is None else _fit(columns, natural, width, cut, leave_out)
    for line in [_head(columns), *cells]:
        last = line[-1].wrap(out, widths[-1]) if is_wrapped and is_terminal else [line[-1]]
        for number, part in enumerate(last):
            before = line[:-1] if number == 0 else [Text("")] * (len(line) - 1)
            joined = _join([*before, part], widths)
            out.print(joined, no_wrap=True, overflow="ellipsis" if is_terminal else "ignore", crop=is_terminal)


def console(width: int | None = None) -> Console:
    """Make the console that tables and texts are printed on: as wide as the terminal; in a pipe `width`, else without end."""
    from rich.console import Console

    class Terminal(Console):
        """rich's console, but for its answer to a broken pipe, which is to exit."""

        def on_broken_pipe(self) -> None:
            """Raise the BrokenPipeError that is being handled."""
            raise

    if sys.stdout.isatty():
        return Terminal(highlight=False, emoji=False)
    return Terminal(width=width or 10_000, soft_wrap=width is None, highlight=False, emoji=False)


def hang(label: Text, body: str) -> Any:
    """Give a text that wraps beside its label instead of under it."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_row(label, Text(one_line(body)))
    return table


def level_text(word: str) -> Text:
    """Give a level in its colour."""
    from rich.text import Text

    return Text(word, style=STYLES.get(word, "dim"))


def spell(value: object) -> str:
    """Give a table cell's text: times in UTC to the second, nothing for None, hostile characters escaped."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return one_line(str(value))


def spell_count(count: int, noun: str) -> str:
    """Say how many of something there are: `1 rule`, `2 rules`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def spell_ago(at: datetime | None, now: datetime | None = None) -> str:
    """Say how long ago something was: `3m12s ago`; `never` for None."""
    from actionwatch.base.durations import spell_duration

    if at is None:
        return "never"
    span = (now or utc_now()) - at
    return f"{spell_duration(span)} ago" if span >= timedelta(0) else f"in {spell_duration(-span)}"


def dump(document: Any, indent: int | None = None) -> str:
    """Give JSON that any reader takes: ASCII, so that no terminal or pipe can trip over a character."""
    return json.dumps(document, indent=indent, ensure_ascii=True)


def _head(columns: Sequence[str]) -> list[Text]:
    from rich.text import Text

    return [Text(name, style="bold") for name in columns]


def _cell(value: object, column: str, width: int | None) -> Text:
    from rich.text import Text

    if isinstance(value, Text):
        return value.copy()
    text = spell(value)
    if width is not None and width < ROOMY and isinstance(value, datetime):
        text = text[len("2026-") :]
    if width is not None and column == "id" and len(text) == len("a3ea4780-2262-5bf0-bfa0-78bef589fd47"):
        text = text[:SHORT_ID]
    return Text(text)


def _fit(
    columns: Sequence[str], natural: Sequence[int], width: int, cut: Sequence[str], leave_out: Sequence[str]
) -> list[int]:
    """Give each column's width so that a row fits; 0: left out."""
    left_out: list[str] = []
    widths = _shrink(columns, natural, width, cut, COMFORTABLE)
    for name in leave_out:
        if _excess(widths, width) > 0:
            left_out.append(name)
            kept = [0 if column in left_out else size for column, size in zip(columns, natural, strict=True)]
            widths = _shrink(columns, kept, width, cut, COMFORTABLE)
    return _shrink(columns, widths, width, cut, NARROWEST)


def _shrink(columns: Sequence[str], sizes: Sequence[int], width: int, names: Sequence[str], least: int) -> list[int]:
    widths = list(sizes)
    for name in names:
        index = columns.index(name)
        if widths[index] > least:
            widths[index] = max(least, widths[index] - max(_excess(widths, width), 0))
    return widths


def _excess(widths: Sequence[int], width: int) -> int:
    shown = [size for size in widths if size]
    return sum(shown) + GAP * (len(shown) - 1) - width


def _join(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    """Put cells side by side; the last one is not padded, so that lines end where their text does."""
    from rich.text import Text

    shown = [(cell, size) for cell, size in zip(cells, widths, strict=True) if size]
    line = Text()
    for number, (cell, size) in enumerate(shown):
        is_last = number == len(shown) - 1
        cell = cell.copy()
        cell.truncate(size, overflow="ellipsis", pad=not is_last)
        line.append_text(cell)
        if not is_last:
            line.append(" " * GAP)
    line.rstrip()
    return line


class Moment(click.ParamType[datetime]):
    """A time: RFC 3339, or a duration back from now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        # pydantic comes with it: `--help` must not wait for that.
        from actionwatch.base.durations import parse_duration

        if isinstance(value, datetime):
            return value
        try:
            return utc_now() - parse_duration(value)
        except (ValueError, OverflowError):
            pass
        try:
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time: write RFC 3339 (2026-11-25T09:00:00Z) or a duration back (7d)", param, ctx
            )


class Span(click.ParamType[timedelta]):
    """A duration: `30s`, `15m`; a bare 0 is one too."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it."""
        from actionwatch.base.durations import parse_duration

        try:
            return parse_duration("0s" if value == "0" else value)
        except ValueError as exc:
            self.fail(f"{value!r} is {exc}", param, ctx)
