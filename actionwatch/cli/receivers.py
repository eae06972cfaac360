"""`receivers`: list, test and preview the receivers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import StoreMissing
from actionwatch.cli import completing
from actionwatch.cli.context import named_receiver, read_settings_to_act, reading_store
from actionwatch.cli.options import FOLDER, output_option
from actionwatch.cli.output import echo, print_document, print_items
from actionwatch.cli.schema import print_schema
from actionwatch.text.times import local_times

command = click.Group(help="List, test and preview receivers.")


@command.command("list")
@output_option
@click.pass_obj
def list_receivers(config: str, form: str) -> None:
    """List the configured receivers with their queues and last errors."""
    from actionwatch.queries.status import read_receivers

    with reading_store(config) as (settings, connection):
        states = read_receivers(connection, settings.receivers)
    rows = [
        {
            "name": each.name,
            "type": each.configured.type,
            "min_level": each.configured.min_level.word,
            "pending": each.queue.pending,
            "dead": each.queue.dead,
            "last_error": each.health.last_error,
        }
        for each in states
        if each.configured
    ]
    print_items(
        rows,
        form,
        document=lambda item: item,
        columns=("name", "type", "from level", "pending", "dead", "last error"),
        row=lambda item: tuple(local_times(value) if isinstance(value, str) else value for value in item.values()),
        nothing="no receivers are configured: alerts are stored but not sent",
        cut=("last error", "name"),
        leave_out=("from level",),
    )


@command.command("test")
@click.argument("receiver_name", metavar="NAME", shell_complete=completing.receivers)
@output_option
@click.pass_obj
def test(config: str, receiver_name: str, form: str) -> None:
    """Send a marked test alert to one receiver, with the configuration on disk: templates, notifier, outbox.

    A running service does not need to know the receiver yet. Exits with 1 if the receiver refuses the message, which is not
    retried.
    """
    from actionwatch.delivery.receiver_tests import send_test
    from actionwatch.service import app
    from actionwatch.service.announcement import configuration_state, read_announcements
    from actionwatch.service.receivers import build_channel
    from actionwatch.text.links import Links

    settings = read_settings_to_act(config)
    receiver, name = named_receiver(settings, receiver_name), receiver_name
    with closing(app.App(settings)) as built:
        channel = build_channel(receiver)
        with closing(channel.notifier):
            ended = send_test(built.database, channel, built.renderer, utc_now, Links(settings.web.url))
        running = read_announcements(built.database.peers.roster())
    if any(service.configuration != configuration_state(Path(config)) for service in running):
        echo("note: the running service has an older configuration: on SIGHUP, it loads this one", err=True)
    if ended.error is not None:
        raise click.ClickException(f"{name} did not accept the test message: {ended.error}")
    note, message = ended.receipt.note, ended.job.delivery.id
    text = f"{name} accepted the test message {message}" + (f": {note}" if note else "")
    print_document({"receiver": name, "message": message, "note": note}, form, as_text=lambda: echo(text))


@command.command("preview")
@click.argument("rule_name", metavar="RULE", shell_complete=completing.rules)
@click.argument("receiver_name", metavar="RECEIVER", shell_complete=completing.receivers)
@click.option("--to", "folder", type=FOLDER, help="Write files to this folder instead of printing.")
@output_option
@click.pass_obj
def preview(config: str, rule_name: str, receiver_name: str, folder: Path | None, form: str) -> None:
    """Show the message that RECEIVER would get from RULE: the email, the blocks, the body. Sends nothing."""
    from actionwatch.service.preview import preview_files
    from actionwatch.store.database import StoreReader

    settings = read_settings_to_act(config)
    receiver = named_receiver(settings, receiver_name)
    with ExitStack() as stack:
        try:
            store = stack.enter_context(closing(StoreReader.open(settings.store.url)))
        except StoreMissing:
            store = None  # before the first start, the rule's tests provide the alert
        files = preview_files(settings, store, rule_name, receiver)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for file_name, text in files.items():
            (folder / file_name).write_text(text, encoding="utf-8")
    print_document(files, form, as_text=lambda: _print_files(files, folder))


def _print_files(files: Mapping[str, str], folder: Path | None) -> None:
    for file_name, text in files.items():
        echo(f"--- {file_name}\n{text}\n" if folder is None else str(folder / file_name))


@command.command("schema", hidden=True)
def schema() -> None:
    """Print the JSON Schema of the webhook message: the older name of `schema webhook`."""
    print_schema("webhook")
