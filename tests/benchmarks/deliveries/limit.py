"""The limit: an outbox on SQLite with only the essential parts, to measure what is possible in one Python process.

One row per delivery, with due time and lease. One thread claims and acknowledges in batches, each batch in one transaction.
16 threads post a body that was prepared before, each over one connection, with the HTTP of the standard library. There are no
rules, gates, order, history, retries, templates or proof. (With bare sockets, which parse no response, it reaches twice as
much.)
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import sqlite3
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.deliveries.ours import AT_ONCE

IN_HAND = AT_ONCE * 8
LEASE_SECONDS = 300
BODY_CHARS = 1_000  # about the size of a message of actionwatch

TABLE = """
CREATE TABLE delivery (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, due_at REAL NOT NULL, leased_until REAL, sent_at REAL, body TEXT NOT NULL
);
CREATE INDEX delivery_by_due ON delivery (status, due_at);
"""
DUE = (
    "SELECT id, body FROM delivery WHERE status = 'pending' AND due_at <= ?1 AND (leased_until IS NULL OR leased_until < ?1)"
    " ORDER BY due_at LIMIT ?2"
)


class Limit:
    """The contestant."""

    def __init__(self, url: str, folder: Path, *, synchronous: str) -> None:
        self._url = urlsplit(url)
        self._file = folder / "limit.db"
        self._synchronous = synchronous
        self._owing = self._connect()
        self._owing.executescript(TABLE)
        self._jobs: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_stopping = False
        self._threads = [threading.Thread(target=self._dispatch)]
        self._threads += [threading.Thread(target=self._send) for _ in range(AT_ONCE)]

    def fill(self, count: int) -> None:
        """Add so many deliveries."""
        self._insert([f"l{number}" for number in range(count)])

    def start(self) -> None:
        """Start to deliver."""
        for thread in self._threads:
            thread.start()

    def add(self, number: int) -> str:
        """Add one more delivery."""
        self._insert([f"paced{number}"])
        self._ended.put(None)
        return f"paced{number}"

    def stop(self) -> None:
        """Stop."""
        self._is_stopping = True
        self._ended.put(None)
        for _ in range(AT_ONCE):
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._owing.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        return connection

    def _insert(self, names: list[str]) -> None:
        now = time.time()
        rows = [(name, now, json.dumps({"id": name, "text": "x" * BODY_CHARS})) for name in names]
        self._owing.execute("BEGIN IMMEDIATE")
        self._owing.executemany("INSERT INTO delivery (id, status, due_at, body) VALUES (?, 'pending', ?, ?)", rows)
        self._owing.execute("COMMIT")

    def _dispatch(self) -> None:
        connection = self._connect()
        in_hand = 0
        is_idle = False
        while not self._is_stopping:
            ended = self._collect(is_waiting=is_idle or in_hand >= IN_HAND)
            in_hand -= len(ended)
            now = time.time()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE delivery SET status = 'sent', sent_at = ?, leased_until = NULL WHERE id = ?",
                [(now, name) for name in ended],
            )
            due = connection.execute(DUE, (now, IN_HAND - in_hand)).fetchall()
            connection.executemany(
                "UPDATE delivery SET leased_until = ? WHERE id = ?", [(now + LEASE_SECONDS, name) for name, _ in due]
            )
            connection.execute("COMMIT")
            in_hand += len(due)
            is_idle = not due
            for job in due:
                self._jobs.put(job)
        connection.close()

    def _collect(self, *, is_waiting: bool) -> list[str]:
        ended: list[str] = []
        try:
            name = self._ended.get(timeout=1) if is_waiting else self._ended.get_nowait()
            while True:
                if name is not None:
                    ended.append(name)
                name = self._ended.get_nowait()
        except queue.Empty:
            return ended

    def _send(self) -> None:
        with contextlib.closing(http.client.HTTPConnection(self._url.netloc)) as line:
            line.connect()
            line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (job := self._jobs.get()) is not None:
                name, body = job
                headers = {"webhook-id": name, "content-type": "application/json"}
                line.request("POST", self._url.path, body, headers)
                answer = line.getresponse()
                answer.read()
                assert answer.status == 204
                self._ended.put(name)
