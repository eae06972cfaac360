"""A client that reads every page and keeps nothing: the speed of the server."""

from __future__ import annotations

import http.client
import json
import sys
from urllib.parse import urlsplit

from tests.benchmarks.tails.report import measure

PAGE = 1000


def run(url: str, organisation: str) -> dict[str, int]:
    """Read to the end."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    offset, total = 0, 1
    while offset < total:
        connection.request("GET", f"/v1/organisations/{organisation}/user-actions?pageSize={PAGE}&recordIndex={offset}")
        body = connection.getresponse().read()
        total = total if offset else json.loads(body)[0]["totalResults"]
        offset += PAGE
    return {"records": total}


if __name__ == "__main__":
    measure(lambda: run(sys.argv[1], sys.argv[2]))
