"""`records receipts` and `records proof`: show auditors what is proved, and verify it against the stored records."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED, completing
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import output_option, time
from actionwatch.cli.output import echo, print_items
from actionwatch.queries import PAGE_SIZE
from actionwatch.text.suggestions import suggest
from actionwatch.text.times import local_times, spell_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.queries.receipts import CheckedReceipt, Checks
    from actionwatch.settings import Settings

COLUMNS = ("from", "to", "source", "method", "records", "kinds", "judged", "proofs", "digest", "check")
_SHORT_DIGEST = 12
_CHECKS = {"same": "same", "differs": "DIFFERS", "expired": "records deleted by retention"}


@click.command("receipts")
@click.option("--source", metavar="NAME", shell_complete=completing.sources, help="Only this source.")
@click.option(
    "--since",
    type=time,
    help="Only windows that end at or after this time: RFC 3339, or a duration before now (7d).",
)
@click.option("--until", type=time, help="Only windows that start at or before this time.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"Maximum number of receipts, newest first.  [default: {PAGE_SIZE}; --verify: all]",
)
@click.option(
    "--verify", "is_verified", is_flag=True, help="Compute each digest again from the stored records, and compare."
)
@output_option
@click.pass_obj
def receipts(
    config: str,
    /,
    source: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    is_verified: bool,
    form: str,
) -> int:
    """List the receipts of proved windows, newest first. A receipt covers the records from `from` to `to`, both included.

    While nothing new happens, further proofs are merged into one receipt: `judged` is the time of the last one.

    --verify lists only the receipts that the stored records do not match, and ends with a summary. It exits with 1 if records
    differ from those that a receipt attests; records that retention deleted are not a difference. JSON lists every receipt.
    """
    from actionwatch.queries.receipts import SAME, Checks
    from actionwatch.store import receipts as store

    most = limit or (None if is_verified else PAGE_SIZE)
    is_summary = is_verified and form == "table"
    with contextlib.ExitStack() as stack:
        settings, connection = stack.enter_context(reading_store(config))
        if is_verified:
            _refuse_unknown(source, settings, connection)
        listed = stack.enter_context(contextlib.closing(store.stream(connection, source, since, until, most)))
        checks = Checks(connection, utc_now() - settings.store.retention.records if is_verified else None)
        found = checks.check_all(listed)
        print_items(
            (each for each in found if each.check != SAME) if is_summary else found,
            form,
            document=lambda each: each.document(),
            columns=COLUMNS if is_verified else COLUMNS[:-1],
            row=_row,
            nothing="" if is_summary else "no receipts",
            cut=("kinds",),
            leave_out=("proofs", "judged", "kinds", "source"),
        )
    _report_differing(checks.differing)
    if is_summary:
        echo(_summary(checks))
    return EXIT_FAILED if checks.differing else 0


def _summary(checks: Checks) -> str:
    """Return how many receipts were verified, of which time, and with which results."""
    counts, span = checks.counts, checks.span
    if span is None:
        return "no receipts to verify"
    differ = counts["differs"]
    results = [
        f"{counts['same']:,} match the stored records",
        f"{differ:,} {'differs' if differ == 1 else 'differ'}",
    ]
    if counts["expired"]:
        results.append(f"{counts['expired']:,} cannot be verified, because retention deleted records")
    when = f"{spell_time(span[0])} to {spell_time(span[1])}"
    return f"verified {counted(counts.total(), 'receipt')}, {when}: {', '.join(results)}"


def _report_differing(differing: Sequence[CheckedReceipt]) -> None:
    for each in differing:
        receipt = each.receipt
        echo(
            f"actionwatch: {receipt.source}, {spell_time(receipt.starts_at)} to {spell_time(receipt.ends_at)}: the "
            f"receipt attests {counted(receipt.record_count, 'record')}, the store has {each.stored_count}: they differ",
            err=True,
        )


def _refuse_unknown(source: str | None, settings: Settings, connection: Connection) -> None:
    """Refuse a name that is neither configured nor in the store: an empty result would look like success."""
    from actionwatch.store import marks

    known = {found.name for found in settings.sources} | marks.read_all(connection).keys()
    if source is not None and source not in known:
        remedy = suggest(source, sorted(known), "the sources are") or f"there are {counted(len(known), 'source')}"
        raise click.UsageError(f"no source is named {source}: {remedy}")


def _row(found: CheckedReceipt) -> tuple[object, ...]:
    receipt = found.receipt
    kinds = ", ".join(f"{kind} {count}" for kind, count in receipt.kind_counts.items())
    window = (receipt.starts_at, receipt.ends_at, receipt.source, receipt.method)
    when = (receipt.judged_at, receipt.proof_count)
    proof = (receipt.record_count, kinds, *when, receipt.digest[:_SHORT_DIGEST])
    return (*window, *proof) if found.check is None else (*window, *proof, _CHECKS[found.check])


@click.command("proof")
@click.option("--source", metavar="NAME", shell_complete=completing.sources, help="Only this source.")
@click.option("--since", type=time, help="Start of the period: RFC 3339, or a duration before now (7d).")
@click.option("--until", type=time, help="End of the period.")
@output_option
@click.pass_obj
def proof(config: str, /, source: str | None, since: datetime | None, until: datetime | None, form: str) -> int:
    """List which stretches of time are proved without a gap and which are not, up to where each source was read.

    What the last poll of a source could not read is listed as not proved. Exits with 1 if any stretch is not proved.
    """
    from actionwatch.service.stretches import read_stretches, read_unread
    from actionwatch.store import marks

    with reading_store(config) as (settings, connection):
        _refuse_unknown(source, settings, connection)
        names = [name for name in marks.read_all(connection) if source in (None, name)]
        found = [
            each
            for name in names
            for each in (
                *read_stretches(connection, name, settings, since, until),
                *read_unread(connection, name, since, until),
            )
        ]
    print_items(
        found,
        form,
        document=lambda one: {
            "source": one.source,
            "from": one.start,
            "to": one.end,
            "is_proved": one.is_proved,
            "why": one.why or None,
        },
        columns=("source", "from", "to", "proved", "why not"),
        row=lambda one: (one.source, one.start, one.end, "yes" if one.is_proved else "NO", local_times(one.why)),
        nothing="no source was read yet",
        cut=("why not",),
    )
    return 0 if all(stretch.is_proved for stretch in found) else EXIT_FAILED
