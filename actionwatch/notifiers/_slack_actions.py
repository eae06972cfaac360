"""The listener for the buttons of Slack. Socket Mode needs no open port.

One thread connects, reads and acknowledges; another one handles one press after the other (`_slack_presses.py`).
https://docs.slack.dev/apis/events-api/using-socket-mode
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from actionwatch.base.errors import DeliveryError, PermanentDeliveryError, TransientDeliveryError
from actionwatch.notifiers._slack_api import SlackApi
from actionwatch.notifiers._slack_presses import Presses
from actionwatch.notifiers._slack_socket import MAX_ENVELOPE_BYTES, SlackSocket, Unreadable, connect
from actionwatch.text.options import is_loopback

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # before connecting again, doubled each time
_UNEXPECTED_WAIT = 5.0  # after an unexpected error
REFUSED_WAIT = 300.0  # a wrong token stays wrong until the configuration is reloaded
_SEEN_ENVELOPES = 200  # Slack repeats an envelope whose acknowledgement was lost

log = structlog.get_logger()


class SlackActions:
    """Listens for pressed buttons from `start` to `close`, in its own threads, and reconnects if the connection is lost."""

    def __init__(
        self,
        app: SlackApi,
        presses: Presses,
        *,
        context: ssl.SSLContext,
        proxy: str | None,
    ) -> None:
        """`app` opens connections. `presses` is closed with the listener."""
        self.receiver = presses.receiver
        self._presses = presses
        self._seen: deque[str] = deque(maxlen=_SEEN_ENVELOPES)
        self._stopping = threading.Event()
        self._app = app
        self._tls = context
        self._proxy = proxy
        self._socket: SlackSocket | None = None
        self._pool = ThreadPoolExecutor(1, f"slack-presses-{self.receiver}")
        self._thread = threading.Thread(target=self._watch, name=f"slack-actions-{self.receiver}", daemon=True)

    def start(self) -> None:
        """Connect and listen in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Disconnect, handle the presses that were acknowledged, and end the threads."""
        self._stopping.set()
        if (current := self._socket) is not None:
            current.abort()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown()
        self._presses.close()

    def check(self) -> None:
        """Check that the listener is connected.

        Raises: DeliveryError.
        """
        if self._socket is None:
            raise DeliveryError(f"not connected to Slack: the buttons of {self.receiver} have no effect")

    def _watch(self) -> None:
        """Listen until `close`, whatever is raised: a thread that ended would leave the buttons dead."""
        while not self._stopping.is_set():
            try:
                self._listen()
            except BaseException as exc:
                log.error("slack_actions_failed", receiver=self.receiver, error=repr(exc), exc_info=exc)
                self._stopping.wait(_UNEXPECTED_WAIT)

    def _listen(self) -> None:
        wait = FIRST_WAIT
        while not self._stopping.is_set():
            try:
                connected = self._connect()
            except (DeliveryError, OSError, ValueError) as exc:
                log.warning("slack_actions_connect_failed", receiver=self.receiver, error=str(exc))
                self._stopping.wait(max(wait, _shortest_wait(exc)))
                wait = min(wait * 2, LONGEST_WAIT)
                continue
            log.info("slack_actions_connected", receiver=self.receiver)
            with contextlib.closing(connected):
                is_ended_by_slack = self._serve(connected)
            wait = FIRST_WAIT
            if not is_ended_by_slack:
                self._stopping.wait(wait)

    def _serve(self, connected: SlackSocket) -> bool:
        """Receive envelopes until the connection ends. Return whether Slack asks for another, as it does every few hours."""
        self._socket = connected
        try:
            while not self._stopping.is_set():
                if not self._receive(connected, connected.receive()):
                    return True
        except Unreadable as exc:
            self._presses.refuse(f"it cannot be read: {exc}")
        except OSError as exc:
            log.debug("slack_actions_disconnected", receiver=self.receiver, error=str(exc))
        finally:
            self._socket = None
        return False

    def _connect(self) -> SlackSocket:
        """Connect. Raises: DeliveryError, and what sockets raise."""
        self._presses.read_workspace()
        url = str(self._app.call("apps.connections.open", {}).get("url") or "")
        parts = urlsplit(url)
        if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(parts.hostname or "")):
            raise TransientDeliveryError("Slack returned no wss:// address to connect to")
        return connect(url, self._tls, self._proxy)

    def _receive(self, connected: SlackSocket, text: bytes) -> bool:
        """Acknowledge one envelope, because Slack waits only three seconds, and have it handled. Return whether more follow."""
        if len(text) > MAX_ENVELOPE_BYTES:
            self._presses.refuse(f"it has {len(text)} bytes, and a press at most {MAX_ENVELOPE_BYTES}")
            return True
        try:
            message = msgspec.json.decode(text, type=dict[str, Any])
            request = SocketModeRequest.from_dict(message)
        except (ValueError, RecursionError):
            return True  # not from Slack
        if request is None:  # it is about the connection
            return message.get("type") != "disconnect"
        connected.send(json.dumps(SocketModeResponse(str(request.envelope_id)).to_dict()))
        if request.type == "interactive" and request.envelope_id not in self._seen:
            self._seen.append(request.envelope_id)
            self._pool.submit(self._presses.handle, request.payload)
        return True


def _shortest_wait(exc: Exception) -> float:
    """Return after how many seconds to connect again at the earliest."""
    if isinstance(exc, TransientDeliveryError):
        return exc.retry_after.total_seconds()
    return REFUSED_WAIT if isinstance(exc, PermanentDeliveryError) else 0.0
