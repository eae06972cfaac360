"""An HTTP server with TLS that a test stops, starts on the same port, and lets hang: for lines and for Splunk."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration.notifiers.http_end import HttpEnd, Reply, Request
from tests.integration.streams.end import End, Fault
from tests.integration.streams.ends.certificates import write_certificates


class ApiEnd(End):
    """A far end whose protocol is in `reply`."""

    cannot: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self._files = write_certificates(folder)
        self._context: ssl.SSLContext = self._files.server_context()
        self._is_hanging = False
        self.server = HttpEnd(self._reply, self._context)
        self.url = self.server.url
        self._expired = HttpEnd(lambda _: Reply(), self._files.server_context(is_expired=True))
        self.faults = {
            "unknown authority": lambda: self.fault("ca_file", ca_file=self._files.other_ca),
            "expired certificate": lambda: self.fault("fix the certificate", url=self._expired.url),
        }

    def reply(self, request: Request) -> Reply:
        raise NotImplementedError

    def options(self) -> Mapping[str, Any]:
        return {"url": self.url, "ca_file": self._files.ca}

    def fault(self, remedy: str, **changed: Any) -> Fault:
        """Return a fault that is met with these options."""
        return Fault({**self.options(), **changed}, remedy)

    def stop(self) -> None:
        self.server.close()

    def start(self) -> None:
        self.server = HttpEnd(self._reply, self._context, int(self.url.rpartition(":")[2]))

    def hang(self) -> None:
        self._is_hanging = True

    def resume(self) -> None:
        self._is_hanging = False
        self.server.released.set()
        self.server.released = threading.Event()

    def close(self) -> None:
        self.server.close()
        self._expired.close()

    def _reply(self, request: Request) -> Reply:
        return Reply(fault="hang") if self._is_hanging else self.reply(request)
