"""The records: a search, and one record with what the store has about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.model import Alert, Record, RecordFilter
from actionwatch.base.search_words import words_of
from actionwatch.queries.pages import Page, only
from actionwatch.store import alerts, receipts, record_search, records
from actionwatch.store.receipts import WindowReceipt
from actionwatch.store.statements import PageKey, PageKind

SEARCHED = 10_000  # records, for one of several pages: a tenth of a second where none matches
SEARCHED_ONCE = 250_000  # for a list that has only one page: a search of millions takes seconds
_RECEIPTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record, the same action as other sources read it, its alerts, and the newest receipts that cover it."""

    record: Record
    copies: Sequence[Record]
    alerts: Sequence[Alert]
    receipts: Sequence[WindowReceipt]


def search(
    connection: Connection, wanted: RecordFilter, limit: int, most: int | None, after: PageKey | None = None
) -> Page[Record]:
    """Return the next records that match a filter, newest first, after a place. Looks at about `most`; None: at all.

    Records of a user, a cluster, an account or a kind are found however old they are; `most` bounds the search in descriptions.
    """
    return Page(*record_search.search(connection, wanted, limit, after, most))


def place_of(wanted: RecordFilter) -> tuple[PageKind, ...]:
    """Return of what the places of a list with this filter are made, for its cursor."""
    place = (datetime, str, str)
    return (*place, *place) if words_of(wanted.text) else place


def find(connection: Connection, beginning: str) -> Record:
    """Return the record whose key starts with this. Raises: NotFound."""
    return only(records.read_by_prefix(connection, beginning), "stored record", beginning, "records list", "key")


def read_details(connection: Connection, beginning: str) -> FoundRecord:
    """Return what the store has about the record whose key starts with this. Raises: NotFound."""
    record = find(connection, beginning)
    holding = alerts.read_many(connection, alerts.read_of_record(connection, record.id))
    return FoundRecord(
        record,
        records.read_copies(connection, record.key),
        [holding[alert_id] for alert_id in sorted(holding)],
        receipts.read_covering(connection, record, _RECEIPTS_SHOWN),
    )
