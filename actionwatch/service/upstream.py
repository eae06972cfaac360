"""Build the clients of a source's upstream from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from actionwatch.base.clock import utc_now
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.origin import ConnectionOptions
from actionwatch.service.machine import Machine
from actionwatch.settings import Source


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
) -> Client:
    """Build the client that can only read."""
    return Client(
        connection_to(source),
        source=source.name,
        field_aliases=source.field_aliases,
        clock=clock,
        elapsed=machine.elapsed,
        sleep=machine.sleep,
        threads=machine.threads,
    )
