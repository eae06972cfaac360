"""dlt, used as documented: a REST client that pages by offset, merged on a key into SQLite."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tests.benchmarks.tails.report import measure

os.environ.update(RUNTIME__LOG_LEVEL="ERROR", RUNTIME__DLTHUB_TELEMETRY="false")

import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import HttpBasicAuth
from dlt.sources.helpers.rest_client.paginators import OffsetPaginator


def run(url: str, organisation: str, folder: Path) -> dict[str, int]:
    """Store everything. Return the number of stored records."""
    client = RESTClient(
        base_url=url,
        auth=HttpBasicAuth("demo", "demo-key"),
        paginator=OffsetPaginator(
            limit=1000, offset_param="recordIndex", limit_param="pageSize", total_path="[0].totalResults"
        ),
    )

    # The listing has no ids, so all fields together identify a record.
    @dlt.resource(name="record", write_disposition="merge", primary_key="key")
    def actions() -> Iterator[list[dict[str, Any]]]:
        for page in client.paginate(f"/v1/organisations/{organisation}/user-actions", data_selector="[0].resources"):
            yield [{**item, "key": _key(item)} for item in page]

    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.sqlalchemy(f"sqlite:///{folder / 'store.db'}"),
        dataset_name="main",
    )
    pipeline.run(actions())
    with pipeline.sql_client() as sql:
        rows = sql.execute_sql("SELECT count(*) FROM record")
    return {"records": int(rows[0][0]) if rows else 0}


def _key(item: dict[str, Any]) -> str:
    digest = blake2b("\x1f".join(str(value) for value in item.values()).encode(), digest_size=10).hexdigest()
    return f"{item['timestamp']}-{digest}"


if __name__ == "__main__":
    measure(lambda: run(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
