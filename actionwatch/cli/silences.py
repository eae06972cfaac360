"""`silences`: add, list and expire silences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from actionwatch.cli.context import changed_store, opened_store, warn_if_nothing_runs
from actionwatch.cli.output import Span, output_option, print_items

if TYPE_CHECKING:
    from actionwatch.base.model import Silence
    from actionwatch.settings import Settings
    from actionwatch.store.database import Database


@click.group()
def command() -> None:
    """Add, list and expire silences."""


@command.command("add")
@click.argument("matchers", metavar="MATCHER...", nargs=-1, required=True)
@click.option("--for", "span", type=Span(), required=True, metavar="DURATION", help="Duration, such as 2h or 3d.")
@click.option("--comment", required=True, metavar="TEXT", help="The reason.")
@click.option("--author", metavar="NAME", help="Who is responsible.  [default: your login name]")
@click.pass_obj
def add(config: str, matchers: tuple[str, ...], span: timedelta, comment: str, author: str | None) -> None:
    """Silence alerts that match every MATCHER, such as rule="cluster_deleted" or userName=~"ci-.*", and print the id.

    Silenced alerts are counted and stored, and one message reports them when the silence ends. Labels are those of routes.
    """
    from actionwatch.alerts.silences import make_silence
    from actionwatch.base import clock
    from actionwatch.matching.operator_actions import login_name
    from actionwatch.store import silences

    now = clock.utc_now()
    try:
        made = make_silence(matchers, author or login_name(), comment, now, now + span, made_at=now)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    except OverflowError as exc:
        raise click.UsageError("the end of the silence is too far in the future: shorten --for") from exc
    with changed_store(config) as (_, database), database.write() as connection:
        silences.write(connection, made)
    click.echo(made.id)


@command.command("list")
@click.option("--all", "is_all", is_flag=True, help="Include expired silences.")
@output_option
@click.pass_obj
def list_silences(config: str, is_all: bool, form: str) -> int:
    """List the silences of the store and of the reviewed files. Exits with 1 if a file is broken."""
    from actionwatch.base import clock
    from actionwatch.cli import EXIT_FAILED
    from actionwatch.service import configuration
    from actionwatch.service.silence_files import merge
    from actionwatch.store import silences

    now = clock.utc_now()
    with opened_store(config) as (settings, database), database.read() as connection:
        stored = silences.read_all(connection)
    in_files, faults = configuration.read_silences(settings)
    found = merge(stored, in_files, {fault.file for fault in faults}, now)
    shown = [silence for silence in found if is_all or silence.status(now) != "expired"]
    print_items(
        shown,
        form,
        document=lambda silence: silence_document(silence, now),
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
    for fault in faults:
        click.echo(str(fault), err=True)
    return EXIT_FAILED if faults else 0


@command.command("expire")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def expire(config: str, ids: tuple[str, ...]) -> None:
    """End silences now. A unique prefix of an id is enough. The summaries of what they hid are sent within two seconds."""
    from actionwatch.base import clock
    from actionwatch.store import silences

    now = clock.utc_now()
    with changed_store(config) as (settings, database):
        _read_files(settings, database)
        with database.write() as connection:
            chosen = [_one(silences.read_by_prefix(connection, beginning), beginning) for beginning in ids]
            for silence in chosen:
                if silence.file is not None:
                    raise click.ClickException(f"{silence.id} comes from {silence.file}: remove it there")
            count = silences.expire(connection, [silence.id for silence in chosen], now)
        if count:
            warn_if_nothing_runs(database)
    click.echo(f"{count} {'silence' if count == 1 else 'silences'} ended")


def silence_document(silence: Silence, now: datetime) -> dict[str, Any]:
    """Return a silence as JSON."""
    from actionwatch.text.payloads import instant

    return {
        "id": silence.id,
        "matchers": list(silence.matchers),
        "author": silence.author,
        "comment": silence.comment,
        "starts_at": instant(silence.starts_at),
        "ends_at": instant(silence.ends_at),
        "status": silence.status(now),
    }


def _read_files(settings: Settings, database: Database) -> list[str]:
    """Load the reviewed files into the store. Return their errors."""
    from functools import partial

    from actionwatch.base import clock
    from actionwatch.service import configuration
    from actionwatch.service.silence_files import SilenceFiles

    files = SilenceFiles(partial(configuration.read_silences, settings), database, clock.utc_now)
    return [str(fault) for fault in files.run_once()]


def _one(found: Sequence[Silence], beginning: str) -> Silence:
    if not found:
        raise click.ClickException(f"no silence has the id {beginning}: see 'actionwatch silences list --all'")
    if len(found) > 1:
        raise click.ClickException(f"several silence ids start with {beginning}: give a longer prefix")
    return found[0]
