"""`store`: upgrade, copy, back up and restore the store."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from actionwatch.base.clock import utc_now
from actionwatch.cli.context import read_settings
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_document, progress_bar

command = click.Group(help="Upgrade, copy, back up and restore the store.")


@command.command("upgrade")
@output_option
@click.pass_obj
def upgrade(config: str, form: str) -> None:
    """Upgrade the schema of the store to that of this version.

    A store in PostgreSQL needs this after each installation of a version with a newer schema: 'run' refuses the older one. A
    file of SQLite is upgraded by 'run'. Replicas of the version before continue, unless the new schema excludes them: then
    this is refused until all are stopped. Back up the store first.
    """
    from actionwatch.store.database import SCHEMA_VERSION, Database, StoreReader

    url = read_settings(config).store.url
    StoreReader.open(url, is_older_accepted=True).close()  # creates nothing
    with contextlib.closing(Database(url)) as database:
        with contextlib.nullcontext() if database.is_shared else database.joined():
            before = database.upgrade()
        name = database.name
    if before == SCHEMA_VERSION:
        text = f"{name}: has schema {before}, nothing to upgrade"
    elif before is not None and before > SCHEMA_VERSION:
        text = f"{name}: has the newer schema {before}, which this version can use: nothing to upgrade"
    else:
        text = f"{name}: upgraded from schema {before} to {SCHEMA_VERSION}"
    document = {"store": name, "before": before, "schema": max(before or "", SCHEMA_VERSION)}
    print_document(document, form, as_text=lambda: echo(text))


@command.command("copy")
@click.argument("origin", metavar="SQLITE-URL")
@click.argument("target", metavar="POSTGRESQL-URL")
@output_option
def copy(origin: str, target: str, form: str) -> None:
    """Copy a store from a SQLite file into an empty database in PostgreSQL, while no service runs on either.

    A copy that was interrupted continues when the command is repeated. At the end, all rows of both stores are compared: the
    command prints the number of rows and a digest of each table. Until then, no service starts on the copy.

    \b
    actionwatch store copy sqlite:///actionwatch.db postgresql+psycopg://actionwatch@db.example.com/actionwatch
    """
    from actionwatch.store.copying import copy_store

    source_url, target_url = _checked(origin, "sqlite"), _checked(target, "postgresql")
    with progress_bar() as bar:
        task = bar.add_task("copying", total=None) if bar else None

        def show(done: int, total: int) -> None:
            if bar and task is not None:
                bar.update(task, completed=done, total=total)

        tables = copy_store(source_url, target_url, show)
    row_count = sum(table.row_count for table in tables)
    lines = [f"{table.name:24} {table.row_count:>12,} rows  sha256:{table.digest}" for table in tables]
    lines.append(f"copied and compared {row_count:,} rows of {len(tables)} tables: the copy is equal to {origin}")
    lines.append(f"next: set store.url to {target}, and start no service on the file again")
    document = {"from": origin, "to": target, "rows": row_count, "tables": [table._asdict() for table in tables]}
    print_document(document, form, as_text=lambda: echo("\n".join(lines)))


def _checked(url: str, kind: str) -> str:
    """Return the URL of a store of this kind, as in the configuration. Raises: click.BadParameter."""
    from pydantic import ValidationError

    from actionwatch.settings.keys import Store

    name = f"{kind.upper()}-URL"
    if not url.startswith(kind):
        raise click.BadParameter(f"not the URL of a store in {kind}", param_hint=name)
    try:
        return Store(url=url).url
    except ValidationError as exc:
        raise click.BadParameter(exc.errors()[0]["msg"].removeprefix("Value error, "), param_hint=name) from exc


@command.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@output_option
@click.pass_obj
def backup(config: str, target: Path, form: str) -> None:
    """Write a copy of the store to FILE, also while the service runs.

    The copy has one state of the store and is checked. Only its owner can read it. FILE must not exist.

    \b
    actionwatch store backup /backup/actionwatch-$(date +%F).db
    """
    from actionwatch.store.backup import write_backup

    write_backup(read_settings(config).store.url, target)
    size = target.stat().st_size
    print_document({"file": str(target), "bytes": size}, form, as_text=lambda: echo(f"{target}: {size:,} bytes"))


@command.command("restore")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--replace", "is_replacing", is_flag=True, help="Keep the present store under another name.")
@output_option
@click.pass_obj
def restore(config: str, source: Path, is_replacing: bool, form: str) -> None:
    """Put a copy of the backup FILE at store.url, while no service runs.

    If a store is there, it is refused without --replace. The next 'actionwatch run' upgrades an older schema, and reads
    from the upstream what happened since the backup. Alerts of that time keep their ids and are sent again.
    """
    from actionwatch.store import backup

    store = read_settings(config).store
    kept = backup.restore(store.url, source, utc_now(), is_replacing=is_replacing)
    document = {"store": str(store.path), "from": str(source), "kept": str(kept) if kept else None}
    text = f"{store.path}: restored from {source}" + (f"; the store that was there is now {kept}" if kept else "")
    print_document(document, form, as_text=lambda: echo(text))
