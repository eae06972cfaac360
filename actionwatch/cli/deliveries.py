"""`deliveries`: list and show the deliveries of the outbox, retry or drop dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click
from click.decorators import FC

from actionwatch.base.clock import utc_now
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.plurals import counted
from actionwatch.cli import completing
from actionwatch.cli.context import changing_store, named_receiver, reading_store, warn_if_nothing_runs
from actionwatch.cli.options import author_option, limit_option, output_option, time
from actionwatch.cli.output import console, echo, hang, print_document, print_items
from actionwatch.text.payloads import delivery_document
from actionwatch.text.times import local_times

if TYPE_CHECKING:
    from actionwatch.queries.deliveries import DeliveryDetail
    from actionwatch.store.database import StoreReader
    from actionwatch.store.outbox import DeliveryFilter

_receiver_option = click.option(
    "--receiver", metavar="NAME", shell_complete=completing.receivers, help="Only deliveries to this receiver."
)
command = click.Group(help="List and show deliveries, retry or drop dead letters.")


@command.command("list")
@click.option("--dead", "is_dead", is_flag=True, help="Only dead letters.")
@_receiver_option
@limit_option("deliveries")
@output_option
@click.pass_obj
def list_deliveries(config: str, is_dead: bool, receiver: str | None, limit: int, form: str) -> None:
    """List deliveries, newest first."""
    from actionwatch.queries import deliveries

    with reading_store(config) as (_, connection):
        found = deliveries.newest(connection, limit, is_dead=is_dead, receiver=receiver)
    print_items(
        found,
        form,
        document=delivery_document,
        columns=("created", "receiver", "event", "status", "attempts", "id", "last error"),
        row=lambda row: (
            row.created_at,
            row.receiver,
            row.event.word,
            row.status.value,
            row.attempts,
            row.id,
            local_times(row.last_error or row.why or ""),
        ),
        nothing="no dead letters" if is_dead else "no deliveries",
        cut=("last error", "receiver"),
        leave_out=("attempts",),
    )


@command.command("show")
@click.argument("delivery_id", metavar="ID")
@output_option
@click.pass_obj
def show(config: str, delivery_id: str, form: str) -> None:
    """Show one delivery, with the receiver's last response and the message as it was sent.

    A unique prefix of the id is enough.
    """
    from actionwatch.queries import deliveries

    with reading_store(config) as (_, connection):
        document = deliveries.document(deliveries.find(connection, delivery_id))
    print_document(document, form, as_text=lambda: _print(document))


def _selecting_options(function: FC) -> FC:
    """Add the options that select dead letters."""
    for option in (
        click.option("--since", type=time, help="Only deliveries created at or after this time."),
        _receiver_option,
        click.option("--dead", "is_all", is_flag=True, help="All dead letters."),
        click.argument("ids", metavar="[ID]...", nargs=-1),
    ):
        option(function)
    return function


@command.command("retry")
@_selecting_options
@click.option("--to", metavar="NAME", shell_complete=completing.receivers, help="Send them to this receiver instead.")
@author_option
@output_option
@click.pass_obj
def retry(
    config: str,
    ids: tuple[str, ...],
    is_all: bool,
    receiver: str | None,
    since: datetime | None,
    to: str | None,
    author: str,
    form: str,
) -> None:
    """Send dead letters again, each under its old id. A running service sends them within a second.

    A unique prefix of an id is enough. If an id is not that of a dead letter, nothing is sent. Dead letters for a receiver that
    is no longer configured need --to; without it, only the others are sent, and the exit status is 1.
    """
    from actionwatch.delivery.dead_letters import DeadLetters

    _check_usage(ids, is_all or bool(receiver or since), "retry")
    with changing_store(config) as (settings, database):
        if to is not None:
            named_receiver(settings, to)
        actions = DeadLetters(database, [each.name for each in settings.receivers], utc_now)
        done = actions.retry(_wanted(database, ids, receiver, since), author, to)
        if done.count:
            warn_if_nothing_runs(database)
    if done.count or not done.stranded:
        _print_count(done.count, "retried", f"will be sent to {to}" if to else "will be tried again", form)
    if done.stranded:
        remedy = "add --to NAME to send to another receiver, or drop them ('actionwatch deliveries drop')"
        raise click.ClickException(f"{done.stranding}: {remedy}")


@command.command("drop")
@_selecting_options
@author_option
@output_option
@click.pass_obj
def drop(
    config: str,
    ids: tuple[str, ...],
    is_all: bool,
    receiver: str | None,
    since: datetime | None,
    author: str,
    form: str,
) -> None:
    """Give up dead letters for good. They stay in the list, but no longer count as dead.

    A unique prefix of an id is enough. If an id is not that of a dead letter, nothing is dropped.
    """
    from actionwatch.delivery.dead_letters import DeadLetters

    _check_usage(ids, is_all or bool(receiver or since), "drop")
    with changing_store(config) as (settings, database):
        actions = DeadLetters(database, [each.name for each in settings.receivers], utc_now)
        count = actions.drop(_wanted(database, ids, receiver, since), author)
    _print_count(count, "dropped", "dropped", form)


def _check_usage(ids: tuple[str, ...], is_filtered: bool, verb: str) -> None:
    if bool(ids) == is_filtered:
        raise click.UsageError(
            f"give the ids of the dead letters to {verb}, or select them with --dead, --receiver or --since"
        )


def _wanted(
    database: StoreReader, ids: tuple[str, ...], receiver: str | None, since: datetime | None
) -> DeliveryFilter:
    """Return which dead letters are named, or selected by filters. Raises: click.ClickException, if one is no longer dead."""
    from actionwatch.queries import deliveries
    from actionwatch.store.outbox import DeliveryFilter

    with database.read() as connection:
        chosen = [deliveries.find(connection, delivery_id) for delivery_id in ids]
    for delivery in chosen:
        if delivery.status is not DeliveryStatus.DEAD:
            raise click.ClickException(f"{delivery.id} is {delivery.status.value}, not a dead letter")
    return DeliveryFilter([found.id for found in chosen] if ids else None, receiver, since)


def _print_count(count: int, key: str, what: str, form: str) -> None:
    if form != "table":
        print_document({key: count}, form, as_text=lambda: None)
    elif count:
        echo(f"{counted(count, 'dead letter')} {what}")
    else:
        echo("no dead letters", err=True)


def _print(document: DeliveryDetail) -> None:
    out = console()
    for name, value in document.items():
        if name != "message" and value is not None:
            out.print(hang(f"{name:<11}", local_times(str(value)), "dim"))
    if document["message"] is None:
        out.print("\nno message yet: it is written at the first attempt")
    else:
        out.print("\nmessage", style="bold")
        out.print_json(data=document["message"], ensure_ascii=True)
