"""`silences`: add, list and expire silences."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Silence
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import changing_store, reading_store, warn_if_nothing_runs
from actionwatch.cli.options import author_option, duration, future, output_option
from actionwatch.cli.output import echo, print_document, print_faults, print_items, spell
from actionwatch.text.payloads import silence_document
from actionwatch.text.times import spell_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.settings import Settings

command = click.Group(help="Add, list and expire silences.")


@command.command("add")
@click.argument("matchers", metavar="MATCHER...", nargs=-1, required=True)
@click.option("--for", "span", type=duration, required=True, metavar="DURATION", help="Duration, such as 2h or 3d.")
@click.option(
    "--start", "starts_at", type=future, metavar="TIME", help="When it begins: RFC 3339, or a duration from now (2h)."
)
@click.option("--comment", required=True, metavar="TEXT", help="The reason.")
@author_option
@click.option("--force", "is_forced", is_flag=True, help="Add it even if it is too long or its matchers are doubtful.")
@output_option
@click.pass_obj
def add(
    config: str,
    matchers: tuple[str, ...],
    span: timedelta,
    starts_at: datetime | None,
    comment: str,
    author: str,
    is_forced: bool,
    form: str,
) -> None:
    """Silence alerts that match every MATCHER, such as rule="cluster_deleted" or userName=~"ci-.*", and print the id.

    Silenced alerts are counted and stored, and one message reports them when the silence ends. Labels are those of routes.

    Refuses a silence longer than max_silence (7d), and matchers that name an unknown label, rule or level, or that match every
    alert or none. Shows what it would have hidden in the last 7 days.

    \b
    actionwatch silences add rule=cluster_deleted 'userName=~"ci-.*"' --for 2h --comment "load test, ask sam"
    actionwatch silences add cluster=orders-prod --start 2026-12-24T18:00:00Z --for 12h --comment "migration, CHG-12"
    """
    from actionwatch.alerts.silences import make_silence
    from actionwatch.store import silences

    now = utc_now()
    begins = starts_at or now
    try:
        made = make_silence(matchers, author, comment, begins, begins + span, made_at=now)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    except OverflowError as exc:
        raise click.UsageError("the end of the silence is too far in the future: shorten --for") from exc
    with changing_store(config) as (settings, database):
        _refuse_doubtful(settings, made, now, is_forced=is_forced)
        with database.write(is_durable=True) as connection:
            silences.write(connection, made)
        echo(f"note: active from {spell_time(made.starts_at)} to {spell_time(made.ends_at)}", err=True)
        with database.read() as connection:
            _print_preview(connection, made, now)
    print_document(silence_document(made, now), form, as_text=lambda: echo(made.id))


def _refuse_doubtful(settings: Settings, made: Silence, now: datetime, *, is_forced: bool) -> None:
    """Report everything that is doubtful about a new silence.

    Raises: click.UsageError, unless it is forced.
    """
    from actionwatch.service.configuration import read_rules
    from actionwatch.service.silence_doubts import find_doubts

    doubts = find_doubts(settings, read_rules(settings), made, now)
    for doubt in doubts:
        echo(f"note: {doubt}" if is_forced else doubt, err=True)
    if doubts and not is_forced:
        raise click.UsageError("Add --force if this is what you want.")


def _print_preview(connection: Connection, made: Silence, now: datetime) -> None:
    """Print on stderr what a silence would have hidden, because scripts read its id from stdout."""
    from actionwatch.queries.silences import preview

    (found,) = preview(connection, [made], now)
    echo(f"note: {spell(str(found))}", err=True)


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
        document=lambda silence: silence_document(silence, now),
        columns=("status", "ends", "author", "id", "matchers", "comment"),
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
@author_option
@output_option
@click.pass_obj
def expire(config: str, ids: tuple[str, ...], author: str, form: str) -> None:
    """End silences now. A unique prefix of an id is enough. The summaries of what they hid are sent within two seconds."""
    from actionwatch.queries.silences import find
    from actionwatch.service.silence_files import SilenceFiles
    from actionwatch.store import silences

    now = utc_now()
    with changing_store(config) as (settings, database):
        SilenceFiles(settings, database, utc_now).run_once()
        with database.write(is_durable=True) as connection:
            chosen = [find(connection, beginning) for beginning in ids]
            for silence in chosen:
                if silence.file is not None:
                    raise click.ClickException(f"{silence.id} comes from {silence.file}: remove it there")
            count = silences.expire(connection, [silence.id for silence in chosen], now, author)
        if count:
            warn_if_nothing_runs(database)
    print_document({"ended": count}, form, as_text=lambda: echo(f"{counted(count, 'silence')} ended"))
