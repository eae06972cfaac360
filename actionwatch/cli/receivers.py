"""`receivers`: where alerts go."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.opened import opened_store
from actionwatch.cli.output import dump, output_option, print_items

WAIT_SECONDS = 60.0  # for the receiver's answer to a test; a retry by the running service may come later


@click.group()
def command() -> None:
    """List receivers, send a test alert, print the webhook's schema."""


@command.command("list")
@output_option
@click.pass_obj
def list_receivers(config: str, form: str) -> None:
    """List the configured receivers and how they are."""
    from actionwatch.store import outbox, receivers

    with opened_store(config) as (settings, database), database.read() as connection:
        queues, health = outbox.count_queues(connection), receivers.read_all(connection)
    rows = [
        {
            "name": receiver.name,
            "type": receiver.type,
            "min_level": receiver.min_level.word,
            "pending": queues.get(receiver.name, outbox.Queue()).pending,
            "dead": queues.get(receiver.name, outbox.Queue()).dead,
            "last_error": health.get(receiver.name, receivers.Health()).last_error,
        }
        for receiver in settings.receivers
    ]
    print_items(
        rows,
        form,
        document=lambda item: item,
        columns=("name", "type", "from level", "pending", "dead", "last error"),
        row=lambda item: tuple(item.values()),
        nothing="no receivers are configured: alerts are stored, nobody is told",
    )


@command.command("test")
@click.argument("name")
@click.pass_obj
def test(config: str, name: str) -> int:
    """Send one receiver a marked test alert through the real path: outbox, templates, notifier. Exit 1 if it is refused."""
    from actionwatch import app
    from actionwatch.model import Status
    from actionwatch.pipeline.troubles import marked_alert
    from actionwatch.store import alerts, outbox

    settings = app.read_settings(Path(config))
    chosen = [receiver for receiver in settings.receivers if receiver.name == name]
    if not chosen:
        known = ", ".join(receiver.name for receiver in settings.receivers) or "none"
        raise click.UsageError(f"no receiver is named {name}: there are {known}")
    built = app.App(settings)
    try:
        now = app.utc_now()
        alert = replace(marked_alert(name, now), status=Status.RESOLVED, resolved_by="actionwatch", resolved_at=now)
        with built.database.write() as connection:
            alerts.insert_new(connection, [(alert, alert.id)])
            delivery_id = built.addressing.test(connection, alert, name, now)
        deliverer = built.deliverer(chosen)
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            deliverer.run_once(0.1)
            with built.database.read() as connection:
                found = outbox.read(connection, delivery_id)
            if found and (found.sent_at or found.last_error or found.why):
                break
        deliverer.stop()
    finally:
        built.close()
    if found and found.sent_at:
        click.echo(f"{name} took the test message {delivery_id}" + (f": {found.why}" if found.why else ""))
        return 0
    click.echo(f"{name} did not take it: {(found and (found.last_error or found.why)) or 'no answer yet'}", err=True)
    return EXIT_FAILED


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of the webhook message."""
    from actionwatch.notifiers.webhook import message_schema

    click.echo(dump(message_schema(), indent=2))
