"""`silences`: add, list and expire silences."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Silence
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import changing_store, only_one, reading_store, warn_if_nothing_runs
from actionwatch.cli.options import author_option, duration, output_option
from actionwatch.cli.output import echo, print_faults, print_items

command = click.Group(help="Add, list and expire silences.")


@command.command("add")
@click.argument("matchers", metavar="MATCHER...", nargs=-1, required=True)
@click.option("--for", "span", type=duration, required=True, metavar="DURATION", help="Duration, such as 2h or 3d.")
@click.option("--comment", required=True, metavar="TEXT", help="The reason.")
@author_option
@click.pass_obj
def add(config: str, matchers: tuple[str, ...], span: timedelta, comment: str, author: str) -> None:
    """Silence alerts that match every MATCHER, such as rule="cluster_deleted" or userName=~"ci-.*", and print the id.

    Silenced alerts are counted and stored, and one message reports them when the silence ends. Labels are those of routes.
    """
    from actionwatch.alerts.silences import make_silence
    from actionwatch.store import silences

    now = utc_now()
    try:
        made = make_silence(matchers, author, comment, now, now + span, made_at=now)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    except OverflowError as exc:
        raise click.UsageError("the end of the silence is too far in the future: shorten --for") from exc
    with changing_store(config) as (_, database), database.write(is_durable=True) as connection:
        silences.write(connection, made)
    echo(made.id)


@command.command("list")
@click.option("--all", "is_all", is_flag=True, help="Include expired silences.")
@output_option
@click.pass_obj
def list_silences(config: str, is_all: bool, form: str) -> int:
    """List the silences of the store and of the reviewed files. Exits with 1 if a file is broken."""
    from actionwatch.service.silence_files import merge, read_silences
    from actionwatch.store import silences

    now = utc_now()
    with reading_store(config) as (settings, connection):
        stored = silences.read_all(connection)
    in_files, faults = read_silences(settings)
    found = merge(stored, in_files, {fault.file for fault in faults}, now)
    shown = [silence for silence in found if is_all or silence.status(now) != "expired"]
    print_items(
        shown,
        form,
        document=lambda silence: _document(silence, now),
        columns=("status", "ends (UTC)", "author", "id", "matchers", "comment"),
        row=lambda silence: (
            silence.status(now),
            silence.ends_at,
            silence.author,
            silence.id,
            " ".join(silence.matchers),
            silence.comment,
        ),
        nothing="no silences" if is_all else "no active silences: --all includes expired ones",
        cut=("comment", "matchers"),
        leave_out=("author",),
    )
    print_faults(faults)
    return EXIT_FAILED if faults else 0


@command.command("expire")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def expire(config: str, ids: tuple[str, ...]) -> None:
    """End silences now. A unique prefix of an id is enough. The summaries of what they hid are sent within two seconds."""
    from actionwatch.service.silence_files import SilenceFiles
    from actionwatch.store import silences

    now = utc_now()
    with changing_store(config) as (settings, database):
        SilenceFiles(settings, database, utc_now).run_once()
        with database.write(is_durable=True) as connection:
            chosen = [
                only_one(silences.read_by_prefix(connection, beginning), "silence", beginning, "silences list --all")
                for beginning in ids
            ]
            for silence in chosen:
                if silence.file is not None:
                    raise click.ClickException(f"{silence.id} comes from {silence.file}: remove it there")
            count = silences.expire(connection, [silence.id for silence in chosen], now)
        if count:
            warn_if_nothing_runs(database)
    echo(f"{counted(count, 'silence')} ended")


def _document(silence: Silence, now: datetime) -> dict[str, Any]:
    """Return a silence as JSON."""
    return {
        "id": silence.id,
        "matchers": list(silence.matchers),
        "author": silence.author,
        "comment": silence.comment,
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "status": silence.status(now),
    }
