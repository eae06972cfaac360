"""The base of far ends: a server that the end of a block closes, and one that accepts connections."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

from tests.waiting import join


class FarEnd:
    """A server that the end of a block closes."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Listener(FarEnd):
    """Accepts connections on loopback until closed, and handles each in a thread."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def treat(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()
        for thread in self._threads:
            join(thread)

    def close_connections(self) -> None:
        """Close everything that `treat` might wait for. It is called when no connection can be added."""

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._treat_and_close, args=(connection,)))
            self._threads[-1].start()

    def _treat_and_close(self, connection: socket.socket) -> None:
        with connection:
            self.treat(connection)
