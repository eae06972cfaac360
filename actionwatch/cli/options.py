"""Options that several commands share, and how their values are parsed."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from click.decorators import FC

from actionwatch.base.access import is_own_name
from actionwatch.base.clock import utc_now
from actionwatch.base.durations import parse_duration
from actionwatch.cli import completing
from actionwatch.queries import PAGE_SIZE
from actionwatch.text.escaping import one_line


def time(value: str) -> datetime:
    """Parse a time: RFC 3339, local without a zone, or a duration before now. `--help` shows the name of this function."""
    try:
        return utc_now() - parse_duration(value)
    except (ValueError, OverflowError):
        return _rfc_3339(value, "a duration before now (7d)")


def future(value: str) -> datetime:
    """Parse a time that is still to come: RFC 3339, local without a zone, or a duration from now."""
    try:
        return utc_now() + parse_duration(value)
    except (ValueError, OverflowError):
        return _rfc_3339(value, "a duration from now (2h)")


def _rfc_3339(value: str, other: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC)  # of a time without a zone: from the local one
    except (ValueError, OverflowError) as exc:
        remedy = f"use RFC 3339 (2026-11-25T09:00:00Z; without a zone, it is local) or {other}"
        raise click.BadParameter(f"{value!r} is not a time: {remedy}") from exc


def duration(value: str) -> timedelta:
    """Parse a duration: `30s`, `15m`, or `0`. `--help` shows the name of this function."""
    try:
        return parse_duration("0s" if value == "0" else value)
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is {exc}") from exc


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)  # may be new

output_option = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "jsonl"]),
    default="table",
    show_default=True,
    help="Output format.",
)
source_option = click.option(
    "--source",
    metavar="NAME",
    shell_complete=completing.sources,
    help="The source to use, if several are configured.",
)
since_option = click.option(
    "--since", type=time, help="Only at or after this time: RFC 3339, or a duration before now (7d)."
)
until_option = click.option("--until", type=time, help="Only at or before this time.")
author_option = click.option(
    "--author",
    metavar="NAME",
    callback=lambda _context, _option, name: _author(name),
    help="Who makes this decision.  [default: your login name]",
)
paths_argument = click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))


def _author(name: str | None) -> str:
    """Return who decides, as one line, as the console stores it."""
    author = name or _login_name()
    if is_own_name(author):
        whose = "is the name of the service" if name else "is your login name, and that of the service"
        raise click.BadParameter(f"{author!r} {whose}: give --author with the name of a person")
    return one_line(author)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return "unknown"


def limit_option(noun: str) -> Callable[[FC], FC]:
    """Make `--limit` of a list that shows the newest items."""
    return click.option(
        "--limit",
        type=click.IntRange(1),
        default=PAGE_SIZE,
        show_default=True,
        help=f"Maximum number of {noun}, newest first.",
    )
