"""`records receipts` and `records proof`: show auditors what is proved, and verify it against the stored records."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED, completing
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import output_option, time
from actionwatch.cli.output import echo, print_items
from actionwatch.text.times import local_times, spell_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.settings import Settings
    from actionwatch.store.receipts import WindowReceipt

LIMIT = 50
COLUMNS = ("from", "to", "source", "method", "records", "kinds", "judged", "proofs", "digest", "check")
_SHORT_DIGEST = 12
SAME, DIFFERENT, EXPIRED = "same", "differs", "expired"
_CHECKS = {SAME: "same", DIFFERENT: "DIFFERS", EXPIRED: "records deleted by retention"}


@dataclass(frozen=True, slots=True)
class _CheckedReceipt:
    """A receipt, the result of its check (None if not requested), and the number of stored records that it covers."""

    receipt: WindowReceipt
    check: str | None = None
    stored_count: int = 0


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
    help=f"Maximum number of receipts, newest first.  [default: {LIMIT}; --verify: all]",
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
    from actionwatch.store import receipts as store

    results = _Results()
    most = limit or (None if is_verified else LIMIT)
    with contextlib.ExitStack() as stack:
        settings, connection = stack.enter_context(reading_store(config))
        if is_verified:
            _refuse_unknown(source, settings, connection)
        listed = stack.enter_context(contextlib.closing(store.stream(connection, source, since, until, most)))
        found = results.of(
            _check(connection, each, settings) if is_verified else _CheckedReceipt(each) for each in listed
        )
        is_summary = is_verified and form == "table"
        print_items(
            (each for each in found if each.check != SAME) if is_summary else found,
            form,
            document=_document,
            columns=COLUMNS if is_verified else COLUMNS[:-1],
            row=_row,
            nothing="" if is_summary else "no receipts",
            cut=("kinds",),
            leave_out=("proofs", "judged", "kinds", "source"),
        )
    _report_differing(results.differing)
    if is_summary:
        echo(results.summary())
    return EXIT_FAILED if results.differing else 0


class _Results:
    """The results of the checks, without the receipts that do not differ: there may be millions."""

    def __init__(self) -> None:
        self._counts: Counter[str | None] = Counter()
        self._begins, self._ends = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
        self.differing: list[_CheckedReceipt] = []

    def of(self, found: Iterable[_CheckedReceipt]) -> Iterator[_CheckedReceipt]:
        """Yield the same receipts, and note the result of each."""
        for each in found:
            self._counts[each.check] += 1
            self._begins = min(self._begins, each.receipt.starts_at)
            self._ends = max(self._ends, each.receipt.ends_at)
            if each.check == DIFFERENT:
                self.differing.append(each)
            yield each

    def summary(self) -> str:
        """Return how many receipts were verified, of which time, and with which results."""
        counts, count = self._counts, self._counts.total()
        if not count:
            return "no receipts to verify"
        results = [
            f"{counts[SAME]:,} match the stored records",
            f"{counts[DIFFERENT]:,} {'differs' if counts[DIFFERENT] == 1 else 'differ'}",
        ]
        if counts[EXPIRED]:
            results.append(f"{counts[EXPIRED]:,} cannot be verified, because retention deleted records")
        span = f"{spell_time(self._begins)} to {spell_time(self._ends)}"
        return f"verified {counted(count, 'receipt')}, {span}: {', '.join(results)}"


def _report_differing(differing: Sequence[_CheckedReceipt]) -> None:
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
        raise click.UsageError(f"no source is named {source}: the sources are {', '.join(sorted(known))}")


def _check(connection: Connection, receipt: WindowReceipt, settings: Settings) -> _CheckedReceipt:
    from actionwatch.store import receipts as store

    again = store.recompute(connection, receipt)
    if again == receipt:
        return _CheckedReceipt(receipt, SAME, again.record_count)
    is_expired = receipt.starts_at < utc_now() - settings.store.retention.records
    return _CheckedReceipt(receipt, EXPIRED if is_expired else DIFFERENT, again.record_count)


def _document(found: _CheckedReceipt) -> dict[str, Any]:
    receipt = found.receipt
    document: dict[str, Any] = {
        "source": receipt.source,
        "from": receipt.starts_at,
        "to": receipt.ends_at,
        "first_judged_at": receipt.first_judged_at,
        "judged_at": receipt.judged_at,
        "proofs": receipt.proof_count,
        "method": receipt.method,
        "records": receipt.record_count,
        "kinds": dict(receipt.kind_counts),
        "requests": receipt.request_count,
        "digest": receipt.digest,
    }
    return document if found.check is None else {**document, "check": found.check}


def _row(found: _CheckedReceipt) -> tuple[object, ...]:
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
