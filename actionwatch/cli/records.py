"""`records`: list, export and verify the stored records."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Any

import click

from actionwatch.base.model import Record, RecordFilter
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import limit_option, output_option
from actionwatch.cli.output import dump, echo, print_items
from actionwatch.cli.receipts import proof, receipts
from actionwatch.cli.record_filter import filter_options
from actionwatch.notifiers._formats.cloudevents import cloudevents_event
from actionwatch.notifiers._formats.ocsf import ocsf_event
from actionwatch.text.escaping import visible
from actionwatch.text.payloads import instant, record_document

SEARCHED_RECORDS = 250_000  # the newest ones, unless --since is given: a search of millions takes seconds
CSV_COLUMNS: dict[str, Callable[[Record], str | None]] = {
    "key": attrgetter("key"),
    "timestamp": lambda record: instant(record.occurred_at),
    "actionKind": attrgetter("action_kind"),
    "userName": attrgetter("user_name"),
    "description": attrgetter("description"),
    "account.id": attrgetter("account.id"),
    "account.name": attrgetter("account.name"),
    "cluster.id": attrgetter("cluster.id"),
    "cluster.name": attrgetter("cluster.name"),
    "scope": attrgetter("scope"),
    "crudOperation": attrgetter("operation"),
    "source": attrgetter("source"),
}


def print_records(found: Iterable[Record], form: str, nothing: str) -> None:
    """Print records as a table or as JSON."""
    print_items(
        found,
        form,
        document=record_document,
        columns=("time (UTC)", "kind", "user", "account", "cluster", "description"),
        row=lambda record: (
            record.occurred_at,
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
@limit_option("records")
@output_option
@click.pass_obj
def list_records(config: str, limit: int, form: str, wanted: RecordFilter) -> None:
    """List stored records, newest first. Without --since, searches only the newest 250,000."""
    from actionwatch.store import records

    oldest = None
    with reading_store(config) as (_, connection):
        if wanted.since is None:
            oldest = records.time_of_nth(connection, SEARCHED_RECORDS, wanted.until)
        found = records.find(connection, replace(wanted, since=wanted.since or oldest), limit)
    print_records(found, form, nothing="no matching records")
    if oldest is not None and len(found) < limit:
        searched = f"the newest {SEARCHED_RECORDS:,} records were searched, back to {instant(oldest)}"
        echo(f"note: {searched}: use --since to search further back", err=True)


@command.command("export")
@filter_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "cloudevents", "ocsf"]),
    default="jsonl",
    show_default=True,
    help="Output format.",
)
@click.pass_obj
def export(config: str, form: str, wanted: RecordFilter) -> None:
    """Write every stored record that matches the filters to standard output, in the order of storage.

    All formats except CSV are JSON lines, one event per line.
    """
    from actionwatch.store import records

    events: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]
    events = {"jsonl": lambda document: document, "cloudevents": cloudevents_event, "ocsf": ocsf_event}
    with reading_store(config) as (_, connection):
        found = records.stream(connection, wanted)
        if form == "csv":
            _write_csv(found)
            return
        for record in found:
            echo(dump(events[form](record_document(record))))


def _write_csv(found: Iterator[Record]) -> None:
    is_terminal = sys.stdout.isatty()
    writer = csv.writer(sys.stdout, lineterminator="\n" if is_terminal else "\r\n")
    writer.writerow(CSV_COLUMNS)
    for record in found:
        row = [_safe(read(record)) for read in CSV_COLUMNS.values()]
        writer.writerow([visible(cell) if cell and is_terminal else cell for cell in row])


def _safe(cell: str | None) -> str | None:
    """Prevent a spreadsheet from running audit text as a formula (OWASP, "CSV injection")."""
    return f"'{cell}" if cell and cell[0] in "=+-@\t\r" else cell
