"""`deliveries`: what the outbox owes, sent and gave up."""

from __future__ import annotations

import click

from actionwatch.cli.alerts import delivery_document
from actionwatch.cli.opened import opened_store
from actionwatch.cli.output import console, output_option, print_document, print_items, spell


@click.group()
def command() -> None:
    """List deliveries, show one, retry dead letters."""


@command.command("list")
@click.option("--dead", "is_dead", is_flag=True, help="Only dead letters.")
@click.option("--receiver", metavar="NAME", help="Only those for this receiver.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many, the newest.")
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
        columns=("created (UTC)", "receiver", "event", "status", "attempts", "last error", "id"),
        row=lambda row: (
            row.created_at,
            row.receiver,
            row.event.value,
            row.status.value,
            row.attempts,
            row.last_error or row.why,
            row.id,
        ),
        nothing="no dead letters" if is_dead else "no deliveries",
    )


@command.command("show")
@click.argument("delivery_id", metavar="ID")
@output_option
@click.pass_obj
def show(config: str, delivery_id: str, form: str) -> None:
    """Show one delivery, with the receiver's last answer and the message as it was frozen."""
    import json

    from actionwatch.store import outbox

    with opened_store(config) as (_, database), database.read() as connection:
        found = outbox.read(connection, delivery_id)
    if found is None:
        raise click.ClickException(f"no delivery has the id {delivery_id}: see 'actionwatch deliveries list'")
    document = {**delivery_document(found), "message": json.loads(found.body) if found.body else None}

    def as_text() -> None:
        out = console()
        for name, value in document.items():
            if name != "message" and value is not None:
                out.print(f"{name:<12} {spell(value)}", markup=False)
        out.print("\nmessage" if document["message"] else "\nno message yet: it is written at the first attempt")
        if document["message"]:
            out.print_json(data=document["message"], default=str, ensure_ascii=True)

    print_document(document, form, as_text=as_text)


@command.command("retry")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--dead", "is_all", is_flag=True, help="Every dead letter.")
@click.pass_obj
def retry(config: str, ids: tuple[str, ...], is_all: bool) -> int:
    """Send dead letters again, each under the id it had. A running service takes them up within a second."""
    from datetime import UTC, datetime

    from actionwatch.store import outbox

    if bool(ids) == is_all:
        raise click.UsageError("give the ids of dead letters, or --dead for all of them")
    with opened_store(config) as (_, database), database.write() as connection:
        count = outbox.replay(connection, None if is_all else ids, datetime.now(UTC))
    click.echo(f"{count} dead letters will be tried again")
    return 0 if count or is_all else 1
