"""Slack's Web API, called through our own HTTP, with every error said as a delivery's: what passes, what stays, what to do.

Used by `slack.py` for messages and by `_slack_actions.py` for answers to buttons.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.request import Request

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError, TransportError
from actionwatch.net.http_response import Answer, retry_after
from actionwatch.notifiers._posting import Poster
from actionwatch.notifiers.base import Redactor, check_answer
from actionwatch.text.escaping import one_line

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

# The SDK writes addresses, headers and texts at DEBUG and errors at ERROR. What went wrong is for the caller to log, once.
SILENT = logging.getLogger("actionwatch.notifiers.slack.sdk")
SILENT.setLevel(logging.CRITICAL + 1)
SILENT.propagate = False


class BlocksRefused(PermanentDeliveryError):
    """Slack takes no such blocks; str() is its word for why."""


class HeadGone(PermanentDeliveryError):
    """The message to update was deleted, or is no longer ours to change."""


class SlackApi:
    """Slack's methods with one token, a bot's or (for Socket Mode) an app's. Safe to share between threads."""

    def __init__(self, token: str, base_url: str, poster: Poster, *, is_app: bool = False) -> None:
        self.client = _Client(token, base_url, poster)
        self._redact = Redactor(token)
        self._remedies = APP_REMEDIES if is_app else REMEDIES

    def test(self, scope: str) -> None:
        """Have the token tested; what Slack tells of its scopes (a header of every answer) has to hold this one.

        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        told = self._answer("auth.test", {}).headers
        scopes = next((value for name, value in told.items() if name.lower() == "x-oauth-scopes"), None)
        if scopes is not None and scope not in re.split(r"[,\s]+", scopes):
            raise PermanentDeliveryError(f"the token lacks the scope {scope}: add it to the app and install it again")

    def call(self, method: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call a method once.

        Raises: TransientDeliveryError; PermanentDeliveryError, of which BlocksRefused and HeadGone have a way out.
        """
        data = self._answer(method, payload).data
        return data if isinstance(data, Mapping) else {}

    def _answer(self, method: str, payload: Mapping[str, Any]) -> SlackResponse:
        # `parse` and `link_names` are Slack's defaults for posting, but not for updating, where `parse` is `client`.
        manners = {"parse": "none", "link_names": False} if method.startswith("chat.") else {}
        try:
            return self.client.api_call(method, json={**payload, **manners})
        except TransportError as exc:
            raise TransientDeliveryError(f"cannot reach Slack: {self._redact(str(exc))}") from exc
        except SlackApiError as exc:
            raise self._translate(exc) from exc
        except (SlackClientError, ValueError, AttributeError, TypeError) as exc:
            # The SDK trips over answers that are JSON but no object.
            raise TransientDeliveryError(f"Slack's answer cannot be read ({type(exc).__name__})") from exc

    def _translate(self, exc: SlackApiError) -> Exception:
        """Say what an error means: `error` of an answer 200, else the status."""
        response: Any = exc.response
        data = response.data if isinstance(response.data, dict) else {}
        error = self._redact(str(data.get("error") or ""))
        status, headers = response.status_code, {name.lower(): value for name, value in response.headers.items()}
        if status in (200, 429) and (status == 429 or error in TRANSIENT_ERRORS):
            wait = retry_after(headers, utc_now()) or timedelta(0)
            return TransientDeliveryError(f"Slack answered {error or 'ratelimited'}", retry_after=wait)
        if status != 200:
            return _refusal(Answer(status, headers, json.dumps(data).encode(), timedelta(0)), self._redact)
        if not isinstance(response.data, dict) or " " in error or not error:
            return TransientDeliveryError("Slack's answer cannot be read", answer=error[:500])
        if error in BLOCK_ERRORS:
            return BlocksRefused(error)
        if error in GONE_ERRORS:
            return HeadGone(error)
        details = "; ".join(str(line) for line in (data.get("response_metadata") or {}).get("messages") or [])
        remedy = f": {self._remedies[error]}" if error in self._remedies else ""
        return PermanentDeliveryError(f"Slack answered {error}{remedy}", answer=self._redact(details)[:500])


def escaped(text: str) -> str:
    """Escape what Slack would read as a mention or a link (docs.slack.dev, formatting message text)."""
    shown = one_line(text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _Client(WebClient):
    """Slack's client, sending through our own HTTP.

    The SDK sends by urllib, which follows a redirect and takes the token along to whatever host it names, uses proxies of
    the environment, and bounds no answer. `test_redirects_are_not_followed` fails if the SDK stops calling this method.
    """

    def __init__(self, token: str, base_url: str, http: Poster) -> None:
        super().__init__(token=token, base_url=base_url, logger=SILENT, retry_handlers=[])
        self._http = http

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        body = req.data if isinstance(req.data, bytes) else b""
        answer = self._http.post(url, headers=dict(req.header_items()), content=body)
        return {"status": answer.status, "headers": answer.headers, "body": answer.body.decode("utf-8", "replace")}


def _refusal(answer: Answer, redact: Redactor) -> Exception:
    try:
        check_answer(answer, redact)
    except (TransientDeliveryError, PermanentDeliveryError) as exc:
        return exc
    return TransientDeliveryError(f"Slack answered {answer.status} without saying ok")
