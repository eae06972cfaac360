"""`records receipts` and `records proof`: show auditors what is proved, and verify it against the stored records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED, completing
from actionwatch.cli.context import reading_store
from actionwatch.cli.options import output_option, time
from actionwatch.cli.output import echo, print_items
from actionwatch.tail.cursor import EDGE
from actionwatch.tail.planning import overdue_windows
from actionwatch.text.times import local_times, spell_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.settings import Settings
    from actionwatch.store.marks import Marks
    from actionwatch.store.receipts import WindowReceipt

LIMIT = 50
COLUMNS = ("from", "to", "source", "method", "records", "kinds", "judged", "proofs", "digest", "check")
SHORT_DIGEST = 12
SAME, DIFFERENT, EXPIRED = "same", "differs", "expired"
CHECKS = {SAME: "same", DIFFERENT: "DIFFERS", EXPIRED: "records deleted by retention"}


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
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
    differ from those that a receipt attests; records that retention deleted are no difference. JSON lists every receipt.
    """
    from actionwatch.store import receipts as store

    with reading_store(config) as (settings, connection):
        if is_verified:
            _refuse_unknown(source, settings, connection)
        listed = list(store.stream(connection, source, since, until, limit or (None if is_verified else LIMIT)))
        found = [_check(connection, each, settings) if is_verified else CheckedReceipt(each) for each in listed]
    is_summary = is_verified and form == "table"
    print_items(
        [each for each in found if each.check != SAME] if is_summary else found,
        form,
        document=_document,
        columns=COLUMNS if is_verified else COLUMNS[:-1],
        row=_row,
        nothing="" if is_summary else "no receipts",
        cut=("kinds",),
        leave_out=("proofs", "judged", "kinds", "source"),
    )
    differing = [each for each in found if each.check == DIFFERENT]
    _report_differing(differing)
    if is_summary:
        echo(_summary(found))
    return EXIT_FAILED if differing else 0


def _report_differing(differing: Sequence[CheckedReceipt]) -> None:
    for each in differing:
        receipt = each.receipt
        echo(
            f"actionwatch: {receipt.source}, {spell_time(receipt.starts_at)} to {spell_time(receipt.ends_at)}: the "
            f"receipt attests {counted(receipt.record_count, 'record')}, the store has {each.stored_count}: they differ",
            err=True,
        )


def _summary(found: Sequence[CheckedReceipt]) -> str:
    """Return how many receipts were verified, of which time, and with which results."""
    if not found:
        return "no receipts to verify"
    begins, ends = min(each.receipt.starts_at for each in found), max(each.receipt.ends_at for each in found)
    checks = Counter(each.check for each in found)
    results = [
        f"{checks[SAME]:,} match the stored records",
        f"{checks[DIFFERENT]:,} {'differs' if checks[DIFFERENT] == 1 else 'differ'}",
    ]
    if checks[EXPIRED]:
        results.append(f"{checks[EXPIRED]:,} cannot be verified, because retention deleted records")
    return (
        f"verified {counted(len(found), 'receipt')}, {spell_time(begins)} to {spell_time(ends)}: {', '.join(results)}"
    )


def _refuse_unknown(source: str | None, settings: Settings, connection: Connection) -> None:
    """Refuse a name that is neither configured nor in the store: an empty result would look like success."""
    from actionwatch.store import marks

    known = {found.name for found in settings.sources} | marks.read_all(connection).keys()
    if source is not None and source not in known:
        raise click.UsageError(f"no source is named {source}: the sources are {', '.join(sorted(known))}")


def _check(connection: Connection, receipt: WindowReceipt, settings: Settings) -> CheckedReceipt:
    from actionwatch.store import receipts as store

    again = store.recompute(connection, receipt)
    if again == receipt:
        return CheckedReceipt(receipt, SAME, again.record_count)
    is_expired = receipt.starts_at < utc_now() - settings.store.retention.records
    return CheckedReceipt(receipt, EXPIRED if is_expired else DIFFERENT, again.record_count)


def _document(found: CheckedReceipt) -> dict[str, Any]:
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


