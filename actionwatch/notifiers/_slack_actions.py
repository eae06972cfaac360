"""Slack's buttons (Acknowledge, Silence 1 h, Resolve), and the listener for them. Socket Mode needs no open port.

A press is obeyed only if it comes from the workspace of the bot and from the channel in which this receiver posted that alert,
and if its user belongs to that workspace, or is in the list of `users`. Everything else is refused and logged.

The SDK's socket client handles the WebSocket. This module works around its faults: it takes a proxy from the environment, gives
up if the first connection fails, ignores Retry-After, uses a whole core for 20 seconds when a connection ends without a close
frame, needs up to four seconds to close, and cannot read large frames.
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
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from slack_sdk import WebClient
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.builtin.connection import Connection
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from actionwatch.base.errors import ActionwatchError, DeliveryError, PermanentDeliveryError, TransientDeliveryError
from actionwatch.notifiers._slack_api import SlackApi, escaped
from actionwatch.notifiers._slack_buttons import BLOCK_ID, BUTTONS, MAX_VALUE_CHARS, PREFIX
from actionwatch.notifiers.base import OnAction, ReferenceOf
from actionwatch.text.escaping import one_line, shorten
from actionwatch.text.options import is_loopback

_MAX_DECISION_CHARS = 300
MAX_ENVELOPE_CHARS = 1_000_000  # a press contains the message, of at most 50 blocks of 3,000 characters
MAX_FRAME_BYTES = 4 * MAX_ENVELOPE_CHARS  # a longer frame ends the connection
_RECEIVE_BYTES = 65_536  # at once
_WATCH_SECONDS = 1.0  # how often the connection is checked
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # before connecting again, doubled each time
_UNEXPECTED_WAIT = 5.0  # after an unexpected error
REFUSED_WAIT = 300.0  # a wrong token stays wrong until the configuration is reloaded
_LIST_TEAMS = "auth.teams.list?limit=1000"  # in the URL, because it accepts no JSON; it returns at most 1000
_SEEN_ENVELOPES = 200  # Slack repeats an envelope whose acknowledgement was lost

# The SDK logs URLs, headers and texts at DEBUG, and errors at ERROR. `SlackActions` logs an error once itself.
_SILENT = logging.getLogger("actionwatch.notifiers.slack.sdk")
_SILENT.setLevel(logging.CRITICAL + 1)
_SILENT.propagate = False

log = structlog.get_logger()


class _Identified(msgspec.Struct):
    id: str


class _User(msgspec.Struct):
    id: str
    username: str = ""
    name: str = ""
    team_id: str | None = None
    """The workspace of the user, which is another one in a shared channel; or the organisation of that workspace."""


class _Action(msgspec.Struct):
    action_id: str = ""
    value: str = ""


class _Shown(msgspec.Struct):
    """The message with the pressed button, which is shown again with the decision in it."""

    ts: str
    text: str = ""
    metadata: dict[str, Any] | None = None
    blocks: list[dict[str, Any]] | None = None
    attachments: list[dict[str, Any]] | None = None


class _Press(msgspec.Struct):
    user: _User
    channel: _Identified
    message: _Shown
    actions: list[_Action]
    team: _Identified | None = None
    enterprise: _Identified | None = None


class _Workspace(msgspec.Struct):
    """The workspace of the bot, as `auth.test` returns it; the whole organisation, if the app is installed there."""

    team_id: str
    enterprise_id: str | None = None
    is_enterprise_install: bool = False
    teams: tuple[_Identified, ...] = ()
    """The workspaces of the organisation that have the app, if it is installed there."""

    def contains(self, press: _Press) -> bool:
        """Return whether the message with the button is here."""
        if self.is_enterprise_install:
            return press.enterprise is not None and press.enterprise.id == self.enterprise_id
        return press.team is not None and press.team.id == self.team_id

    def has(self, user: _User) -> bool:
        """Return whether a user belongs to it. In an organisation, Slack may name only that as the team of a user.

        https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
        """
        return user.team_id in (None, self.team_id, self.enterprise_id, *(team.id for team in self.teams))


class _Teams(msgspec.Struct):
    teams: tuple[_Identified, ...]


class _Refused(Exception):
    """A press that is not obeyed; str() is the reason."""


class SlackActions:
    """Listens for pressed buttons from `start` to `close`, in its own threads, and reconnects if the connection is lost."""

    def __init__(
        self,
        app: SlackApi,
        bot: SlackApi,
        on_action: OnAction,
        reference_of: ReferenceOf,
        *,
        receiver: str,
        users: Collection[str] = (),
        context: ssl.SSLContext,
        proxy: str | None,
    ) -> None:
        """`users` are the ids of those who may press; everyone in the channel, if there are none."""
        self.receiver = receiver
        self._bot = bot
        self._on_action = on_action
        self._reference_of = reference_of
        self._users = users
        self._workspace: _Workspace | None = None
        self._seen: deque[str] = deque(maxlen=_SEEN_ENVELOPES)
        self._stopping = threading.Event()
        self._make = functools.partial(_Client, app, context, proxy, self._refuse, self._take)
        self._client: _Client | None = None
        self._thread = threading.Thread(target=self._watch, name=f"slack-actions-{receiver}", daemon=True)

    def start(self) -> None:
        """Connect and listen in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish the press that is being handled, disconnect, and end the threads."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._bot.close()

    def check(self) -> None:
        """Check that the listener is connected.

        Raises: DeliveryError.
        """
        if self._client is None or not self._client.is_connected():
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
        self._client = client = self._make()
        wait = FIRST_WAIT
        try:
            while not self._stopping.is_set():
                if client.is_connected():
                    wait = FIRST_WAIT
                    self._stopping.wait(_WATCH_SECONDS)
                elif (shortest := self._connect(client)) is not None:
                    self._stopping.wait(max(wait, shortest))
                    wait = min(wait * 2, LONGEST_WAIT)
        finally:
            self._client = None
            client.end()

    def _connect(self, client: _Client) -> float | None:
        """Connect. Return None, or the shortest wait in seconds before the next attempt."""
        try:
            self._workspace = self._read_workspace()
            client.connect_to_new_endpoint()
        except (DeliveryError, SlackClientError, OSError, ValueError) as exc:
            log.warning("slack_actions_connect_failed", receiver=self.receiver, error=str(exc))
            if isinstance(exc, TransientDeliveryError):
                return exc.retry_after.total_seconds()
            return REFUSED_WAIT if isinstance(exc, PermanentDeliveryError) else 0.0
        if not client.is_connected():
            return 0.0
        log.info("slack_actions_connected", receiver=self.receiver)
        return None

    def _read_workspace(self) -> _Workspace:
        """Ask for the workspace of the bot. Raises: DeliveryError."""
        try:
            workspace = msgspec.convert(self._bot.call("auth.test", {}), _Workspace)
            if workspace.is_enterprise_install:
                workspace.teams = msgspec.convert(self._bot.call(_LIST_TEAMS, {}), _Teams).teams
            return workspace
        except msgspec.ValidationError as exc:
            raise TransientDeliveryError(f"Slack did not name the workspace of the bot: {exc}") from exc

    def _take(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        """Acknowledge one envelope, because Slack waits only three seconds, then handle it."""
        with contextlib.suppress(SlackClientError, OSError, AttributeError):
            client.send_socket_mode_response({"envelope_id": request.envelope_id})
        if request.type != "interactive" or request.envelope_id in self._seen:
            return
        self._seen.append(request.envelope_id)
        try:
            press = msgspec.convert(request.payload, _Press)
            for action in press.actions:
                name = action.action_id.removeprefix(PREFIX)
                if name in BUTTONS and name != action.action_id:
                    self._press(name, action.value, press)
        except msgspec.ValidationError as exc:
            self._refuse(f"not a press: {exc}")

    def _refuse(self, reason: str) -> None:
        log.warning("slack_press_refused", receiver=self.receiver, reason=one_line(shorten(reason, 300)))

    def _check(self, press: _Press, alert_id: str) -> None:
        """Check who pressed, and where. Only a user in the channel of the alert gets an answer.

        Raises: _Refused.
        """
        if self._workspace is None or not self._workspace.contains(press):
            raise _Refused(f"{_who(press.user)} pressed in another workspace")
        if not self._workspace.has(press.user) and press.user.id not in self._users:
            raise _Refused(f"{_who(press.user)} is from another workspace, and not in users")
        if not 0 < len(alert_id) <= MAX_VALUE_CHARS:
            raise _Refused("the value of the button is not the id of an alert")
        reference = self._reference_of(alert_id)
        if reference is None:
            raise _Refused(f"this receiver posted no message about the alert {shorten(alert_id, 100)}")
        if reference.rpartition(":")[0] != press.channel.id:
            raise _Refused(f"{_who(press.user)} pressed in another channel than that of the alert")
        if self._users and press.user.id not in self._users:
            what = "you are not in the list of users of this receiver"
            self._reply_privately(f"Not done: {what}. Ask the operator of actionwatch to add you.", press)
            raise _Refused(f"{_who(press.user)} is not in users")

    def _press(self, name: str, alert_id: str, press: _Press) -> None:
        who = _who(press.user)
        try:
            self._check(press, alert_id)
            decision = self._on_action(name, alert_id, who)
        except _Refused as exc:
            self._refuse(str(exc))
        except ActionwatchError as exc:
            self._reply_privately(f"{BUTTONS[name]} failed: {exc}", press)
        except Exception as exc:
            # The SDK would swallow the exception, and the user would believe that it worked.
            log.exception("slack_action_failed", receiver=self.receiver, action=name, error=type(exc).__name__)
            self._reply_privately(f"{BUTTONS[name]} failed: unexpected {type(exc).__name__}", press)
        else:
            log.info("slack_action_taken", receiver=self.receiver, action=name, alert=alert_id, who=who)
            if not decision.is_new:
                # The message in the channel may be newer than the one in the payload: do not overwrite it.
                self._reply_privately(f"Nothing to do. {decision.text}", press)
            elif name == "resolve":
                # The same: the worker updates it at once, and it may be faster. No later update would repair it.
                self._reply_privately(decision.text, press)
            else:
                self._call("chat.update", _decided(press, name, decision.text))

    def _reply_privately(self, what: str, press: _Press) -> None:
        """Show a text only to the user who pressed the button."""
        text = escaped(shorten(what, 500))
        self._call("chat.postEphemeral", {"channel": press.channel.id, "user": press.user.id, "text": text})

    def _call(self, method: str, arguments: Mapping[str, Any]) -> None:
        try:
            self._bot.call(method, arguments)
        except DeliveryError as exc:
            # The action itself is done: the next update of the alert shows it.
            log.warning("slack_reply_failed", receiver=self.receiver, error=str(exc))


class _Client(SocketModeClient):
    """The SDK's socket client, with our HTTP client. `SlackActions` reconnects it."""

    def __init__(
        self,
        app: SlackApi,
        context: ssl.SSLContext,
        proxy: str | None,
        refuse: Callable[[str], None],
        take: Callable[[BaseSocketModeClient, SocketModeRequest], None],
    ) -> None:
        # The SDK uses only the TLS context of this web client: it has no token and makes no calls.
        web_client = WebClient(ssl=context, logger=_SILENT)
        super().__init__("", _SILENT, web_client, auto_reconnect_enabled=False, concurrency=1, proxy=proxy)
        self.proxy = proxy  # without one, the SDK has taken the proxy of the environment
        self._app = app
        self._refuse = refuse
        self.socket_mode_request_listeners.append(take)
        self.on_error_listeners.append(self._report)

    def issue_new_wss_url(self) -> str:
        url = str(self._app.call("apps.connections.open", {}).get("url") or "")
        parts = urlsplit(url)
        if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(parts.hostname or "")):
            raise TransientDeliveryError("Slack returned no wss:// address to connect to")
        return url

    def enqueue_message(self, message: str) -> None:
        """Take one message for a later thread, unless it is too large to be a press."""
        if len(message) > MAX_ENVELOPE_CHARS:
            self._refuse(f"it has {len(message)} characters, and a press at most {MAX_ENVELOPE_CHARS}")
            return
        super().enqueue_message(message)

    def _report(self, error: Exception) -> None:
        """Log what is wrong with a frame. Other errors of the socket are those of a lost connection."""
        if not isinstance(error, OSError) or isinstance(error, _Unreadable):
            self._refuse(f"it cannot be read: {error}")

    @property
    def current_session(self) -> Connection | None:
        """The connection, if any. Its socket is replaced before the SDK's thread can see it and read."""
        return self._session

    @current_session.setter
    def current_session(self, session: Connection | None) -> None:
        if session is not None and session.sock is not None:
            session.sock = _FrameSocket(session.sock)  # type: ignore[assignment]
        self._session = session

    def end(self) -> None:
        """Close. First wake the thread that waits for the next frame, because it holds the lock that closing needs."""
        session = self.current_session
        if session is not None and session.sock is not None:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)
        self.message_queue.put(None)  # wake the thread that waits for a message
        self.close()


