"""The limit: the same pages and fields, in the shortest way that stores and deduplicates. Nothing is proved.

It accepts no other format of response, and handles no twins and no retries. Key and row are made like those of actionwatch: a
key of the time and a hash of the fields, and the unchanged object, through the driver's executemany.
"""

from __future__ import annotations

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import httpx
import msgspec

from tests.benchmarks.tails.report import measure

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PAGE = 1000
FIELDS = (
    "action", "domainType", "timestamp", "userName", "description", "organisationId", "organisationName", "accountId",
    "accountName", "clusterId", "clusterName",
)  # fmt: skip


class Item(msgspec.Struct):
    """One record in the format of the listing."""

    action: str
    domainType: str  # noqa: N815
    timestamp: str
    userName: str  # noqa: N815
    description: str
    organisationId: str  # noqa: N815
    organisationName: str  # noqa: N815
    accountId: str | None  # noqa: N815
    accountName: str | None  # noqa: N815
    clusterId: str | None  # noqa: N815
    clusterName: str | None  # noqa: N815


class Envelope(msgspec.Struct):
    """A page."""

    totalResults: int  # noqa: N815
    resources: msgspec.Raw


decode_envelope = msgspec.json.Decoder(list[Envelope]).decode
decode_items = msgspec.json.Decoder(list[Item]).decode
decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


def run(url: str, organisation: str, folder: Path, in_flight: int) -> dict[str, int]:
    """Store everything. Return the number of stored records."""
    client = httpx.Client(auth=("demo", "demo-key"), timeout=30)
    address = f"{url}/v1/organisations/{organisation}/user-actions"
    database = _database(folder / "limit.db")

    def fetch(offset: int) -> bytes:
        return client.get(address, params={"pageSize": PAGE, "recordIndex": offset}).content

    first = fetch(0)
    total = decode_envelope(first)[0].totalResults
    _store(database, first)
    if in_flight == 1:
        for offset in range(PAGE, total, PAGE):
            _store(database, fetch(offset))
    else:
        with ThreadPoolExecutor(in_flight) as pool:
            ahead = [pool.submit(fetch, offset) for offset in range(PAGE, (in_flight + 1) * PAGE, PAGE)]
            for offset in range(PAGE, total, PAGE):
                body = ahead.pop(0).result()
                following = offset + in_flight * PAGE
                if following < total:
                    ahead.append(pool.submit(fetch, following))
                _store(database, body)
    count: int = database.execute("SELECT count(*) FROM record").fetchone()[0]
    database.close()
    return {"records": count}


def _database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("page_size=16384", "journal_mode=WAL", "synchronous=NORMAL"):
        database.execute(f"PRAGMA {pragma}")
    columns = ", ".join(f"{name} TEXT" for name in FIELDS)
    database.execute(f"CREATE TABLE record (key TEXT PRIMARY KEY, at INTEGER, {columns}, raw TEXT) WITHOUT ROWID")
    return database


def _store(database: sqlite3.Connection, body: bytes) -> None:
    resources = decode_envelope(body)[0].resources
    items = decode_items(resources)
    rows = [
        _row(item, str(raw, "utf-8"))
        for item, raw in zip(reversed(items), reversed(decode_raws(resources)), strict=True)
    ]
    database.execute("BEGIN IMMEDIATE")
    marks = ",".join("?" * (len(FIELDS) + 3))
    database.executemany(f"INSERT INTO record VALUES ({marks}) ON CONFLICT DO NOTHING", rows)
    database.execute("COMMIT")


def _row(item: Item, raw: str) -> tuple[object, ...]:
    at = (datetime.fromisoformat(item.timestamp) - EPOCH) // MICROSECOND
    fields = (
        item.action, item.domainType, item.timestamp, item.userName, item.description, item.organisationId,
        item.organisationName, item.accountId, item.accountName, item.clusterId, item.clusterName,
    )  # fmt: skip
    digest = blake2b("\x1f".join([field or "" for field in fields]).encode(), digest_size=10).hexdigest()
    return (f"{at:016x}-{digest}", at, *fields, raw)


if __name__ == "__main__":
    measure(lambda: run(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
