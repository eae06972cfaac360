"""What the state of correlations keeps of records, and how it gets whole records when an alert needs them.

A window may hold a record for a day. With a store behind it, it keeps a reference; without one, the record itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from actionwatch.base.model import Record
from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.model import KeptRecord, RecordRef


class ReadStored(Protocol):
    """Reads stored records."""

    def __call__(self, ids: Collection[int]) -> Mapping[int, Record]:
        """Return those of the records that are stored, by id."""
        ...


class KeptRecords:
    """The records of one correlator. Those of the newest batch stay at hand, because most alerts need no others."""

    def __init__(self, read: ReadStored | None = None) -> None:
        self._read = read
        self._batch: dict[int, Record] = {}

    def hold(self, batch: Iterable[Record]) -> None:
        """Keep the records of a batch at hand, instead of those of the batch before."""
        if self._read is not None:
            self._batch = {record.id: record for record in batch}

    def keep(self, record: Record) -> KeptRecord:
        """Return what a hit keeps of a record."""
        if self._read is None or not record.id:  # nothing is stored that could be read
            return record
        return RecordRef(record.key, record.id, record.occurred_at, record.is_backlog)

    def whole(self, kept: Sequence[KeptRecord]) -> list[Record]:
        """Return the records themselves, in the same order.

        Raises: DoesNotFit, if the store no longer has one of them.
        """
        batch = self._batch
        absent = {each.id for each in kept if isinstance(each, RecordRef) and each.id not in batch}
        read = self._read(absent) if absent and self._read is not None else {}
        try:
            return [each if isinstance(each, Record) else batch.get(each.id) or read[each.id] for each in kept]
        except KeyError as exc:
            raise DoesNotFit(f"an alert needs the record with the id {exc}, which is no longer in the store") from exc
