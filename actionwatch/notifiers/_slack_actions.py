"""Slack's buttons: Acknowledge, Silence 1 h, Resolve, and what listens for them: Socket Mode, so that no port is opened.

The SDK's own socket client does the WebSocket; what it does poorly is done here: it takes a proxy from the environment, gives
up for ever if the very first connection fails, sleeps through a rate limit, takes a core for 20 seconds when a line breaks
without a goodbye, and needs up to four seconds to close.
https://docs.slack.dev/apis/events-api/using-socket-mode
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from slack_sdk import WebClient
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from actionwatch.base.errors import ActionwatchError, DeliveryError, PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Decision, Message
from actionwatch.notifiers._slack_api import SlackApi, escaped
from actionwatch.text.escaping import one_line, shorten
from actionwatch.text.options import is_loopback

if TYPE_CHECKING:
    from actionwatch.net.http import HttpClient

OnAction = Callable[[str, str, str], Decision]
"""What a press calls, in the listener's thread: action (`ack`, `silence` or `resolve`), alert id, who pressed.

It may raise an ActionwatchError, whose text the presser is shown."""

BUTTONS = {"ack": "Acknowledge", "silence": "Silence 1 h", "resolve": "Resolve"}
PREFIX = "actionwatch_"
BLOCK_ID = "actionwatch"
MAX_VALUE_CHARS = 2_000  # of a button
MAX_SAID_CHARS = 300
WATCH_SECONDS = 1.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # before connecting again, doubled each time
REFUSED_WAIT = 300.0  # a wrong token does not mend itself; a new one comes with a restart
SEEN_ENVELOPES = 200  # Slack repeats what it believes unheard

# The SDK writes addresses, headers and texts at DEBUG and errors at ERROR. What went wrong is for the caller to log, once.
SILENT = logging.getLogger("actionwatch.notifiers.slack.sdk")
SILENT.setLevel(logging.CRITICAL + 1)
SILENT.propagate = False

log = structlog.get_logger()


def with_buttons(payload: Mapping[str, Any], message: Message) -> dict[str, Any]:
    """Put the buttons that still make sense under a message about an unresolved alert."""
    alert_id = str(message.data.get("id") or "")
    status = message.data.get("status")
    if message.type not in ("alert.opened", "alert.updated") or status == "resolved" or not alert_id:
        return dict(payload)
    if len(alert_id) > MAX_VALUE_CHARS:
        return dict(payload)
    names = [name for name in BUTTONS if name != "ack" or status != "acked"]
    block = {"type": "actions", "block_id": BLOCK_ID, "elements": [_button(name, alert_id) for name in names]}
    attachments = list(payload.get("attachments") or [])
    if attachments and isinstance(attachments[-1], dict) and isinstance(attachments[-1].get("blocks"), list):
        attachments[-1] = {**attachments[-1], "blocks": [*attachments[-1]["blocks"], block]}
        return {**payload, "attachments": attachments}
    return {**payload, "blocks": [*(payload.get("blocks") or []), block]} if payload.get("blocks") else dict(payload)


def _button(name: str, alert_id: str) -> dict[str, Any]:
    text = {"type": "plain_text", "text": BUTTONS[name]}
    return {"type": "button", "action_id": f"{PREFIX}{name}", "text": text, "value": alert_id}


class SlackActions:
    """Listens for presses from `start` to `close`, in threads of its own; connects again whenever the connection is lost."""

    def __init__(
        self,
        app: SlackApi,
        bot: SlackApi,
        on_action: OnAction,
        *,
        receiver: str,
        context: ssl.SSLContext,
        proxy: str | None,
        http: HttpClient,
    ) -> None:
        self.receiver = receiver
        self._app = app
        self._bot = bot
        self._on_action = on_action
        self._http = http
        self._seen: deque[str] = deque(maxlen=SEEN_ENVELOPES)
        self._stopping = threading.Event()
        self._make = functools.partial(_Client, app, context, proxy, self._take)
        self._client: _Client | None = None
        self._thread = threading.Thread(target=self._watch, name=f"slack-actions-{receiver}", daemon=True)

    def reach(self) -> None:
        """Ask Slack where to connect, and do not.

        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        self._app.call("apps.connections.open", {})

    def start(self) -> None:
        """Connect and listen; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Finish the press that is being handled, hang up, end the threads."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._http.close()

    def check(self) -> None:
        """Check that presses are heard.

        Raises: DeliveryError.
        """
        if not self.is_connected:
            raise DeliveryError(f"not connected to Slack: presses of the buttons of {self.receiver} are not heard")

    @property
    def is_connected(self) -> bool:
        """Whether presses are heard now."""
        return self._client is not None and self._client.is_connected()

    def _watch(self) -> None:
        """Listen until `close`, whatever is raised: a thread that ended would leave the buttons dead."""
        while not self._stopping.is_set():
            try:
                self._listen()
            except BaseException as exc:
                log.error("slack_actions_failed", receiver=self.receiver, error=repr(exc), exc_info=exc)
                self._stopping.wait(LONGEST_WAIT)

    def _listen(self) -> None:
        self._client = client = self._make()
        wait = FIRST_WAIT
        try:
            while not self._stopping.is_set():
                if client.is_connected():
                    wait = FIRST_WAIT
                    self._stopping.wait(WATCH_SECONDS)
                elif not self._connect(client):
                    self._stopping.wait(max(wait, client.asked_wait))
                    wait = min(wait * 2, LONGEST_WAIT)
        finally:
            self._client = None
            client.end()

    def _connect(self, client: _Client) -> bool:
        client.asked_wait = 0.0
        try:
            client.connect_to_new_endpoint()
        except (DeliveryError, SlackClientError, OSError, ValueError) as exc:
            if isinstance(exc, TransientDeliveryError):
                client.asked_wait = exc.retry_after.total_seconds()
            if isinstance(exc, PermanentDeliveryError):
                client.asked_wait = REFUSED_WAIT
            log.warning("slack_actions_unconnected", receiver=self.receiver, error=str(exc))
            return False
        if client.is_connected():
            log.info("slack_actions_connected", receiver=self.receiver)
        return client.is_connected()

    def _take(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        """Handle one envelope; it is acknowledged first, since Slack waits three seconds only."""
        with contextlib.suppress(SlackClientError, OSError, AttributeError):
            client.send_socket_mode_response({"envelope_id": request.envelope_id})
        payload = request.payload
        if request.type != "interactive" or not isinstance(payload, dict) or request.envelope_id in self._seen:
            return
        self._seen.append(request.envelope_id)
        for action in payload.get("actions") or []:
            name = str(action.get("action_id") or "").removeprefix(PREFIX)
            if name in BUTTONS and str(action.get("action_id")).startswith(PREFIX) and action.get("value"):
                self._press(name, str(action["value"]), payload)

    def _press(self, name: str, alert_id: str, payload: Mapping[str, Any]) -> None:
        who = _who(payload.get("user") or {})
        try:
            decision = self._on_action(name, alert_id, who)
        except ActionwatchError as exc:
            self._tell(f"{BUTTONS[name]} did not work: {exc}", payload)
        except Exception as exc:
            # The SDK would swallow it, and the presser would believe that it worked.
            log.exception("slack_action_failed", receiver=self.receiver, action=name, error=type(exc).__name__)
            self._tell(f"{BUTTONS[name]} did not work: unexpected {type(exc).__name__}", payload)
        else:
            log.info("slack_action_taken", receiver=self.receiver, action=name, alert=alert_id, who=who)
            if decision.is_new:
                self._say("chat.update", _answered(payload, name, decision.said))
            else:
                # The message in the channel may be newer than the one that was pressed: it is left as it is.
                self._tell(f"Nothing left to do. {decision.said}", payload)

    def _tell(self, what: str, payload: Mapping[str, Any]) -> None:
        """Tell the presser alone."""
        text = escaped(shorten(what, 500))
        user = (payload.get("user") or {}).get("id")
        self._say("chat.postEphemeral", {"channel": _channel(payload), "user": user, "text": text})

    def _say(self, method: str, arguments: Mapping[str, Any]) -> None:
        try:
            self._bot.call(method, arguments)
        except DeliveryError as exc:
            # What was pressed has been done: the next update of the alert shows it.
            log.warning("slack_answer_failed", receiver=self.receiver, error=str(exc))


class _Client(SocketModeClient):
    """The SDK's socket client, asking for its address through our own HTTP and leaving reconnection to `SlackActions`."""

    def __init__(
        self,
        app: SlackApi,
        context: ssl.SSLContext,
        proxy: str | None,
        take: Callable[[BaseSocketModeClient, SocketModeRequest], None],
    ) -> None:
        # Of its web client it takes the TLS context only: it gets no token, and its calls are ours.
        web_client = WebClient(ssl=context, logger=SILENT)
        super().__init__("", SILENT, web_client, auto_reconnect_enabled=False, concurrency=1, proxy=proxy)
        self.proxy = proxy  # where none was given, the SDK took the environment's
        self.asked_wait = 0.0
        self._app = app
        self.socket_mode_request_listeners.append(take)

    def issue_new_wss_url(self) -> str:
        """Ask Slack where to connect.

        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        url = str(self._app.call("apps.connections.open", {}).get("url") or "")
        parts = urlsplit(url)
        if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(parts.hostname or "")):
            raise TransientDeliveryError("Slack named no wss:// address to connect to")
        return url

    def connect(self) -> None:
        """Connect; where that fails, `is_connected` says so."""
        super().connect()
        session = self.current_session
        if session is not None and session.sock is not None:
            session.sock = _Honest(session.sock)  # type: ignore[assignment]

    def end(self) -> None:
        """Close, waking the thread that waits for the next frame: it holds the lock which closing needs."""
        session = self.current_session
        if session is not None and session.sock is not None:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)
        self.message_queue.put(None)  # wakes the thread that waits for a message
        self.close()


class _Honest:
    """A socket that raises at the other side's end; the SDK would go on reading the nothing that comes then."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.send, self.close, self.shutdown = sock.send, sock.close, sock.shutdown

    def recv(self, count: int) -> bytes:
        data = self._socket.recv(count)
        if not data:
            raise ConnectionResetError("Slack hung up")
        return data


