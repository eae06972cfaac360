"""A proxy before a PostgreSQL server, at a Unix socket: it can cut connections, refuse new ones, and fall silent."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

NAME = ".s.PGSQL.5432"
LOOK_SECONDS = 0.05


class DatabaseProxy:
    """Forwards connections to the socket of a server, in the folder `server`. `mode` is how: `pass`, `refuse` or `stall`.

    It stalls by itself once a client has sent `last_words`, as if the client were frozen right after that statement.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self.server = server
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.mode = "pass"
        self.last_words: bytes | None = None
        folder.mkdir(parents=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / NAME))
        self._listener.listen(64)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mode = "refuse"
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the thread that accepts
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End all connections, as a network that resets them."""
        with self._lock:
            cut, self._sockets = self._sockets, []
        for each in cut:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "refuse":
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.server / NAME))
            except OSError:
                client.close()
                server.close()
                continue
            with self._lock:
                self._sockets += [client, server]
            if self._ended.is_set():  # since it was accepted, and perhaps after the last cut
                self.cut()
                return
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self.mode == "stall":
                    self._ended.wait(LOOK_SECONDS)
                target.sendall(data)
                if self.last_words is not None and self.last_words in data:
                    self.mode, self.last_words = "stall", None
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
