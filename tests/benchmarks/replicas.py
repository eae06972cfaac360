"""What a store in PostgreSQL costs, and what more replicas bring: `python -m tests.benchmarks replicas [COUNT]`.

The real service runs with an emulator and a receiver: one process on SQLite, one replica on PostgreSQL, three of them. *Paced*:
an action every 0.2 s, and the time from the commit of its alert to the arrival. *Burst*: COUNT actions at once, and how many
records a second were stored, and how many messages a second arrived, from the first to the last; the CPU of the services for
each message of the burst, with storing and matching; and which share of the messages each replica sent. The server, the
emulator and the receiver are other processes on the same cores.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from tests import postgresql
from tests.benchmarks.deliveries.receiver import Arrivals, receiving
from tests.end_to_end import kit

PACED_COUNT = 100
PACE_SECONDS = 0.2
SETTLE_SECONDS = 5.0
LONGEST_SECONDS = 300.0
CONTESTANTS = {"SQLite": 0, "PostgreSQL, one replica": 1, "PostgreSQL, three replicas": 3}

Query = Callable[[str], list[Any]]


def main(count: int = 3000) -> None:
    """Print a row for each contestant."""
    print(f"{'':<28} {'stored':>8} {'arrived':>9}   commit to arrival: p50       p99   CPU/message   shares")
    for name, replicas in CONTESTANTS.items():
        with tempfile.TemporaryDirectory() as folder, receiving() as url:
            print(f"{name:<28} {_run(Path(folder), url, replicas, count)}", flush=True)


def _run(folder: Path, url: str, replicas: int, count: int) -> str:
    with kit.upstream(folder) as upstream, contextlib.ExitStack() as stack:
        query, services = _start(folder, url, upstream, replicas, stack)
        arrivals = Arrivals(url)
        for number in range(PACED_COUNT):
            time.sleep(PACE_SECONDS)
            upstream.delete_cluster(f"paced{number}@example.com")
        _wait_for(arrivals, PACED_COUNT)
        waits = _waits(arrivals, query)
        before, sent_before = _cpu_seconds(services), _sent_counts(services)
        actions = [{"action": "DELETE_CLUSTER", "userName": f"user{number}@example.com"} for number in range(count)]
        upstream.control("POST", "/actions", actions)
        began = time.monotonic()
        while query("SELECT count(*) FROM record") != [(PACED_COUNT + count,)]:
            time.sleep(0.02)
        stored = count / (time.monotonic() - began)
        _wait_for(arrivals, count)
        cpu = (_cpu_seconds(services) - before) / count * 1000
        sent = [now - then for now, then in zip(_sent_counts(services), sent_before, strict=True)]
        shares = ", ".join(f"{each / max(sum(sent), 1):.0%}" for each in sent)
        times = sorted(arrivals.take().values())
        arrived = count / (times[-1] - times[0])
    p99 = statistics.quantiles(waits, n=100)[-1]
    latencies = f"{statistics.median(waits) * 1000:>20.0f} ms {p99 * 1000:>6.0f} ms"
    return f"{stored:>6,.0f}/s {arrived:>7,.0f}/s   {latencies}   {cpu:>8.1f} ms   {shares}"


def _cpu_seconds(services: list[kit.Service]) -> float:
    """Return the CPU that services have used."""
    fields = [Path(f"/proc/{each.process.pid}/stat").read_text().rpartition(") ")[2].split() for each in services]
    return sum(int(user) + int(system) for *_, user, system in (each[:13] for each in fields)) / os.sysconf(
        "SC_CLK_TCK"
    )


def _sent_counts(services: list[kit.Service]) -> list[int]:
    """Return how many messages each service has sent."""
    return [sum(each["count"] for each in service.events("delivery_sent")) for service in services]


def _start(
    folder: Path, url: str, upstream: kit.Upstream, replicas: int, stack: contextlib.ExitStack
) -> tuple[Query, list[kit.Service]]:
    """Start the services, and return what queries their store."""
    services = []
    stores = [f"sqlite:///{folder}/store.db"]
    query = _querying(lambda: sqlite3.connect(folder / "store.db", timeout=60))
    if replicas:
        server = stack.enter_context(postgresql.other_database("benchmark"))
        stores, query = [server] * replicas, _querying(lambda: psycopg.connect(server.replace("+psycopg", "")))
    for number, store in enumerate(stores):
        place = kit.Post(folder / f"replica{number}", upstream, store)
        place.write(_Receiver(url))  # type: ignore[arg-type]  # only its address is used
        config = place.folder / "actionwatch.yaml"
        config.write_text(
            config.read_text().replace("    retry:", "    concurrency: 16\n    retry:").replace("/hook/hook", "/hook")
        )
        services.append(stack.enter_context(place.service()))
        services[-1].wait_until_up()
    time.sleep(SETTLE_SECONDS)  # roles are spread
    return query, services


class _Receiver:
    """The address of the receiver, as a test's server has it."""

    def __init__(self, url: str) -> None:
        self.url = url


def _querying(connect: Callable[[], Any]) -> Query:
    def query(statement: str) -> list[Any]:
        with contextlib.closing(connect()) as connection:
            return list(connection.execute(statement).fetchall())

    return query


def _wait_for(arrivals: Arrivals, count: int) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while arrivals.count() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{arrivals.count()} of {count} messages arrived")
        time.sleep(0.02)


def _waits(arrivals: Arrivals, query: Query) -> list[float]:
    """Return how long each message took from the commit of its alert, about."""
    rows = query("SELECT delivery.id, opened_at FROM delivery JOIN alert ON alert.id = alert_id")
    opened = {name: micros / 1e6 for name, micros in rows}
    offset = time.time() - time.monotonic()
    return [at + offset - opened[name] for name, at in arrivals.take().items()]