def _answered(payload: Mapping[str, Any], name: str, said: str) -> dict[str, Any]:
    """Give the pressed message again, with what was decided in place of the button; nothing else of it changes."""
    message = payload.get("message") or {}
    text = f":white_check_mark: {escaped(shorten(said, MAX_SAID_CHARS))}"
    note = {"type": "context", "elements": [{"type": "mrkdwn", "verbatim": True, "text": text}]}
    kept = {key: message[key] for key in ("text", "metadata") if message.get(key)}
    attachments = [
        {
            **{key: item[key] for key in ("color", "fallback") if item.get(key)},
            "blocks": _replaced(item["blocks"], name, note),
        }
        for item in message.get("attachments") or []
        if isinstance(item, dict) and isinstance(item.get("blocks"), list)
    ]
    blocks = _replaced(message.get("blocks") or [], name, note)
    place = {
        "channel": _channel(payload),
        "ts": message.get("ts") or (payload.get("container") or {}).get("message_ts"),
    }
    return {**kept, **place, "blocks": blocks, "attachments": attachments}


def _replaced(blocks: list[Any], name: str, note: Mapping[str, Any]) -> list[Any]:
    """Take the pressed button away, all of them after a resolution, and put the note behind."""
    made: list[Any] = []
    for block in blocks:
        if not isinstance(block, dict) or block.get("block_id") != BLOCK_ID:
            made.append(block)
            continue
        pressed = f"{PREFIX}{name}"
        left = [element for element in block.get("elements") or [] if element.get("action_id") != pressed]
        if left and name != "resolve":
            made.append({**block, "elements": left})
        made.append(note)
    return made


def _channel(payload: Mapping[str, Any]) -> Any:
    return (payload.get("channel") or {}).get("id") or (payload.get("container") or {}).get("channel_id")


def _who(user: Mapping[str, Any]) -> str:
    """Name the presser as Slack does, with the id, which nobody can choose."""
    name = one_line(shorten(str(user.get("username") or user.get("name") or "somebody"), 80))
    return f"{name} ({user['id']})" if user.get("id") else name
