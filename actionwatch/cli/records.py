"""`records`: list, export and verify the stored records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import click

from actionwatch.base.model import Record, RecordFilter
from actionwatch.cli.context import open_reader, reading_store
from actionwatch.cli.options import duration, limit_option, output_option
from actionwatch.cli.output import echo, print_items
from actionwatch.cli.receipts import proof, receipts
from actionwatch.cli.record_filter import filter_options, text_option
from actionwatch.text.formats.exports import FORMATS, ExportFormat
from actionwatch.text.payloads import record_document
from actionwatch.text.times import spell_time

_SHORT_KEY = 16  # characters of a key on a terminal, at least: its time


def print_records(
    found: Iterable[Record], form: str, nothing: str, keys: Callable[[Record], str] | None = None
) -> None:
    """Print records as a table or as JSON. The table has a column for their `keys`, if they are stored."""
    print_items(
        found,
        form,
        document=record_document,
        columns=("time", *(["key"] if keys else []), "kind", "user", "account", "cluster", "description"),
        row=lambda record: (
            record.occurred_at,
            *([keys(record)] if keys else []),
            record.action_kind,
            record.user_name,
            record.account.name or record.account.id,
            record.cluster.name or record.cluster.id,
            record.description,
        ),
        nothing=nothing,
        cut=("description", "user", "kind", "cluster"),
        leave_out=("account", "cluster"),
    )


command = click.Group(help="List and export the stored records, and the proof that they are complete.")
command.add_command(receipts)
command.add_command(proof)


@command.command("list")
@filter_options
@text_option
@click.option(
    "--around",
    type=(str, duration),
    metavar="KEY DURATION",
    help="Only records within this time before and after the record with this key: those of its user, unless --user, --account "
    "--cluster is given.",
)
@limit_option("records")
@output_option
@click.pass_obj
def list_records(
    config: str, limit: int, form: str, wanted: RecordFilter, around: tuple[str, timedelta] | None
) -> None:
    """List stored records, newest first. Without --since or --around, only the newest 250,000 descriptions are searched.

    The key of a record names it in other commands; a unique prefix is enough.

    \b
    actionwatch records list --user eve@example.com --since 7d
    actionwatch records list --text "eve delete"               # in any name, id or description
    actionwatch records list --around 00066144a47081b8 1h      # what else did this user do?
    """
    from actionwatch.queries import records
    from actionwatch.store.records import short_key

    with reading_store(config) as (_, connection):
        if around is not None:
            wanted = _around(records.find(connection, around[0]), around[1], wanted)
        page = records.search(connection, wanted, limit, records.SEARCHED_ONCE if wanted.since is None else None)
        shown = {}
        if form == "table" and sys.stdout.isatty():
            shown = {record.key: short_key(connection, record.key, _SHORT_KEY) for record in page.items}
    print_records(page.items, form, "no matching records", lambda record: shown.get(record.key, record.key))
    if page.oldest is not None and len(page.items) < limit:
        searched = f"the newest {records.SEARCHED_ONCE:,} records were searched, back to {spell_time(page.oldest)}"
        echo(f"note: {searched}: use --since to search further back", err=True)


def _around(record: Record, span: timedelta, wanted: RecordFilter) -> RecordFilter:
    """Return the filter for what happened around a record: what its user did, unless another subject is given."""
    if wanted.since or wanted.until:
        raise click.UsageError("--around has its own time: omit --since and --until")
    if not (wanted.user or wanted.account or wanted.cluster):
        wanted = replace(wanted, user=record.user_name)
        if not record.user_name:
            echo("note: this record has no user: the records of all users are listed", err=True)
    return replace(wanted, since=record.occurred_at - span, until=record.occurred_at + span)


@command.command("export")
@filter_options
@text_option
@click.option(
    "-o",
    "--output",
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="jsonl",
    show_default=True,
    help="Output format.",
)
@click.pass_obj
def export(config: str, /, form: str, wanted: RecordFilter) -> None:
    """Write every stored record that matches the filters to standard output, in the order of storage.

    CSV has a header and escapes control characters; `json` is one array. All other formats are JSON lines, one event per line.
    """
    from actionwatch.store import record_search

    with open_reader(config) as (_, store):
        _print_file(record_search.stream_in_portions(store, wanted), FORMATS[form])


def _print_file(found: Iterable[Record], form: ExportFormat) -> None:
    """Print a file part by part: a store may hold more records than memory."""
    is_first = True
    for record in found:
        sys.stdout.write(form.write([record], is_first=is_first))
        is_first = False
    sys.stdout.write((form.begin if is_first else "") + form.end)
