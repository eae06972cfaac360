"""`records`: what the store holds."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from click.decorators import FC

from actionwatch.cli.context import opened_store
from actionwatch.cli.output import Moment, dump, output_option, print_items
from actionwatch.cli.receipts import proof, receipts

if TYPE_CHECKING:
    from actionwatch.base.model import Record
    from actionwatch.store.records import RecordFilter

OPERATIONS = ("CREATE", "READ", "UPDATE", "DELETE")
COLUMNS = ("time (UTC)", "kind", "user", "account", "cluster", "description")
CUT = ("description", "user", "kind", "cluster")
LEAVE_OUT = ("account", "cluster")
CSV_COLUMNS = (
    "key",
    "timestamp",
    "actionKind",
    "userName",
    "description",
    "account.id",
    "account.name",
    "cluster.id",
    "cluster.name",
    "scope",
    "crudOperation",
    "source",
)


def filter_options(function: FC) -> FC:
    """Add the filters that `actions` and `records` share."""
    options: Sequence[Callable[[FC], FC]] = (
        click.option("--kind", "kinds", multiple=True, metavar="K", help="Only this kind (repeatable)."),
        click.option("--user", metavar="U", help="Only this user."),
        click.option("--account", metavar="A", help="Only this account, by id or name."),
        click.option("--cluster", metavar="ID", help="Only this cluster, by id."),
        click.option(
            "--operation",
            "operations",
            multiple=True,
            type=click.Choice(OPERATIONS, case_sensitive=False),
            help="Only this class (repeatable).",
        ),
        click.option("--scope", type=click.Choice(["organisation", "account"]), help="Only this scope."),
        click.option("--keyword", metavar="W", help="Only where the description holds this."),
        click.option("--since", type=Moment(), help="From this time on: RFC 3339, or a duration back (7d)."),
        click.option("--until", type=Moment(), help="Up to this time."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def warn_of_unknown_kinds(kinds: Sequence[str]) -> None:
    """Say on stderr which kinds are not documented: most are misspelt."""
    from difflib import get_close_matches

    from actionwatch.instaclustr.kinds import KINDS, normalise_kind

    for kind in map(normalise_kind, kinds):
        if kind not in KINDS:
            near = get_close_matches(kind, list(KINDS), n=1)
            click.echo(
                f"note: no documented kind is called {kind}" + (f": did you mean {near[0]}?" if near else ""), err=True
            )


def row(record: Record) -> tuple[object, ...]:
    """Give a record's row of a table."""
    account, cluster = record.account, record.cluster
    return (
        record.occurred_at,
        record.action_kind,
        record.user_name,
        account.name or account.id,
        cluster.name or cluster.id,
        record.description,
    )


@click.group()
def command() -> None:
    """List and export the stored records, and the proof that they are all."""


command.add_command(receipts)
command.add_command(proof)


@command.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, the newest.")
@output_option
@click.pass_obj
def list_records(config: str, /, limit: int, form: str, **wanted: Any) -> None:
    """List stored records, newest first."""
    from actionwatch.store import records
    from actionwatch.text.payloads import record_document

    with opened_store(config) as (_, database), database.read() as connection:
        found = records.find(connection, _filter(**wanted), limit)
    print_items(
        found,
        form,
        document=record_document,
        columns=COLUMNS,
        row=row,
        nothing="no such records",
        cut=CUT,
        leave_out=LEAVE_OUT,
    )


@command.command("export")
@filter_options
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "cloudevents", "ocsf"]), default="jsonl", show_default=True
)
@click.pass_obj
def export(config: str, /, form: str, **wanted: Any) -> None:
    """Write every stored record that the filters admit to standard output, in the order stored.

    JSON lines, of CloudEvents and of OCSF too: an event a line.
    """
    from actionwatch.notifiers._formats.cloudevents import cloudevents_event
    from actionwatch.notifiers._formats.ocsf import ocsf_event
    from actionwatch.store import records
    from actionwatch.text.payloads import record_document

    events: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]
    events = {"jsonl": lambda document: document, "cloudevents": cloudevents_event, "ocsf": ocsf_event}
    with opened_store(config) as (_, database), database.read() as connection:
        found = records.stream(connection, _filter(**wanted))
        if form == "csv":
            _write_csv(found)
            return
        for record in found:
            click.echo(dump(events[form](record_document(record))))


def _write_csv(found: Iterator[Record]) -> None:
    from actionwatch.text.payloads import instant

    writer = csv.writer(sys.stdout)
    writer.writerow(CSV_COLUMNS)
    for record in found:
        account, cluster = record.account, record.cluster
        cells = (record.key, instant(record.occurred_at), record.action_kind, record.user_name, record.description)
        names = (account.id, account.name, cluster.id, cluster.name, record.scope, record.operation, record.source)
        writer.writerow([_safe(cell) for cell in (*cells, *names)])


def _safe(cell: str | None) -> str | None:
    """Keep a spreadsheet from running audit text as a formula (OWASP, "CSV injection")."""
    return f"'{cell}" if cell and cell[0] in "=+-@\t\r" else cell


def _filter(
    *,
    kinds: Sequence[str],
    user: str | None,
    account: str | None,
    cluster: str | None,
    operations: Sequence[str],
    scope: str | None,
    keyword: str | None,
    since: datetime | None,
    until: datetime | None,
) -> RecordFilter:
    from actionwatch.instaclustr.kinds import normalise_kind
    from actionwatch.store.records import RecordFilter

    warn_of_unknown_kinds(kinds)
    return RecordFilter(
        kinds=[normalise_kind(kind) for kind in kinds],
        user=user,
        account=account,
        cluster=cluster,
        operations=operations,
        scope=scope,
        keyword=keyword,
        since=since,
        until=until,
    )
