"""Write an evidence bundle: everything that the store knows about a time, with the proof that it is complete."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from actionwatch import __version__
from actionwatch.base.errors import BundleError
from actionwatch.base.files import draft_beside, give_name
from actionwatch.base.model import Level, Stretch
from actionwatch.service.stretches import read_stretches
from actionwatch.settings import Settings
from actionwatch.store import evidence, marks, rule_history, seals
from actionwatch.tail.cursor import EDGE
from actionwatch.text.bundle import FORMAT, PROOF, RECEIPTS, RECORDS, BundleWriter
from actionwatch.text.payloads import instant

_GAPS_NAMED = 5  # in a statement
_README = """\
This is an evidence bundle of actionwatch: the records of an audit log in a time, and the proof that they are complete.

Verify it in this folder:

  sha256sum -c SHA256SUMS
  openssl pkeyutl -verify -pubin -inkey PUBLIC-KEY.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig

The second command needs the public key of whoever signed the bundle, from a source that you trust. SHA256SUMS.sig is missing if
it is not signed: then the first command shows only that nothing was damaged by accident.
`actionwatch verify-bundle FILE --key PUBLIC-KEY.pem` does both, and checks the receipts against the records.

manifest.json        the time, the sources, and what is proved; the digest and the size of each part; `head` is the newest
                     seal of the store, for `actionwatch store verify --head`
records.jsonl        the records with the text of the upstream (raw), in the order of their keys
receipts.jsonl       the proof of each window; `digest` is SHA-256 over its record keys, one per line
proof.jsonl          which stretches of time are proved, and why others are not
rule_versions.jsonl  what each rule did, with its YAML, from a time of action on
alerts.jsonl, alert_records.jsonl, alert_history.jsonl, deliveries.jsonl, silences.jsonl
                     the alerts of the time, their records, what happened to them, who decided, and which messages were sent
