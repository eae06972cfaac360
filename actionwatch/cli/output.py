"""Print texts and tables for people and JSON for scripts.

Everything that a command prints leaves through `echo`, `confirm` or a console, which escape control and bidirectional
characters: audit text, also in the messages of errors, must not move the cursor or reorder a line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from textwrap import indent
from typing import TYPE_CHECKING, Any, TypeVar

import click

from actionwatch.base.errors import Fault
from actionwatch.text.escaping import one_line, visible
from actionwatch.text.payloads import instant, short_id
from actionwatch.text.times import DATE_AND_TIME, common_zone, spell_time

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

Item = TypeVar("Item")
_Widths = dict[str, int]
"""The widths of the shown columns of a table by name."""

_GAP = 2  # spaces between two columns
_ROOMY = 100  # from this width on, times include the year
_COMFORTABLE = 28  # columns are cut to this width before a column is omitted
_NARROWEST = 10
_ID_COLUMNS = ("id", "alert")
STYLES = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan"}


def echo(text: object = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print a text, in a style of `click.style`. With `err`, it is one line on standard error, whatever it quotes."""
    shown = one_line(str(text)) if err else visible(str(text))
    click.echo(click.style(shown, **style) if style else shown, err=err, nl=nl)


def confirm(question: str, *, err: bool = False) -> bool:
    """Ask a question and return whether the answer is yes."""
    return click.confirm(visible(question), err=err)


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
    """Print a list: the document of each item as JSON, or its row in a table (see `print_table`)."""
    if form == "jsonl":
        for item in items:
            echo(dump(document(item)))
    elif form == "json":
        _print_array(map(document, items))
    else:
        print_table(columns, [row(item) for item in items], nothing=nothing, cut=cut, leave_out=leave_out)


def _print_array(documents: Iterable[Any]) -> None:
    """Print a JSON array, one item after the other, so that they are not all held in memory."""
    before = "[\n"
    for document in documents:
        echo(before + indent(dump(document, indent=2), "  "), nl=False)
        before = ",\n"
    echo("[]" if before == "[\n" else "\n]")


def print_document(document: Any, form: str, *, as_text: Callable[[], None]) -> None:
    """Print one document as JSON, or the text that `as_text` prints."""
    if form == "table":
        as_text()
    else:
        echo(dump(document, indent=2 if form == "json" else None))


def print_faults(faults: Iterable[object], after: str = "") -> None:
    """Print faults to standard error, one per line. Control characters that they quote from a file are escaped."""
    for fault in faults:
        echo(one_line(f"{fault}{after}"), err=True)


def print_findings(faults: Sequence[Fault], notes: Sequence[Fault], form: str, others: Sequence[Any] = ()) -> None:
    """Print what a check found: notes and faults to standard error, or everything as JSON. `others` are more JSON items."""
    if form == "table":
        print_faults(notes, " (note)")
        print_faults(faults)
        return
    found = [{"kind": "fault", **asdict(fault)} for fault in faults] + [
        {"kind": "note", **asdict(note)} for note in notes
    ]
    print_items([*found, *others], form, document=lambda item: item)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    nothing: str = "nothing to show",
    cut: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    is_wrapped: bool = False,
) -> None:
    """Print a table, one line per row. On a narrow terminal, columns are cut or omitted; in a pipe, nothing is cut.

    Times are local. The head of their column names the zone, or each time does if they have several.

    `cut` names the columns that may be cut, `leave_out` those that may be omitted, each in this order. With `is_wrapped`, the
    last column is wrapped instead of cut.
    """
    from rich.text import Text

    if not rows:
        if nothing:
            echo(nothing, err=True)
        return
    out = console()
    is_terminal = sys.stdout.isatty()
    width = out.width if is_terminal else None
    zones = _zones(columns, rows)
    lines = [{name: Text(f"{name} ({zones[name]})" if zones.get(name) else name, "bold") for name in columns}]
    lines += [
        {name: _cell(value, name, width, zones) for name, value in zip(columns, row, strict=True)} for row in rows
    ]
    natural = {name: max(line[name].cell_len for line in lines) for name in columns}
    last = columns[-1]
    widths = natural if width is None else _fit(natural, width, [last, *cut] if is_wrapped else cut, leave_out)
    for line in lines:
        parts = line[last].wrap(out, widths[last]) if is_wrapped and is_terminal else [line[last]]
        for number, part in enumerate(parts):
            before = line if number == 0 else dict.fromkeys(columns, Text(""))
            joined = _join({**before, last: part}, widths)
            out.print(joined, no_wrap=True, overflow="ellipsis" if is_terminal else "ignore", crop=is_terminal)
    if omitted := [name for name in columns if name not in widths]:
        echo(f"note: no room for {', '.join(omitted)}: widen the terminal, or use -o json", err=True)


