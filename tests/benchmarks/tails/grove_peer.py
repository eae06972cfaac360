"""Grove with a connector for the listing. It stores pages as compressed files, and recognises a record by its hash."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import requests

from tests.benchmarks.tails.report import measure

os.environ["GROVE_OUTPUT_HANDLER"] = "local_file"
os.environ["GROVE_CACHE_HANDLER"] = "local_memory"

from grove.connectors import BaseConnector
from grove.constants import REVERSE_CHRONOLOGICAL
from grove.exceptions import NotFoundException
from grove.models import ConnectorConfig

PAGE = 1000


class Connector(BaseConnector):  # type: ignore[misc]
    """Reads the pages of the user actions."""

    CONNECTOR = "user_actions"
    POINTER_PATH = "timestamp"
    LOG_ORDER = REVERSE_CHRONOLOGICAL

    def collect(self) -> None:
        """Save every page."""
        try:
            getattr(self, "pointer")  # noqa: B009  # asking the cache for it is what Grove's own connectors do
        except NotFoundException:
            self.pointer = "2020-01-01T00:00:00.000Z"
        offset, total = 0, 1
        with requests.Session() as session:
            session.auth = (self.identity, self.key)
            while offset < total:
                asked = {"pageSize": PAGE, "recordIndex": offset}
                envelope = session.get(self.configuration.url, params=asked, timeout=30).json()[0]
                total = envelope["totalResults"]
                self.save(envelope["resources"])
                offset += len(envelope["resources"])


def run(url: str, organisation: str) -> dict[str, int]:
    """Store everything. Return the number of saved records."""
    logging.disable(logging.WARNING)
    config = ConnectorConfig(
        name="bench",
        identity="demo",
        key="demo-key",
        connector="user_actions",
        url=f"{url}/v1/organisations/{organisation}/user-actions",
    )
    connector = Connector(config, {})
    connector.run()
    return {"records": sum(connector._saved.values())}


if __name__ == "__main__":
    os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = str(Path(sys.argv[3]).resolve())
    measure(lambda: run(sys.argv[1], sys.argv[2]))