class _Unreadable(ConnectionError):
    """A frame that Slack never sends. The SDK closes the connection, and `SlackActions` makes another."""


class _FrameSocket:
    """A socket that returns one whole frame (RFC 6455 §5.2) at a time, and raises when the peer has closed.

    The SDK would read empty data in a busy loop. For each piece of a frame it would keep a copy of all pieces before, which is
    500 MB for a frame of 1 MB, and after about 1,000 pieces or a timeout it would take the rest for other frames.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._taken = bytearray()
        self.send, self.close, self.shutdown = sock.send, sock.close, sock.shutdown

    def recv(self, _: int) -> bytes:
        while missing := self._missing_count():
            data = self._socket.recv(min(missing, _RECEIVE_BYTES))
            if not data:
                raise ConnectionResetError("Slack closed the connection")
            # Of the response that begins the WebSocket, the SDK leaves the last line end. No frame begins with it.
            self._taken += data if self._taken else data.removeprefix(b"\n")
        frame, self._taken = bytes(self._taken), bytearray()
        return frame

    def _missing_count(self) -> int:
        """Return how many bytes of the header are missing, or else of the frame."""
        taken = self._taken
        length = taken[1] & 0x7F if len(taken) > 1 else 0
        header = 2 + {126: 2, 127: 8}.get(length, 0)
        if len(taken) < header:
            return header - len(taken)
        if header > 2:
            length = int.from_bytes(taken[2:header])
        if length > MAX_FRAME_BYTES:
            raise _Unreadable(f"it has {length} bytes, and a press at most {MAX_FRAME_BYTES}")
        if taken[1] & 0x80:
            raise _Unreadable("its frame has a mask, which only clients use")
        return header + length - len(taken)


def _decided(press: _Press, name: str, text: str) -> dict[str, Any]:
    """Return the message with the decision in place of the pressed button."""
    message = press.message
    marked = f":white_check_mark: {escaped(shorten(text, _MAX_DECISION_CHARS))}"
    note = {"type": "context", "elements": [{"type": "mrkdwn", "verbatim": True, "text": marked}]}
    kept = {key: value for key, value in (("text", message.text), ("metadata", message.metadata)) if value}
    attachments = [_attachment(item, name, note) for item in message.attachments or []]
    blocks = _replaced(message.blocks or [], name, note)
    target = {"channel": press.channel.id, "ts": message.ts}
    return {**kept, **target, "blocks": blocks, "attachments": attachments}


def _attachment(item: dict[str, Any], name: str, note: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attachment with the note in its blocks, if it has any."""
    if not isinstance(item.get("blocks"), list):
        return item
    kept = {key: item[key] for key in ("color", "fallback") if item.get(key)}
    return {**kept, "blocks": _replaced(item["blocks"], name, note)}


def _replaced(blocks: list[Any], name: str, note: Mapping[str, Any]) -> list[Any]:
    """Remove the pressed button and append the note."""
    made: list[Any] = []
    for block in blocks:
        if not isinstance(block, dict) or block.get("block_id") != BLOCK_ID:
            made.append(block)
            continue
        pressed = f"{PREFIX}{name}"
        elements = block["elements"] if isinstance(block.get("elements"), list) else []
        left = [each for each in elements if isinstance(each, dict) and each.get("action_id") != pressed]
        if left:
            made.append({**block, "elements": left})
        made.append(note)
    return made


def _who(user: _User) -> str:
    """Name the user by name and id: users can choose their names, but not their ids."""
    name = one_line(shorten(user.username or user.name or "unknown user", 80))
    return f"{name} ({one_line(shorten(user.id, 80))})"
