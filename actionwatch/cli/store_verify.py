"""`store verify`: compare the store with the evidence outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import EvidenceError
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED, completing
from actionwatch.cli.context import read_settings_to_act
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_document, progress_bar, spell
from actionwatch.text.times import spell_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.settings import Settings, Stream
    from actionwatch.streams.drivers.files import Options
    from actionwatch.streams.evidence import Comparison


@click.command("verify")
@click.option(
    "--against",
    metavar="FOLDER",
    required=True,
    shell_complete=completing.files,
    help="Compare the store with the evidence in this folder, or in s3://bucket/prefix.",
)
@output_option
@click.pass_obj
def verify(config: str, against: str, form: str) -> int:
    """Compare the store with the evidence outside: what a stream of the type files with `what: everything` wrote.

    The command names each record, decision, alert and silence that the store has not, has in addition, or has differently, and
    each day whose sums do not chain; then, for each source, the time through which both agree. A bucket is read with the keys
    of the stream that writes it, or with those of the environment. Rows that retention may have deleted are counted, and are
    no difference.

    It also names tables, indexes, triggers and views that another program added to the store. It reads one state of the store;
    the service may run. 'records receipts --verify' compares the records with the proofs. Exits with 1 if anything differs.

    \b
    actionwatch store verify --against /srv/evidence
    actionwatch store verify --against s3://audit/actionwatch
    """
    from actionwatch.service.prune import forgotten_before
    from actionwatch.store.database import StoreReader

    settings = read_settings_to_act(config)
    with closing(StoreReader.open(settings.store.url)) as store, store.read() as connection, progress_bar() as bar:
        task = bar.add_task("verifying", total=None) if bar else None

        def show(done: int, total: int) -> None:
            if bar and task is not None:
                bar.update(task, completed=done, total=total)

        kept_since = forgotten_before(connection, settings.store.retention, utc_now())
        found = _compare(connection, settings, against, kept_since, show)
        additions = store.find_additions(connection)
    document = {"agrees": not found.differences, "against": against, "additions": additions, **asdict(found)}
    print_document(document, form, as_text=lambda: _print(found, additions))
    return EXIT_FAILED if found.differences else 0


def _compare(
    connection: Connection, settings: Settings, against: str, kept_since: datetime, show: Callable[[int, int], object]
) -> Comparison:
    from actionwatch.streams import evidence
    from actionwatch.streams.drivers import files

    options, stream = _options(settings, against)
    storage = files.open_storage(options)
    storage.check()
    try:
        days = evidence.list_days(storage)
        stated = _stated(connection, stream) if stream is not None else {}
        return evidence.compare(connection, storage, days, kept_since=kept_since, stated=stated, show=show)
    except EvidenceError as exc:
        raise EvidenceError(f"{against}: {exc}") from exc


def _options(settings: Settings, against: str) -> tuple[Options, Stream | None]:
    """Return how the folder or the bucket is read, and the stream of the configuration that writes it, if there is one."""
    from pydantic import ValidationError

    from actionwatch.streams.drivers import files

    url = against if "://" in against else Path(against).absolute().as_uri()
    for stream in settings.streams:
        if isinstance(stream.options, files.Options) and stream.options.url.rstrip("/") == url.rstrip("/"):
            return stream.options, stream
    try:
        return files.Options.model_validate({"url": url}, context={"folder": Path()}), None
    except ValidationError as exc:
        what = exc.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(what, param_hint="--against") from exc


def _stated(connection: Connection, stream: Stream) -> Mapping[str, datetime]:
    """Return through when a stream has written each source; nothing while statements of it wait to be sent."""
    from actionwatch.store import streams

    if streams.read_waiting(connection, stream.name, 1):
        return {}
    return {source: mark.complete_through for source, mark in streams.read_marks(connection, stream.name).items()}


def _print(found: Comparison, additions: Sequence[str]) -> None:
    compared = (
        counted(found.record_count, "record"),
        counted(found.decision_count, "decision"),
        counted(found.alert_count, "alert"),
        counted(found.silence_count, "silence"),
    )
    echo(f"{counted(found.day_count, 'day')}, {found.first_day} to {found.last_day}: compared {', '.join(compared)}")
    if found.expired_count:
        echo(f"{counted(found.expired_count, 'row')} of the folder: older than store.retention.records")
    if found.changed_count:
        echo(
            f"{counted(found.changed_count, 'alert or silence', 'alerts or silences')} changed since the folder was written"
        )
    for source, through in sorted(found.through.items()):
        echo(f"{spell(source)}: the store and the folder agree through {spell_time(through)}")
    if additions:
        echo(f"not created by actionwatch, and without effect on what it writes: {', '.join(additions)}")
    for each in found.differences:
        at = [spell_time(each.at)] if each.at and each.table != "day" else []
        place = [each.table, *([each.source] if each.source else []), *at, each.key]
        echo(spell(f"{' '.join(place)}: {each.what}"), err=True)
    if found.differences:
        remedy = "keep a copy of the store, of the folder and of the log; docs/proof.md"
        echo(f"{counted(len(found.differences), 'difference')}: {remedy}", err=True)
    else:
        echo("everything agrees")
