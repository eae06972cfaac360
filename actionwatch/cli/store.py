"""`store`: upgrade, copy, verify, prune, back up and restore the store."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import ConfigError, StoreMissing
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import changing_store, open_reader, read_settings
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_document, print_table, progress_bar, spell
from actionwatch.text.times import spell_time

if TYPE_CHECKING:
    from actionwatch.store.seal_checking import StoreVerification
    from actionwatch.store.seals import Head

_HEAD = re.compile("([0-9]{1,18}):([0-9a-f]{64})")

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


def _head(_: click.Context, __: click.Parameter, value: str | None) -> Head | None:
    """Parse a head. Raises: click.BadParameter."""
    from actionwatch.store.seals import Head

    if value is None:
        return None
    found = _HEAD.fullmatch(value.strip())
    if found is None:
        raise click.BadParameter(
            f"{value[:80]!r} is not a head: write the number of a seal, a colon and its digest, as 'store verify' prints them"
        )
    return Head(int(found[1]), found[2])


@command.command("verify")
@click.option(
    "--head",
    "noted",
    metavar="N:DIGEST",
    callback=_head,
    help="A head that was kept elsewhere: it must be part of the chain.",
)
@output_option
@click.pass_obj
def verify(config: str, noted: Head | None, form: str) -> int:
    """Compare all records, receipts, decisions, alerts, deliveries, silences and rule versions with the chain of seals.

    The service seals rows within seconds after it writes them, and receipts within minutes. The command names each sealed row
    that another program changed or deleted, each alert, delivery, silence, token and running rule that is not the last version
    in its history, each row that was added among sealed ones, and each seal that was changed. It reads a consistent state of
    the store; the service may run. Rows that retention deleted are not a difference.

    It also compares tables, indexes, triggers and views with what this version creates. Like every command, it refuses a store
    with a trigger, rule or unique index that another program added, because that can hold back what actionwatch writes. Other
    additions are named, and are no difference.

    Anyone who can write to the store can also compute the whole chain again. Only a head that was kept elsewhere reveals this:
    it is in the output of this command and of 'status -o json', in the log (store_sealed), and in evidence bundles.

    Exits with 1 if anything differs, and names the first 20 differences.
    """
    from actionwatch.store.seal_checking import check

    with open_reader(config) as (_, store), store.read() as connection, progress_bar() as bar:
        task = bar.add_task("verifying", total=None) if bar else None

        def show(done: int, total: int) -> None:
            if bar and task is not None:
                bar.update(task, completed=done, total=total)

        checked = check(connection, noted, show)
        additions = store.find_additions(connection)
    document = {
        "agrees": not checked.difference_count,
        "tables": {
            table.name: {"sealed": table.sealed, "unsealed": table.unsealed, "removed": table.removed}
            for table in checked.tables
        },
        "seals": checked.seal_count,
        "from": checked.oldest and checked.oldest.at,
        "to": checked.head and checked.head.at,
        "head": str(checked.head) if checked.head else None,
        "difference_count": checked.difference_count,
        "additions": additions,
        "differences": [{"table": each.table, "key": each.key, "what": each.what} for each in checked.differences],
    }
    print_document(document, form, as_text=lambda: _print(checked, additions))
    return EXIT_FAILED if checked.difference_count else 0


def _print(checked: StoreVerification, additions: Sequence[str]) -> None:
    rows = [
        (each.name, each.sealed, each.unsealed, "" if each.removed is None else each.removed) for each in checked.tables
    ]
    print_table(("table", "sealed", "not sealed yet", "removed"), rows)
    if checked.head is None or checked.oldest is None or checked.head.at is None or checked.oldest.at is None:
        echo("there is no seal yet: 'actionwatch run' creates them")
    else:
        span = f"{spell_time(checked.oldest.at)} to {spell_time(checked.head.at)}"
        echo(f"{counted(checked.seal_count, 'seal')}, {span}; head {checked.head}")
    if additions:
        echo(f"not created by actionwatch, and without effect on what it writes: {', '.join(additions)}")
    for difference in checked.differences:
        echo(f"{f'{difference.table} {difference.key}'.strip()}: {difference.what}", err=True)
    if checked.difference_count > len(checked.differences):
        echo(f"and {checked.difference_count - len(checked.differences):,} more", err=True)
    if checked.difference_count:
        echo(
            f"{counted(checked.difference_count, 'difference')}: keep a copy of the store and of the log; docs/proof.md",
            err=True,
        )
    else:
        echo("everything agrees")


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
