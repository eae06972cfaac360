"""`deliveries`: list and show the deliveries of the outbox, retry or drop dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.cli.alerts import delivery_document
from actionwatch.cli.context import changed_store, opened_store, warn_if_nothing_runs
from actionwatch.cli.output import Moment, console, hang, output_option, print_document, print_items

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.base.delivery import Delivery


@click.group()
def command() -> None:
    """List and show deliveries, retry or drop dead letters."""


@command.command("list")
@click.option("--dead", "is_dead", is_flag=True, help="Only dead letters.")
@click.option("--receiver", metavar="NAME", help="Only deliveries to this receiver.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="Maximum number of deliveries, newest first."
)
@output_option
@click.pass_obj
def list_deliveries(config: str, is_dead: bool, receiver: str | None, limit: int, form: str) -> None:
    """List deliveries, newest first."""
    from actionwatch.store import outbox

    with opened_store(config) as (_, database), database.read() as connection:
        found = outbox.find(connection, limit=limit, is_dead=is_dead, receiver=receiver)
    print_items(
        found,
        form,
        document=delivery_document,
        columns=("created (UTC)", "receiver", "event", "status", "attempts", "id", "last error"),
        row=lambda row: (
            row.created_at,
            row.receiver,
            row.event.word,
            row.status.value,
            row.attempts,
            row.id,
            row.last_error or row.why,
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
    import json

    with opened_store(config) as (_, database), database.read() as connection:
        found = _find(connection, delivery_id)
    document = {**delivery_document(found), "message": json.loads(found.body) if found.body else None}
    print_document(document, form, as_text=lambda: _print(document))


@command.command("retry")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--dead", "is_all", is_flag=True, help="All dead letters.")
@click.option("--receiver", metavar="NAME", help="Only deliveries to this receiver.")
@click.option("--since", type=Moment(), help="Only deliveries created at or after this time.")
@click.option("--to", metavar="NAME", help="Send them to this receiver instead.")
@click.pass_obj
def retry(
    config: str, ids: tuple[str, ...], is_all: bool, receiver: str | None, since: datetime | None, to: str | None
) -> None:
    """Send dead letters again, each under its old id. A running service sends them within a second.

    A unique prefix of an id is enough. If an id is not that of a dead letter, nothing is sent. Dead letters for a receiver that
    is no longer configured need --to; without it, only the others are sent, and the exit status is 1.
    """
    from actionwatch.base import clock
    from actionwatch.delivery import replay
    from actionwatch.store import outbox

    _check_usage(ids, is_all or bool(receiver or since), "retry")
    with changed_store(config) as (settings, database):
        known = [each.name for each in settings.receivers]
        if to is not None and to not in known:
            raise click.UsageError(_unknown(to, known))
        with database.write() as connection:
            wanted = outbox.DeliveryFilter(_dead(connection, ids), receiver, since)
            stranded = {} if to else outbox.count_dead_letters(connection, wanted, besides=known)
            if ids and stranded:
                raise click.ClickException(_stranded(stranded))
            now = clock.utc_now()
            count = (
                replay.readdress(connection, wanted, to, now) if to else replay.replay(connection, wanted, known, now)
            )
        if count:
            warn_if_nothing_runs(database)
    if count or not stranded:
        _say(count, f"will be sent to {to}" if to else "will be tried again")
    if stranded:
        raise click.ClickException(_stranded(stranded))


@command.command("drop")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--dead", "is_all", is_flag=True, help="All dead letters.")
@click.option("--receiver", metavar="NAME", help="Only deliveries to this receiver.")
@click.option("--since", type=Moment(), help="Only deliveries created at or after this time.")
@click.option("--author", metavar="NAME", help="Who drops them.  [default: your login name]")
@click.pass_obj
def drop(
    config: str, ids: tuple[str, ...], is_all: bool, receiver: str | None, since: datetime | None, author: str | None
) -> None:
    """Give up dead letters for good. They stay in the list, but no longer count as dead.

    A unique prefix of an id is enough. If an id is not that of a dead letter, nothing is dropped.
    """
    from actionwatch.matching.operator_actions import login_name
    from actionwatch.store import delivery_transitions, outbox

    _check_usage(ids, is_all or bool(receiver or since), "drop")
    with changed_store(config) as (_, database), database.write() as connection:
        chosen = _dead(connection, ids)
        count = delivery_transitions.drop(
            connection, outbox.DeliveryFilter(chosen, receiver, since), author or login_name()
        )
    _say(count, "dropped")


def _check_usage(ids: tuple[str, ...], is_filtered: bool, verb: str) -> None:
    if bool(ids) == is_filtered:
        raise click.UsageError(
            f"give the ids of the dead letters to {verb}, or select them with --dead, --receiver or --since"
        )


def _dead(connection: Connection, ids: tuple[str, ...]) -> list[str] | None:
    """Return the ids of the named dead letters, or None if filters select them."""
    from actionwatch.base.delivery import DeliveryStatus

    chosen = [_find(connection, delivery_id) for delivery_id in ids]
    for delivery in chosen:
        if delivery.status is not DeliveryStatus.DEAD:
            raise click.ClickException(f"{delivery.id} is {delivery.status.value}, not a dead letter")
    return [found.id for found in chosen] if ids else None


def _unknown(name: str, known: list[str]) -> str:
    from actionwatch.text.suggestions import did_you_mean

    return f"no receiver is named {name}: " + (did_you_mean(name, known) or f"there are {', '.join(known) or 'none'}")


def _stranded(counts: Mapping[str, int]) -> str:
    """Describe the dead letters whose receivers are not configured, and the remedy."""
    whose = ", ".join(f"{count} for {name}" for name, count in counts.items())
    letters = "1 dead letter is" if sum(counts.values()) == 1 else f"{sum(counts.values())} dead letters are"
    return (
        f"{letters} for a receiver that is no longer configured ({whose}): add --to NAME to send to another receiver, "
        "or drop them ('actionwatch deliveries drop')"
    )


def _say(count: int, what: str) -> None:
    if count:
        click.echo(f"{count} dead {'letter' if count == 1 else 'letters'} {what}")
    else:
        click.echo("no dead letters", err=True)


def _find(connection: Connection, beginning: str) -> Delivery:
    from actionwatch.store import outbox

    found = outbox.read_by_prefix(connection, beginning)
    if not found:
        raise click.ClickException(f"no delivery has the id {beginning}: see 'actionwatch deliveries list'")
    if len(found) > 1:
        raise click.ClickException(f"several delivery ids start with {beginning}: give a longer prefix")
    return found[0]


def _print(document: dict[str, Any]) -> None:
    from rich.text import Text

    out = console()
    for name, value in document.items():
        if name != "message" and value is not None:
            out.print(hang(Text(f"{name:<11}", "dim"), str(value)))
    if document["message"] is None:
        out.print("\nno message yet: it is written at the first attempt")
    else:
        out.print("\nmessage", style="bold")
        out.print_json(data=document["message"], ensure_ascii=True)
