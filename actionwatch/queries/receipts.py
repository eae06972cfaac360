"""The receipts of proved windows, and whether the stored records are those that a receipt attests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from actionwatch.store import receipts
from actionwatch.store.receipts import WindowReceipt
from actionwatch.text.payloads import instant

SAME, DIFFERENT, EXPIRED = "same", "differs", "expired"


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """A receipt, the result of its check (None if not requested), and the number of stored records that it covers."""

    receipt: WindowReceipt
    check: str | None = None
    stored_count: int = 0

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        receipt = self.receipt
        document = {
            "source": receipt.source,
            "from": instant(receipt.starts_at),
            "to": instant(receipt.ends_at),
            "first_judged_at": instant(receipt.first_judged_at),
            "judged_at": instant(receipt.judged_at),
            "proofs": receipt.proof_count,
            "method": receipt.method,
            "records": receipt.record_count,
            "kinds": dict(receipt.kind_counts),
            "requests": receipt.request_count,
            "digest": receipt.digest,
        }
        return document if self.check is None else {**document, "check": self.check}


class Checks:
    """Checks receipts, and keeps the totals, and those that differ; of the others there may be millions.

    Without a time since which records are kept, it checks nothing.
    """

    def __init__(self, connection: Connection, kept_since: datetime | None) -> None:
        self._connection = connection
        self._kept_since = kept_since
        self.counts: Counter[str | None] = Counter()
        self.span: tuple[datetime, datetime] | None = None
        self.differing: list[CheckedReceipt] = []

    def check_all(self, found: Iterator[WindowReceipt]) -> Iterator[CheckedReceipt]:
        """Yield each receipt with its check."""
        for receipt in found:
            checked = CheckedReceipt(receipt) if self._kept_since is None else self._check(receipt, self._kept_since)
            begins, ends = self.span or (receipt.starts_at, receipt.ends_at)
            self.span = min(begins, receipt.starts_at), max(ends, receipt.ends_at)
            self.counts[checked.check] += 1
            if checked.check == DIFFERENT:
                self.differing.append(checked)
            yield checked

    def _check(self, receipt: WindowReceipt, kept_since: datetime) -> CheckedReceipt:
        again = receipts.recompute(self._connection, receipt)
        if again == receipt:
            return CheckedReceipt(receipt, SAME, again.record_count)
        return CheckedReceipt(receipt, EXPIRED if receipt.starts_at < kept_since else DIFFERENT, again.record_count)
