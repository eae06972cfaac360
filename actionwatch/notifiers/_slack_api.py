"""Slack's Web API: post JSON with a token, and translate errors into delivery errors with a remedy.

`slack.py` uses it for messages, and `_slack_actions.py` and `_slack_presses.py` for buttons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.net.http_response import HttpResponse, retry_after
from actionwatch.notifiers.base import AddressNotifier, Redactor, check_response
from actionwatch.text.escaping import one_line, without_slack_markup

if TYPE_CHECKING:
    from pydantic import SecretStr

    from actionwatch.net.http import HttpClient

_MAX_ID_CHARS = 200  # of a channel or a message; Slack's have about 20
_BEGINNING = re.compile(rb'\s*\{\s*"ok"\s*:\s*(?P<ok>true|false)\s*,(?:\s*"error"\s*:\s*"(?P<error>[a-z_]{1,100})")?')
_ERROR_CHARS = 100  # of an error code; Slack's have about 20
_TRANSIENT_ERRORS = frozenset({
    "ratelimited", "rate_limited", "internal_error", "service_unavailable", "fatal_error", "request_timeout",
    "team_added_to_org", "update_failed", "backend_timeout", "timeout",
})  # fmt: skip
BLOCK_ERRORS = frozenset({
    "invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_blocks_too_long", "too_many_attachments",
    "attachment_payload_limit_exceeded", "invalid_metadata_format", "invalid_metadata_schema",
})  # fmt: skip
_GONE_ERRORS = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "message_not_owned_by_app"})
_GONE_CHANNEL_ERRORS = frozenset({"channel_not_found", "is_archived", "not_in_channel"})
_REMEDIES = {
    "invalid_auth": "the token is wrong: configure the bot token of the app (xoxb-…)",
    "not_authed": "the token is missing: configure the bot token of the app (xoxb-…)",
    "token_revoked": "the token was revoked: install the app again and configure its new bot token",  # nosec B105
    "token_expired": "the token has expired: configure a new one",  # nosec B105
    "account_inactive": "the app was removed from the workspace: install it again",
    "missing_scope": "add the scope chat:write to the app and install it again",
    "not_allowed_token_type": "configure a bot token (xoxb-…)",  # nosec B105
    "no_permission": "add the scope chat:write to the app and install it again",
    "channel_not_found": "check the id of the channel; invite the app into a private channel",
    "not_in_channel": "invite the app into the channel with /invite @app",
    "is_archived": "the channel is archived: configure another channel, or unarchive it",
    "restricted_action": "the settings of the workspace forbid the app to post there: ask an administrator",
    "restricted_action_read_only_channel": "the channel is read-only: configure another one",
    "msg_too_long": "shorten the template slack.json.j2",
    "no_text": "the template slack.json.j2 renders neither text nor blocks",
    "org_login_required": "the workspace has become part of an organisation: install the app there",
}

_APP_LEVEL = "set app_token to the app-level token of the app (xapp-…) with the scope connections:write"
_APP_REMEDIES = _REMEDIES | dict.fromkeys(
    ("invalid_auth", "not_authed", "not_allowed_token_type", "missing_scope"), _APP_LEVEL
)


class BlocksRefused(PermanentDeliveryError):
    """Slack refuses the blocks; str() is its error code."""


class HeadGone(PermanentDeliveryError):
    """The message to update was deleted, or it or its channel can no longer be changed."""


class SlackApi(AddressNotifier):
    """Slack's methods with one token: a bot token, or an app token for Socket Mode. Safe to share between threads."""

    def __init__(
        self, token: str, base_url: str, http: HttpClient, proxy: SecretStr | None = None, *, is_app: bool = False
    ) -> None:
        redact = Redactor(token, proxy=proxy)
        super().__init__(base_url.rstrip("/") + "/", http, redact, unreachable="cannot reach Slack: ")
        self._token = token
        self._remedies = _APP_REMEDIES if is_app else _REMEDIES

    def test(self, scope: str) -> None:
        """Test the token, and check that it has this scope if Slack lists the scopes in a header."""
        scopes = self._exchange("auth.test", {})[0].headers.get("x-oauth-scopes")
        if scopes is not None and scope not in re.split(r"[,\s]+", scopes):
            raise PermanentDeliveryError(f"the token lacks the scope {scope}: add it to the app and install it again")

    def call(self, method: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call a method once.

        Raises: TransientDeliveryError; PermanentDeliveryError (a caller can recover from BlocksRefused and HeadGone).
        """
        return self._exchange(method, payload)[1]

    def _exchange(self, method: str, payload: Mapping[str, Any]) -> tuple[HttpResponse, Mapping[str, Any]]:
        """Post a call and return the response and the JSON object in it, in which `ok` is true."""
        # `parse` and `link_names` are Slack's defaults for posting, but not for updating, where `parse` is `client`.
        defaults = {"parse": "none", "link_names": False} if method.startswith("chat.") else {}
        arguments = {**payload, **defaults}
        headers = {"authorization": f"Bearer {self._token}"}
        if arguments:  # apps.connections.open accepts neither JSON nor arguments
            headers["content-type"] = "application/json; charset=utf-8"
        content = json.dumps(arguments).encode() if arguments else b""
        response = self.post(headers, content, method)
        data = _object_in(response)
        if response.status != 200 or data.get("ok") is not True:
            self._refuse(method, response, data)
        if odd := [name for name in ("channel", "ts") if not _is_short(data.get(name, ""))]:
            what = f"Slack returned no usable {' and no '.join(odd)}"
            raise PermanentDeliveryError(what, response=self._redact.excerpt(response.text))
        return response, data

    def _refuse(self, method: str, response: HttpResponse, data: Mapping[str, Any]) -> NoReturn:
        """Raise what a refusal means: `error` in a response with status 200, else the status."""
        error = self._redact.excerpt(str(data.get("error") or ""), _ERROR_CHARS)
        if response.status == 429 or (response.status == 200 and error in _TRANSIENT_ERRORS):
            wait = retry_after(response.headers, utc_now()) or timedelta(0)
            raise TransientDeliveryError(f"Slack answered {error or 'ratelimited'}", retry_after=wait)
        if response.status != 200:
            check_response(response, self._redact)
            raise TransientDeliveryError(f"Slack answered {response.status} without ok")
        if not error:
            raise TransientDeliveryError(
                "cannot read the response of Slack", response=self._redact.excerpt(response.text)
            )
        if error in BLOCK_ERRORS:
            raise BlocksRefused(error)
        # The channel of an update is that of the message, and the configuration may name another one since.
        if error in _GONE_ERRORS or (method == "chat.update" and error in _GONE_CHANNEL_ERRORS):
            raise HeadGone(error)
        metadata = data.get("response_metadata")
        lines = metadata.get("messages") if isinstance(metadata, dict) else metadata
        details = "; ".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")
        remedy = f": {self._remedies[error]}" if error in self._remedies else ""
        raise PermanentDeliveryError(f"Slack answered {error}{remedy}", response=self._redact.excerpt(details))


def _object_in(response: HttpResponse) -> Mapping[str, Any]:
    """Return the JSON object of a response; what its beginning says if the rest is missing; else nothing."""
    data = response.json_object()
    found = None if data else _BEGINNING.match(response.body)
    if found is None:
        return data
    return {"ok": found["ok"] == b"true", **({"error": found["error"].decode()} if found["error"] else {})}


def _is_short(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_ID_CHARS


def escaped(text: str) -> str:
    """Escape a text for one line of a Slack message."""
    return without_slack_markup(one_line(text))