def _row(found: CheckedReceipt) -> tuple[object, ...]:
    receipt = found.receipt
    kinds = ", ".join(f"{kind} {count}" for kind, count in receipt.kind_counts.items())
    window = (receipt.starts_at, receipt.ends_at, receipt.source, receipt.method)
    when = (receipt.judged_at, receipt.proof_count)
    proof = (receipt.record_count, kinds, *when, receipt.digest[:SHORT_DIGEST])
    return (*window, *proof) if found.check is None else (*window, *proof, CHECKS[found.check])


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a source's time that is proved without a gap, or that is not proved, with the reason."""

    source: str
    start: datetime
    end: datetime
    is_proved: bool
    why: str = ""


@click.command("proof")
@click.option("--source", metavar="NAME", shell_complete=completing.sources, help="Only this source.")
@click.option("--since", type=time, help="Start of the time: RFC 3339, or a duration before now (7d).")
@click.option("--until", type=time, help="End of the time.")
@output_option
@click.pass_obj
def proof(config: str, /, source: str | None, since: datetime | None, until: datetime | None, form: str) -> int:
    """List which stretches of time are proved without a gap and which are not, up to where each source was read.

    Exits with 1 if any of them is not proved.
    """
    from actionwatch.store import marks

    with reading_store(config) as (settings, connection):
        _refuse_unknown(source, settings, connection)
        names = [name for name in marks.read_all(connection) if source in (None, name)]
        whole = [stretch for name in names for stretch in _stretches(connection, name, settings)]
    found = [clipped for stretch in whole if (clipped := _clip(stretch, since, until)) is not None]
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


def _stretches(connection: Connection, source: str, settings: Settings) -> list[Stretch]:
    """Return the stretches of a source, oldest first, from its beginning or the retention of receipts to where it was read.

    Time that a receipt covers is not proved if a later reading failed, or if a sweep that should check it is overdue.
    """
    from actionwatch.store import marks, receipts, self_alerts

    known = marks.read_all(connection)[source]
    lagging = {
        found.subject: found.what for found in self_alerts.read_all(connection) if found.trouble == "proof_lagging"
    }
    why = lagging.get(source, "read, but not proved")
    at = max(known.begins_at, utc_now() - settings.store.retention.receipts)
    doubts = list(_doubts(connection, source, known, settings))
    found: list[Stretch] = []
    for start, end in receipts.spans(connection, [source, *marks.former_names(connection, source)]):
        if end <= at:
            continue
        if start - at > EDGE:
            found.append(Stretch(source, at, start, is_proved=False, why=why))
        found += _without(Stretch(source, max(at, start), end, is_proved=True), doubts)
        at = end
    if known.seen_through - at > EDGE:
        found.append(Stretch(source, at, known.seen_through, is_proved=False, why=why))
    return sorted([*found, *doubts], key=lambda stretch: stretch.start)


def _doubts(connection: Connection, source: str, known: Marks, settings: Settings) -> Iterator[Stretch]:
    """Find the windows that could not be proved when they were read again, or whose sweep was overdue at the last poll."""
    from actionwatch.store import polls, sweeps, unproved_windows

    for doubt in unproved_windows.read(connection, source):
        if doubt.failure_count:
            yield Stretch(source, doubt.starts_at, doubt.ends_at, is_proved=False, why=doubt.why)
    configured = next((each for each in settings.sources if each.name == source), None)
    poll = polls.read_all(connection).get(source)
    if configured is None or poll is None:
        return
    asked, now = sweeps.read(connection, source), poll.last_poll_at + poll.clock_skew
    overdue = overdue_windows(configured.sweeps, known.mark - configured.overlap, known.begins_at, asked, now)
    for reach, window in overdue:
        why = f"not checked for late records since {asked[reach]:%Y-%m-%dT%H:%M:%SZ}"
        yield Stretch(source, window.start, window.end, is_proved=False, why=why)


def _without(stretch: Stretch, doubts: Sequence[Stretch]) -> list[Stretch]:
    """Cut unproved windows out of a stretch."""
    left, start = list[Stretch](), stretch.start
    for doubt in sorted(doubts, key=lambda doubt: doubt.start):
        if start < doubt.start < stretch.end:
            left.append(replace(stretch, start=start, end=doubt.start))
        start = max(start, doubt.end)
    return [*left, replace(stretch, start=start)] if start < stretch.end else left


def _clip(stretch: Stretch, since: datetime | None, until: datetime | None) -> Stretch | None:
    start = max(stretch.start, since) if since else stretch.start
    end = min(stretch.end, until) if until else stretch.end
    return replace(stretch, start=start, end=end) if start < end else None
