"""`streams`: list and rewind the streams, and decide about refused messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click
from click.decorators import FC

from actionwatch.base.clock import utc_now
from actionwatch.base.durations import spell_duration
from actionwatch.base.plurals import counted
from actionwatch.cli import completing
from actionwatch.cli.context import changing_store, named_stream, reading_store
from actionwatch.cli.options import limit_option, output_option, time
from actionwatch.cli.output import echo, print_document, print_items
from actionwatch.text.payloads import instant
from actionwatch.text.times import local_times, spell_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.settings import Stream

_name_argument = click.argument("name", shell_complete=completing.streams)
command = click.Group(help="List and rewind streams, and decide about refused messages.")


@command.command("list")
@output_option
@click.pass_obj
def list_streams(config: str, form: str) -> None:
    """List the configured streams: what waits, how far they lag behind, and through when they are complete."""
    from actionwatch.queries.streams import read_streams

    with reading_store(config) as (settings, connection):
        found = read_streams(connection, settings.streams, utc_now())
    print_items(
        found,
        form,
        document=lambda state: state.document(),
        columns=(
            "name",
            "type",
            "what",
            "status",
            "sent",
            "waiting",
            "refused",
            "lag",
            "complete through",
            "last error",
        ),
        row=lambda state: (
            state.name,
            state.configured.type,
            state.configured.what,
            state.status,
            state.health.sent_count,
            state.waiting_count,
            state.refused_count,
            spell_duration(state.lag),
            state.complete_through or "",
            local_times(state.health.last_error or "") if state.health.failing_since else "",
        ),
        nothing="no streams are configured: see docs/streams.md",
        cut=("last error", "name"),
        leave_out=("what", "type", "sent"),
    )


@command.command("rewind")
@_name_argument
@click.option("--to", type=time, required=True, help="Send everything since this time again: RFC 3339, or 7d.")
@output_option
@click.pass_obj
def rewind(config: str, name: str, to: datetime, form: str) -> None:
    """Send everything that happened since a time again, under the same ids, with the statements about it.

    Records that retention has deleted are not sent again.
    """
    from actionwatch.service.streams import build_plan
    from actionwatch.streams import positions

    with _changing(config, name) as (connection, stream):
        positions.rewind(connection, build_plan(stream), to, utc_now())
    text = f"{name} sends everything since {spell_time(to)} again"
    print_document({"rewound": name, "to": instant(to)}, form, as_text=lambda: echo(text))


@command.command("refused")
@click.argument("name", required=False, shell_complete=completing.streams)
@limit_option("messages")
@output_option
@click.pass_obj
def refused(config: str, name: str | None, limit: int, form: str) -> None:
    """List the messages that destinations refused for good: of a stream, or of all, newest first."""
    from actionwatch.queries import streams

    with reading_store(config) as (settings, connection):
        if name is not None:
            named_stream(settings, name)
        found = streams.refused(connection, name, limit)
    print_items(
        found,
        form,
        document=streams.refused_document,
        columns=("number", "stream", "refused", "kind", "bytes", "id", "why"),
        row=lambda each: (each.id, each.stream, each.refused_at, each.kind, len(each.body), each.message_id, each.why),
        nothing="no message was refused",
        cut=("why", "id"),
        leave_out=("bytes",),
    )


def _choosing(function: FC) -> FC:
    numbers = click.argument("numbers", nargs=-1, type=int)
    every = click.option("--all", "is_all", is_flag=True, help="All refused messages of the stream.")
    return _name_argument(numbers(every(output_option(function))))


@command.command("retry")
@_choosing
@click.pass_obj
def retry(config: str, name: str, numbers: tuple[int, ...], is_all: bool, form: str) -> None:
    """Send refused messages of a stream again, under their old ids: NUMBERS as `streams refused` lists them, or --all."""
    from actionwatch.store import streams

    count = _decide(config, name, numbers, is_all, streams.send_again)
    print_document({"retried": count}, form, as_text=lambda: echo(f"{counted(count, 'message')} will be sent again"))


@command.command("drop")
@_choosing
@click.pass_obj
def drop(config: str, name: str, numbers: tuple[int, ...], is_all: bool, form: str) -> None:
    """Give up refused messages of a stream for good: NUMBERS as `streams refused` lists them, or --all."""
    from actionwatch.store import streams

    count = _decide(config, name, numbers, is_all, streams.drop_refused)
    print_document({"dropped": count}, form, as_text=lambda: echo(f"{counted(count, 'message')} dropped"))


def _decide(
    config: str,
    name: str,
    numbers: tuple[int, ...],
    is_all: bool,
    act: Callable[[Connection, str, tuple[int, ...]], int],
) -> int:
    if bool(numbers) == is_all:
        raise click.UsageError("give the numbers of the refused messages, or --all")
    with _changing(config, name) as (connection, _):
        count = act(connection, name, numbers)
        if count != len(numbers) and not is_all:
            raise click.ClickException(f"not all of these are refused messages of {name}: nothing was changed")
    return count


@contextmanager
def _changing(config: str, name: str) -> Iterator[tuple[Connection, Stream]]:
    """Change a stream in one transaction, in which it has its first position."""
    from actionwatch.service.streams import build_plan
    from actionwatch.streams import positions

    with changing_store(config) as (settings, database):
        stream = named_stream(settings, name)
        with database.write(is_durable=True) as connection:
            positions.begin(connection, build_plan(stream), utc_now())
            yield connection, stream
