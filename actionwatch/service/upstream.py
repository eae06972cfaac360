"""Build the clients of the sources' upstreams from their configuration. Sources at one origin share what `Upstream` holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from actionwatch.base.clock import utc_now
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.origin import ConnectionOptions
from actionwatch.instaclustr.upstream import Pace, Upstream
from actionwatch.service.machine import Machine
from actionwatch.settings import Source


class Upstreams:
    """The origins of all sources of a process."""

    def __init__(self, machine: Machine, rate: Callable[[], float | None]) -> None:
        """`rate` returns how many requests a second this process may send to each origin; None: there is no limit."""
        self._machine = machine
        self._rate = rate
        self._known: dict[str, Upstream] = {}

    def of(self, source: Source) -> Upstream:
        """Return the upstream of a source."""
        parts = urlsplit(source.base_url)
        origin = f"{parts.scheme}://{parts.netloc}".lower()
        if origin not in self._known:
            pace = Pace(self._machine.elapsed, self._machine.sleep, self._rate)
            self._known[origin] = Upstream(parts.netloc.lower(), pace, self._machine.elapsed)
        return self._known[origin]

    def counts(self, sources: Iterable[Source]) -> Mapping[Upstream, int]:
        """Return how many of these sources each upstream has."""
        return Counter(self.of(source) for source in sources)

    def close(self) -> None:
        """Close all connections."""
        for upstream in self._known.values():
            upstream.close()


def connection_to(source: Source) -> ConnectionOptions:
    """Return how to connect to a source's upstream."""
    return ConnectionOptions(
        base_url=source.base_url,
        organisation_id=source.organisation_id,
        username=source.username,
        api_key=source.key,
        timeout=source.timeout,
        ca_file=source.ca_file,
        proxy=source.proxy_url,
    )


def reading_client(
    source: Source,
    clock: Callable[[], datetime] = utc_now,
    machine: Machine = Machine(),  # noqa: B008 - a frozen value
    upstream: Upstream | None = None,
) -> Client:
    """Build the client that can only read. `upstream` is what it shares with other sources."""
    return Client(
        connection_to(source),
        source=source.name,
        field_aliases=source.field_aliases,
        clock=clock,
        elapsed=machine.elapsed,
        sleep=machine.sleep,
        threads=machine.threads,
        upstream=upstream,
    )