def console(width: int | None = None) -> Console:
    """Make the console for tables and texts, as wide as the terminal. In a pipe it is `width` wide, or unlimited."""
    from actionwatch.text.terminal import TerminalConsole

    if sys.stdout.isatty():
        return TerminalConsole(highlight=False, emoji=False)
    return TerminalConsole(width=width or 10_000, soft_wrap=width is None, highlight=False, emoji=False)


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """Show a progress bar on standard error, if that is a terminal. Yield None if it is a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress

    from actionwatch.text.terminal import TerminalConsole

    with Progress(console=TerminalConsole(stderr=True), transient=True) as bar:
        yield bar


def hang(label: str, body: str, style: str = "") -> Any:
    """Return a text that wraps next to its label, which has the style."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_row(Text(label, style), Text(one_line(body)))
    return table


def level_text(word: str) -> Text:
    """Return a level in its colour."""
    from rich.text import Text

    return Text(word, style=STYLES.get(word, "dim"))


def spell(value: object) -> str:
    """Return the text of a value: local times to the second, nothing for None, control characters escaped."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return spell_time(value)
    return one_line(str(value))


def dump(document: Any, indent: int | None = None) -> str:
    """Return JSON in ASCII, which every terminal and pipe can encode. Times become instants as in the contract."""
    return json.dumps(document, indent=indent, ensure_ascii=True, default=instant)


def _zones(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, str]:
    """Return the zone of each column of times; nothing if its times have several."""
    times = {name: [row[place] for row in rows] for place, name in enumerate(columns)}
    found = {name: [value for value in values if isinstance(value, datetime)] for name, values in times.items()}
    return {name: common_zone(values) for name, values in found.items() if values}


def _cell(value: object, column: str, width: int | None, zones: Mapping[str, str]) -> Text:
    from rich.text import Text

    if isinstance(value, Text):
        return value.copy()
    text = spell(value)
    if isinstance(value, datetime):
        text = value.astimezone().strftime(DATE_AND_TIME) if zones[column] else text
        text = text[len("2026-") :] if width is not None and width < _ROOMY else text
    if width is not None and column in _ID_COLUMNS and len(text) == len("a3ea4780-2262-5bf0-bfa0-78bef589fd47"):
        text = short_id(text)
    return Text(text)


def _fit(natural: _Widths, width: int, cut: Sequence[str], leave_out: Sequence[str]) -> _Widths:
    """Return the widths of the columns that are shown, so that a row fits."""
    kept = dict(natural)
    widths = _shrink(kept, width, cut, _COMFORTABLE)
    for name in leave_out:
        if _excess(widths, width) > 0:
            del kept[name]
            widths = _shrink(kept, width, cut, _COMFORTABLE)
    return _shrink(widths, width, cut, _NARROWEST)


def _shrink(sizes: _Widths, width: int, names: Sequence[str], least: int) -> _Widths:
    widths = dict(sizes)
    for name in names:
        if widths.get(name, 0) > least:
            widths[name] = max(least, widths[name] - max(_excess(widths, width), 0))
    return widths


def _excess(widths: _Widths, width: int) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1) - width


def _join(cells: Mapping[str, Text], widths: _Widths) -> Text:
    """Join the shown cells of a row, without spaces at its end."""
    from rich.text import Text

    shown = [cells[name].copy() for name in widths]
    for cell, size in zip(shown, widths.values(), strict=True):
        cell.truncate(size, overflow="ellipsis", pad=True)
    line = Text(" " * _GAP).join(shown)
    line.rstrip()
    return line
