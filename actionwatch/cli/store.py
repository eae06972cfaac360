"""`store`: upgrade, copy, verify, prune, back up and restore the store."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import ConfigError, StoreMissing
from actionwatch.cli.context import changing_store, read_settings
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_document, print_table, progress_bar, spell
from actionwatch.cli.store_verify import verify

command = click.Group(help="Upgrade, copy, verify, prune, back up and restore the store.")


@command.command("upgrade")
@output_option
@click.pass_obj
def upgrade(config: str, form: str) -> None:
    """Upgrade the schema of the store to that of this version.

    A store in PostgreSQL needs this after each installation of a version with a newer schema: 'run' refuses the older one.
    In an empty database, it creates the tables. 'run' upgrades a SQLite file. Replicas of the previous version continue, and
    can restart, unless they cannot use the new schema: then the command is refused until all of them are stopped. Back up
    the store first.
    """
    from actionwatch.store.backend import backend_of
    from actionwatch.store.database import Database, StoreReader
    from actionwatch.store.revision import SCHEMA_VERSION

    url = read_settings(config).store.url
    try:
        StoreReader.open(url, is_older_accepted=True).close()  # creates nothing
    except StoreMissing:
        if not backend_of(url).is_shared:
            raise
    with contextlib.closing(Database(url)) as database:
        with contextlib.nullcontext() if database.is_shared else database.joined():
            before = database.upgrade()
        name = database.name
    if before is None:
        text = f"{name}: was empty, created with schema {SCHEMA_VERSION}"
    elif before == SCHEMA_VERSION:
        text = f"{name}: has schema {before}, nothing to upgrade"
    elif before > SCHEMA_VERSION:
        text = f"{name}: has the newer schema {before}, which this version can use: nothing to upgrade"
    else:
        text = f"{name}: upgraded from schema {before} to {SCHEMA_VERSION}"
    document = {"store": name, "before": before, "schema": max(before or "", SCHEMA_VERSION)}
    print_document(document, form, as_text=lambda: echo(spell(text)))


@command.command("copy")
@click.argument("origin", metavar="SQLITE-URL")
@click.argument("target", metavar="POSTGRESQL-URL")
@click.option("--insecure", is_flag=True, help="Accept a server on another host without TLS, as store.insecure does.")
@output_option
def copy(origin: str, target: str, insecure: bool, form: str) -> None:
    """Copy a store from a SQLite file into an empty database in PostgreSQL, while no service runs on either.

    A copy that was interrupted continues when the command is repeated. At the end, all rows of both stores are compared: the
    command prints the number of rows and a digest of each table. Until then, no service starts on the copy.

    \b
    actionwatch store copy sqlite:///actionwatch.db \
      'postgresql+psycopg://actionwatch@db.example.com/actionwatch?sslmode=verify-full&sslrootcert=system'
    """
    from actionwatch.store.copying import copy_store

    source_url, target_url = _checked(origin, "sqlite"), _checked(target, "postgresql", is_insecure=insecure)
    with progress_bar() as bar:
        task = bar.add_task("copying", total=None) if bar else None

        def show(done: int, total: int) -> None:
            if bar and task is not None:
                bar.update(task, completed=done, total=total)

        tables = copy_store(source_url, target_url, show)
    row_count = sum(table.row_count for table in tables)
    lines = [f"{table.name:24} {table.row_count:>12,} rows  sha256:{table.digest}" for table in tables]
    lines.append(
        f"copied and compared {row_count:,} rows of {len(tables)} tables: the copy is equal to {spell(origin)}"
    )
    lines.append(f"next: set store.url to {spell(target)}, and start no service on the file again")
    document = {"from": origin, "to": target, "rows": row_count, "tables": [table._asdict() for table in tables]}
    print_document(document, form, as_text=lambda: echo("\n".join(lines)))


def _checked(url: str, kind: str, *, is_insecure: bool = False) -> str:
    """Return the URL of a store of this kind, as in the configuration. Raises: click.BadParameter."""
    from pydantic import ValidationError

    from actionwatch.settings.keys import Store

    name = f"{kind.upper()}-URL"
    if not url.startswith(kind):
        raise click.BadParameter(f"not the URL of a store in {kind}", param_hint=name)
    try:
        return Store(insecure=is_insecure, url=url).url
    except ValidationError as exc:
        raise click.BadParameter(exc.errors()[0]["msg"].removeprefix("Value error, "), param_hint=name) from exc


command.add_command(verify)


@command.command("prune")
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, and delete nothing.")
@output_option
@click.pass_obj
def prune(config: str, dry_run: bool, form: str) -> None:
    """Delete what is older than store.retention now.

    A running service does this every hour, and 'run --once' in its first round of each day (UTC). What alerts, polls or rules
    still need stays. --dry-run deletes in a copy, so that no service waits: of a SQLite file in the folder TMPDIR, which needs
    room for it; of a database in temporary tables.
    """
    from actionwatch.service import configuration
    from actionwatch.service.prune import apply_retention, foresee

    with changing_store(config) as (settings, database):
        rules = configuration.read_rules(settings)
        if rules.faults:  # it is unknown how far back a broken rule looks
            raise ConfigError(*rules.faults)
        if dry_run:
            deleted = foresee(database, settings, rules.rules, utc_now())
        else:
            deleted = apply_retention(database, settings, lambda: rules.rules, utc_now)
    document = {"dry_run": dry_run, "deleted": deleted}
    print_document(document, form, as_text=lambda: _print_deleted(deleted, is_undone=dry_run))


def _print_deleted(deleted: Mapping[str, int], *, is_undone: bool) -> None:
    rows = [(name.replace("_", " "), f"{count:,}") for name, count in deleted.items() if count]
    if not rows:
        echo("nothing to delete: nothing is older than store.retention, or it is still needed")
        return
    print_table(("what", "rows"), rows)
    echo("nothing was deleted: these rows would be" if is_undone else "deleted")


@command.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@output_option
@click.pass_obj
def backup(config: str, target: Path, form: str) -> None:
    """Write a copy of the store to FILE. The service may run.

    The copy is consistent, and the command checks it. Only its owner can read it. FILE must not exist.

    \b
    actionwatch store backup /backup/actionwatch-$(date +%F).db
    """
    from actionwatch.store.backup import write_backup

    write_backup(read_settings(config).store.url, target)
    size = target.stat().st_size
    print_document({"file": str(target), "bytes": size}, form, as_text=lambda: echo(f"{spell(target)}: {size:,} bytes"))


@command.command("restore")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--replace", "is_replacing", is_flag=True, help="Keep the present store under another name.")
@output_option
@click.pass_obj
def restore(config: str, source: Path, is_replacing: bool, form: str) -> None:
    """Put a copy of the backup FILE at store.url, while no service runs.

    If a store exists there, the command is refused without --replace. The next 'actionwatch run' upgrades an older schema, and
    reads from the upstream what happened since the backup. Alerts of that time keep their ids and are sent again.
    """
    from actionwatch.store import backup

    store = read_settings(config).store
    kept = backup.restore(store.url, source, utc_now(), is_replacing=is_replacing)
    document = {"store": str(store.path), "from": str(source), "kept": str(kept) if kept else None}
    text = f"{store.path}: restored from {source}" + (f"; the store that was there is now {kept}" if kept else "")
    print_document(document, form, as_text=lambda: echo(spell(text)))