digests.txt          SHA-256 of each line, which shows the line if a part was changed
"""


@dataclass(frozen=True, slots=True)
class SourceProof:
    """The proof of one source in the time of a bundle."""

    source: str
    is_proved: bool
    proved_seconds: float
    statement: str


@dataclass(frozen=True, slots=True)
class Written:
    """The summary of a bundle: the digest of its sums, its time, the numbers of records and receipts, and its proofs.

    `outside_count` records happened before or after its time: a receipt is verified with all records of its window.
    """

    digest: str
    since: datetime
    until: datetime
    record_count: int
    outside_count: int
    receipt_count: int
    proof: tuple[SourceProof, ...]


def write_bundle(
    connection: Connection,
    settings: Settings,
    target: Path,
    since: datetime,
    until: datetime | None,
    sign: Callable[[bytes], bytes] | None,
) -> Written:
    """Write what the store knows about a time, at most to where each source was read, into a new file (mode 0600).

    The same store and time give the same bytes. `connection` is one transaction, which sees one state.
    Raises: BundleError, if nothing was read in that time, records of it were deleted, or the file cannot be written.
    """
    known = marks.read_all(connection)
    if not known:
        raise BundleError("no source was read yet: there is nothing to export")
    configured = [known[source.name] for source in settings.sources if source.name in known]
    seen = min(each.seen_through for each in configured or known.values())
    until = min(until, seen) if until else seen
    if since >= until:
        raise BundleError(
            f"nothing was read after {instant(since)}: the sources are read up to {instant(seen)}; use an earlier --since"
        )
    whole = evidence.whole_from(connection, seen - settings.store.retention.records)
    if whole is not None and since < whole:
        raise BundleError(
            f"retention deleted records of this time, so that their receipts prove nothing: use --since {instant(whole)} "
            "or later, and set a longer store.retention.records for the next export"
        )
    stretches = [each for name in known for each in read_stretches(connection, name, settings, since, until)]
    proof = tuple(prove(name, stretches, since, until) for name in known)
    try:
        with draft_beside(target) as draft, tempfile.TemporaryDirectory(dir=target.parent) as folder:
            written = _write(connection, Path(folder), draft, (since, until), stretches, proof, sign)
            give_name(draft, target)
    except FileExistsError as exc:
        raise BundleError(f"{target} exists, and nothing is overwritten: choose another name") from exc
    except OSError as exc:
        raise BundleError(f"cannot write {target}: {exc.strerror}: check its folder") from exc
    return written


def _write(
    connection: Connection,
    folder: Path,
    draft: Path,
    span: tuple[datetime, datetime],
    stretches: Sequence[Stretch],
    proof: Sequence[SourceProof],
    sign: Callable[[bytes], bytes] | None,
) -> Written:
    writer = BundleWriter(folder)
    reach = evidence.reach_of_receipts(connection, *span)
    writer.write_lines(RECORDS, _documents(evidence.stream_records(connection, *reach)))
    writer.write_lines(RECEIPTS, _documents(evidence.stream_receipts(connection, *span)))
    writer.write_lines(PROOF, _documents(map(asdict, stretches)))
    writer.write_lines("rule_versions.jsonl", _documents(_rule_versions(connection, *span)))
    for name, rows in evidence.stream_others(connection, *span):
        writer.write_lines(f"{name}.jsonl", _documents(rows))
    sources = [
        {
            "name": each.name,
            "former_names": marks.former_names(connection, each.name),
            "organisation": each.organisation,
            "begins_at": each.begins_at,
            "seen_through": each.seen_through,
            "proved_through": each.proved_through,
        }
        for each in marks.read_all(connection).values()
    ]
    manifest = {
        "format": FORMAT,
        "actionwatch": __version__,
        "from": span[0],
        "to": span[1],
        "records_from": reach[0],
        "records_to": reach[1],
        "sources": sources,
        "proof": list(map(asdict, proof)),
    }
    head = seals.read_head(connection)
    if head is not None:
        manifest["head"] = str(head)  # of the chain: 'actionwatch store verify --head' compares it later
    with draft.open("wb") as out:
        digest = writer.finish(_README, manifest, out, sign)
    count = writer.count(RECORDS)
    outside_count = count - evidence.count_records(connection, *span)
    return Written(digest, *span, count, outside_count, writer.count(RECEIPTS), tuple(proof))


def _rule_versions(connection: Connection, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    history = rule_history.read_since(connection, since, with_texts=True)
    for _, entries in sorted(history.items()):
        yield from (asdict(entry) for entry in entries if entry.may_begin_at <= until)


def prove(source: str, stretches: Iterable[Stretch], since: datetime, until: datetime) -> SourceProof:
    """Say what is proved of a source: everything, or which parts of the time are not. Its `stretches` are in order of time."""
    proved = [each for each in stretches if each.source == source and each.is_proved]
    gaps, at = list[str](), since
    for each in proved:
        if each.start - at > EDGE:
            gaps.append(f"{instant(at)} to {instant(each.start)}")
        at = max(at, each.end)
    if until - at > EDGE:
        gaps.append(f"{instant(at)} to {instant(until)}")
    where = f"from {instant(since)} to {instant(until)}"
    if gaps:
        more = f" and in {len(gaps) - _GAPS_NAMED} more gaps (see {PROOF})" if len(gaps) > _GAPS_NAMED else ""
        where = f"not proved from {', '.join(gaps[:_GAPS_NAMED])}{more}; {where}, except there"
    statement = f"{source}: {where}, the upstream showed exactly the records in the bundle"
    seconds = sum((each.end - each.start for each in proved), timedelta(0)).total_seconds()
    return SourceProof(source, not gaps, seconds, statement)


def _documents(rows: Any) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {name: _plain(value) for name, value in row.items()}


def _plain(value: object) -> object:
    """Return a value of a row as JSON has it: durations in seconds, levels and states as words."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Level):
        return value.word
    if isinstance(value, Enum) and not isinstance(value, IntEnum):
        return value.value
    return dict(value) if isinstance(value, Mapping) else value
