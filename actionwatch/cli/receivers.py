"""`receivers`: list, test and preview the receivers."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from actionwatch.base.clock import utc_now
from actionwatch.base.delivery import Delivery
from actionwatch.base.errors import StoreBusy, StoreMissing
from actionwatch.base.model import Status
from actionwatch.cli.context import named_receiver, read_settings, reading_store
from actionwatch.cli.options import FOLDER, output_option
from actionwatch.cli.output import dump, echo, print_items

if TYPE_CHECKING:
    from actionwatch.service.app import App

WAIT_SECONDS = 60.0  # for the receiver's response to a test; the running service may retry later
LOOK_SECONDS = 0.1
command = click.Group(help="List, test and preview receivers; print the webhook's schema.")


@command.command("list")
@output_option
@click.pass_obj
def list_receivers(config: str, form: str) -> None:
    """List the configured receivers with their queues and last errors."""
    from actionwatch.store import outbox, receivers

    with reading_store(config) as (settings, connection):
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
        nothing="no receivers are configured: alerts are stored but not sent",
        cut=("last error", "name"),
        leave_out=("from level",),
    )


@command.command("test")
@click.argument("name")
@click.pass_obj
def test(config: str, name: str) -> int:
    """Send a marked test alert to one receiver through the real path: outbox, templates, notifier.

    If a service runs on the store, it sends the alert, otherwise this command does. Exits with 1 if the receiver refuses it.
    """
    from actionwatch.service import app

    settings = read_settings(config)
    named_receiver(settings, name)
    with closing(app.App(settings)) as built:
        found = _deliver(built, _enqueue(built, name))
    if found.sent_at:
        echo(f"{name} accepted the test message {found.id}" + (f": {found.why}" if found.why else ""))
        return 0
    reason = found.last_error or found.why or "no response yet: see 'actionwatch deliveries list'"
    raise click.ClickException(f"{name} did not accept the test message: {reason}")


def _enqueue(built: App, name: str) -> str:
    """Enqueue a test message and return its id."""
    from actionwatch.matching.self_alerts import marked_alert
    from actionwatch.store import alerts

    now = utc_now()
    alert = replace(marked_alert(name, now), status=Status.RESOLVED, resolved_by="actionwatch", resolved_at=now)
    with built.database.write() as connection:
        alerts.insert_new(connection, [(alert, alert.id)])
        return built.addressing.test(connection, alert, name, now)


def _deliver(built: App, delivery_id: str) -> Delivery:
    """Wait for the first attempt of a delivery, by the running service or else by this process."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with built.database.owned():
                return _deliver_alone(built, delivery_id, deadline)
        except StoreBusy:
            found = _read(built, delivery_id)
            if _is_attempted(found) or time.monotonic() >= deadline:
                return found
            time.sleep(LOOK_SECONDS)


def _deliver_alone(built: App, delivery_id: str, deadline: float) -> Delivery:
    """Deliver what is due, like the service, until the test message was attempted."""
    worker = built.delivery_worker()
    thread = threading.Thread(target=worker.run, name="deliver", daemon=True)
    thread.start()
    try:
        while not _is_attempted(_read(built, delivery_id)) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
    finally:
        worker.stop()
        thread.join()
    return _read(built, delivery_id)


def _read(built: App, delivery_id: str) -> Delivery:
    from actionwatch.store import outbox

    with built.database.read() as connection:
        found = outbox.read(connection, delivery_id)
    if found is None:
        raise click.ClickException(f"the test message {delivery_id} is no longer in the store")
    return found


def _is_attempted(delivery: Delivery) -> bool:
    return bool(delivery.sent_at or delivery.last_error or delivery.why)


@command.command("preview")
@click.argument("rule_name", metavar="RULE")
@click.argument("name", metavar="RECEIVER")
@click.option("--to", "folder", type=FOLDER, help="Write files to this folder instead of printing.")
@click.pass_obj
def preview(config: str, rule_name: str, name: str, folder: Path | None) -> None:
    """Show the message that RECEIVER would get from RULE: the email, the blocks, the body. Sends nothing."""
    from actionwatch.service.preview import preview_files
    from actionwatch.store.database import StoreReader

    settings = read_settings(config)
    receiver = named_receiver(settings, name)
    with ExitStack() as stack:
        try:
            store = stack.enter_context(closing(StoreReader.open(settings.store.url)))
        except StoreMissing:
            store = None  # before the first start, the rule's tests provide the alert
        files = preview_files(settings, store, rule_name, receiver)
    for file_name, text in files.items():
        if folder is None:
            echo(f"--- {file_name}\n{text}\n")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file_name).write_text(text, encoding="utf-8")
        echo(str(folder / file_name))


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of the webhook message."""
    from actionwatch.notifiers.webhook import message_schema

    echo(dump(message_schema(), indent=2))
