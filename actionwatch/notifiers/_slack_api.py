"""Slack's Web API: JSON posts with a token; every error becomes a delivery's, transient or permanent, with its remedy.

Used by `slack.py` for messages and by `_slack_actions.py` for answers to buttons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError, TransportError
from actionwatch.net.http_response import HttpResponse, retry_after
from actionwatch.notifiers.base import RESPONSE_CHARS, Redactor, check_response
from actionwatch.text.escaping import one_line

if TYPE_CHECKING:
    from actionwatch.net.http import HttpClient

TRANSIENT_ERRORS = frozenset({
    "ratelimited", "rate_limited", "internal_error", "service_unavailable", "fatal_error", "request_timeout",
    "team_added_to_org", "update_failed", "backend_timeout", "timeout",
})  # fmt: skip
BLOCK_ERRORS = frozenset({
    "invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_blocks_too_long", "too_many_attachments",
    "attachment_payload_limit_exceeded", "invalid_metadata_format", "invalid_metadata_schema",
})  # fmt: skip
GONE_ERRORS = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "message_not_owned_by_app"})
REMEDIES = {
    "invalid_auth": "the token is wrong: give the receiver the app's bot token (xoxb-…)",
    "not_authed": "the token is missing: give the receiver the app's bot token (xoxb-…)",
    "token_revoked": "the token was revoked: install the app again and give the receiver its new bot token",  # nosec B105
    "token_expired": "the token has expired: give the receiver a new one",  # nosec B105
    "account_inactive": "the app was removed from the workspace: install it again",
    "missing_scope": "add the scope chat:write to the app and install it again",
    "not_allowed_token_type": "give the receiver a bot token (xoxb-…)",  # nosec B105
    "no_permission": "add the scope chat:write to the app and install it again",
    "channel_not_found": "check the channel's id; a private channel must have invited the app",
    "not_in_channel": "invite the app into the channel: /invite @app",
    "is_archived": "the channel is archived: name another one, or unarchive it",
    "restricted_action": "the workspace's settings keep the app from posting there: ask an administrator",
    "restricted_action_read_only_channel": "the channel is read-only: name another one",
    "msg_too_long": "shorten the template slack.json.j2",
    "no_text": "the template slack.json.j2 gives neither text nor blocks",
    "org_login_required": "the workspace has moved into an organisation: install the app there",
}

_APP_LEVEL = "give app_token the app's app-level token (xapp-…), with the scope connections:write"
APP_REMEDIES = REMEDIES | dict.fromkeys(
    ("invalid_auth", "not_authed", "not_allowed_token_type", "missing_scope"), _APP_LEVEL
)


class BlocksRefused(PermanentDeliveryError):
    """Slack takes no such blocks; str() is its word for why."""


class HeadGone(PermanentDeliveryError):
    """The message to update was deleted, or is no longer ours to change."""


class SlackApi:
    """Slack's methods with one token, a bot's or (for Socket Mode) an app's. Safe to share between threads."""

    def __init__(self, token: str, base_url: str, http: HttpClient, *, is_app: bool = False) -> None:
        self._token = token
        self._base_url = base_url
        self._http = http
        self._redact = Redactor(token)
        self._remedies = APP_REMEDIES if is_app else REMEDIES

    def test(self, scope: str) -> None:
        """Test the token; if Slack lists its scopes (in a header of every response), this one has to be among them.

        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        scopes = self._exchange("auth.test", {})[0].headers.get("x-oauth-scopes")
        if scopes is not None and scope not in re.split(r"[,\s]+", scopes):
            raise PermanentDeliveryError(f"the token lacks the scope {scope}: add it to the app and install it again")

    def call(self, method: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call a method once.

        Raises: TransientDeliveryError; PermanentDeliveryError, of which BlocksRefused and HeadGone have a way out.
        """
        return self._exchange(method, payload)[1]

    def _exchange(self, method: str, payload: Mapping[str, Any]) -> tuple[HttpResponse, Mapping[str, Any]]:
        """Post a call; give the response, and the object in it, which says `ok`."""
        # `parse` and `link_names` are Slack's defaults for posting, but not for updating, where `parse` is `client`.
        defaults = {"parse": "none", "link_names": False} if method.startswith("chat.") else {}
        arguments = {**payload, **defaults}
        headers = {"authorization": f"Bearer {self._token}"}
        if arguments:  # apps.connections.open takes no JSON, nor any arguments
            headers["content-type"] = "application/json; charset=utf-8"
        content = json.dumps(arguments).encode() if arguments else b""
        try:
            response = self._http.post(f"{self._base_url}{method}", headers=headers, content=content)
        except TransportError as exc:
            raise TransientDeliveryError(f"cannot reach Slack: {self._redact(str(exc))}") from exc
        data = _object(response)
        if response.status != 200 or not data.get("ok"):
            raise self._refusal(response, data)
        return response, data

    def _refusal(self, response: HttpResponse, data: Mapping[str, Any]) -> Exception:
        """Say what a refusal means: `error` of a response 200, else the status."""
        error = self._redact(str(data.get("error") or ""))
        if response.status == 429 or (response.status == 200 and error in TRANSIENT_ERRORS):
            wait = retry_after(response.headers, utc_now()) or timedelta(0)
            return TransientDeliveryError(f"Slack answered {error or 'ratelimited'}", retry_after=wait)
        if response.status != 200:
            return _by_status(response, self._redact)
        if not error:
            return TransientDeliveryError("Slack's answer cannot be read", response=self._redact(response.excerpt()))
        if error in BLOCK_ERRORS:
            return BlocksRefused(error)
        if error in GONE_ERRORS:
            return HeadGone(error)
        details = "; ".join(str(line) for line in (data.get("response_metadata") or {}).get("messages") or [])
        remedy = f": {self._remedies[error]}" if error in self._remedies else ""
        return PermanentDeliveryError(
            f"Slack answered {error}{remedy}", response=self._redact(details)[:RESPONSE_CHARS]
        )


def escaped(text: str) -> str:
    """Escape what Slack would read as a mention or a link (docs.slack.dev, formatting message text)."""
    shown = one_line(text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _object(response: HttpResponse) -> Mapping[str, Any]:
    """Read the JSON object of a response; empty if there is none, as in the maintenance page of a proxy."""
    try:
        data = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _by_status(response: HttpResponse, redact: Redactor) -> Exception:
    try:
        check_response(response, redact)
    except (TransientDeliveryError, PermanentDeliveryError) as exc:
        return exc
    return TransientDeliveryError(f"Slack answered {response.status} without saying ok")
