"""Slack: one message per alert, updated in place, by a bot's token; or a message per event through an incoming webhook.

With a token, `alert.opened` posts the head message, later events rewrite it (count, last time, state), and only a resolution
is also told in the head's thread. https://docs.slack.dev/reference/methods/chat.postMessage and chat.update.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.request import Request

from pydantic import AfterValidator, Field, SecretStr, model_validator
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from actionwatch import options as words
from actionwatch.errors import PermanentDeliveryError, TransientDeliveryError, TransportError
from actionwatch.http import Answer, HttpClient, retry_after
from actionwatch.model import Message, Receipt
from actionwatch.notifiers._blocks import bounded
from actionwatch.notifiers.base import MAX_ANSWER_BYTES, CaFile, Proxy, Redactor, Rendered, check_answer
from actionwatch.text import one_line, shorten

TEMPLATES: tuple[str, ...] = ("slack.json",)
DEFAULT_RATE_PER_SECOND: float | None = 1.0  # Slack takes about one message a second and channel
IS_UPDATED_LAST = False
DEFAULT_TIMEOUT = timedelta(seconds=10)

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

# The SDK writes addresses, headers and texts at DEBUG and errors at ERROR. What went wrong is for the caller to log, once.
_SILENT = logging.getLogger("actionwatch.notifiers.slack.sdk")
_SILENT.setLevel(logging.CRITICAL + 1)
_SILENT.propagate = False


def _base_url(value: str) -> str:
    return words.check_url(value).rstrip("/") + "/"


def _webhook_url(value: SecretStr) -> SecretStr:
    words.check_url(value.get_secret_value())
    return value


class Options(words.Options):
    """The keys of a `slack:` receiver: a bot's token with a channel, or an incoming webhook's address."""

    token: words.Secret | None = None
    token_file: words.SecretFile | None = None
    channel: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    webhook_url: Annotated[words.Secret, AfterValidator(_webhook_url)] | None = None
    webhook_url_file: Annotated[words.SecretFile, AfterValidator(_webhook_url)] | None = None
    base_url: Annotated[str, AfterValidator(_base_url)] = WebClient.BASE_URL
    timeout: words.PositiveDuration = DEFAULT_TIMEOUT
    ca_file: CaFile | None = None
    proxy: Proxy | None = None

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.require_one(self, "token", "token_file", "webhook_url", "webhook_url_file")
        has_token = self.token is not None or self.token_file is not None
        if has_token and not self.channel:
            raise ValueError("channel is needed with a token")
        if self.channel and not has_token:
            raise ValueError("channel goes with a token: an incoming webhook has its own channel")
        return self


def build(options: Options, *, receiver: str) -> SlackNotifier | IncomingWebhookNotifier:
    """Make the notifier of one receiver. Opens no connection."""
    url = words.secret(options.webhook_url, options.webhook_url_file)
    if url is not None:
        return IncomingWebhookNotifier(options, url, receiver=receiver)
    return SlackNotifier(options, receiver=receiver)


class SlackNotifier:
    """Posts and updates messages in one channel through Slack's Web API."""

    def __init__(self, options: Options, *, receiver: str) -> None:
        self.receiver = receiver
        token = words.secret(options.token, options.token_file) or ""
        self._channel = options.channel or ""
        self._redact = Redactor(token)
        self._http = _http(options)
        self._client = _Client(token, options.base_url, self._http)

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Post the head message, or bring it up to date; a resolution is told in its thread too.

        Returns: a receipt whose `reference` is `channel:ts` of a newly posted head, None where the old one still stands.
        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        payload = _payload(message, rendered)
        head = reference.rpartition(":") if reference and message.type != "receiver.test" else None
        if head is None or not head[0]:
            return self._post(payload)
        channel, _, ts = head
        try:
            note = self._deliver("chat.update", {**payload, "channel": channel, "ts": ts})[1]
        except _HeadGone as gone:
            posted = self._post(payload)
            return Receipt(posted.reference, f"posted anew, the message to update is gone ({gone})")
        if message.type == "alert.resolved":
            note = self._reply(message, channel, ts) or note
        return Receipt(note=note)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(self, payload: Mapping[str, Any]) -> Receipt:
        manners = {"unfurl_links": False, "unfurl_media": False}
        data, note = self._deliver("chat.postMessage", {**payload, **manners, "channel": self._channel})
        return Receipt(f"{data.get('channel') or self._channel}:{data.get('ts', '')}", note)

    def _reply(self, message: Message, channel: str, ts: str) -> str | None:
        """Tell a resolution in the thread; that the thread is gone is worth a note, not a second attempt at everything."""
        place = {"channel": channel, "thread_ts": ts, "unfurl_links": False, "unfurl_media": False}
        try:
            self._deliver("chat.postMessage", {**_resolution(message), **place})
        except PermanentDeliveryError as exc:
            return f"updated, but no reply in the thread: {exc}"
        return None

    def _deliver(self, method: str, payload: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
        """Call a method; what Slack cannot show as blocks goes out as plain text instead of not at all, with a note."""
        try:
            return self._call(method, payload), None
        except _BlocksRefused as refused:
            plain = {
                name: value for name, value in payload.items() if name not in ("blocks", "attachments", "metadata")
            }
            if method == "chat.update":
                plain |= {"blocks": [], "attachments": []}  # left out, the old ones would stay
            return self._call(method, plain), f"sent as plain text: Slack refused the template's blocks ({refused})"

    def _call(self, method: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        # `parse` and `link_names` are Slack's defaults for posting, but not for updating, where `parse` is `client`.
        arguments = {**payload, "parse": "none", "link_names": False}
        try:
            data = self._client.api_call(method, json=arguments).data
        except TransportError as exc:
            raise TransientDeliveryError(f"cannot reach Slack: {self._redact(str(exc))}") from exc
        except SlackApiError as exc:
            raise self._translate(exc) from exc
        except (SlackClientError, ValueError, AttributeError, TypeError) as exc:
            # The SDK trips over answers that are JSON but no object.
            raise TransientDeliveryError(f"Slack's answer cannot be read ({type(exc).__name__})") from exc
        return data if isinstance(data, Mapping) else {}

    def _translate(self, exc: SlackApiError) -> Exception:
        """Say what an error means: `error` of an answer 200, else the status."""
        response: Any = exc.response
        data = response.data if isinstance(response.data, dict) else {}
        error = self._redact(str(data.get("error") or ""))
        status, headers = response.status_code, {name.lower(): value for name, value in response.headers.items()}
        if status in (200, 429) and (status == 429 or error in TRANSIENT_ERRORS):
            wait = retry_after(headers, datetime.now(UTC)) or timedelta(0)
            return TransientDeliveryError(f"Slack answered {error or 'ratelimited'}", retry_after=wait)
        if status != 200:
            return _refusal(Answer(status, headers, json.dumps(data).encode(), timedelta(0)), self._redact)
        if not isinstance(response.data, dict) or " " in error or not error:
            return TransientDeliveryError("Slack's answer cannot be read", answer=error[:500])
        if error in BLOCK_ERRORS:
            return _BlocksRefused(error)
        if error in GONE_ERRORS:
            return _HeadGone(error)
        details = "; ".join(str(line) for line in (data.get("response_metadata") or {}).get("messages") or [])
        remedy = f": {REMEDIES[error]}" if error in REMEDIES else ""
        return PermanentDeliveryError(f"Slack answered {error}{remedy}", answer=self._redact(details)[:500])


class IncomingWebhookNotifier:
    """Posts messages through an incoming webhook, which can neither update nor thread."""

    def __init__(self, options: Options, url: str, *, receiver: str) -> None:
        self.receiver = receiver
        self._url = url
        self._redact = Redactor(url=url)
        self._http = _http(options)

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:  # noqa: ARG002
        """Post the message once.

        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        payload = {**_payload(message, rendered), "unfurl_links": False, "unfurl_media": False, "link_names": False}
        answer = self._post(payload)
        if answer.status == 400 and answer.excerpt() in BLOCK_ERRORS:
            plain = {
                name: value for name, value in payload.items() if name not in ("blocks", "attachments", "metadata")
            }
            check_answer(self._post(plain), self._redact)
            return Receipt(note=f"sent as plain text: Slack refused the template's blocks ({answer.excerpt()})")
        check_answer(answer, self._redact)
        return Receipt()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(self, payload: Mapping[str, Any]) -> Answer:
        headers = {"content-type": "application/json; charset=utf-8"}
        try:
            return self._http.request("POST", self._url, headers=headers, content=json.dumps(payload).encode())
        except TransportError as exc:
            raise TransientDeliveryError(f"cannot reach Slack: {self._redact(str(exc))}") from exc


class _BlocksRefused(PermanentDeliveryError):
    """Slack takes no such blocks; str() is its word for why."""


class _HeadGone(PermanentDeliveryError):
    """The message to update was deleted, or is no longer ours to change."""


class _Client(WebClient):
    """Slack's client, sending through our own HTTP.

    The SDK sends by urllib, which follows a redirect and takes the token along to whatever host it names, uses proxies of
    the environment, and bounds no answer. `test_redirects_are_not_followed` fails if the SDK stops calling this method.
    """

    def __init__(self, token: str, base_url: str, http: HttpClient) -> None:
        super().__init__(token=token, base_url=base_url, logger=_SILENT, retry_handlers=[])
        self._http = http

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        body = req.data if isinstance(req.data, bytes) else b""
        answer = self._http.request("POST", url, headers=dict(req.header_items()), content=body)
        return {"status": answer.status, "headers": answer.headers, "body": answer.body.decode("utf-8", "replace")}


def _http(options: Options) -> HttpClient:
    return HttpClient(
        timeout=options.timeout,
        ca_file=options.ca_file,
        proxy=options.proxy.get_secret_value() if options.proxy else None,
        max_body_bytes=MAX_ANSWER_BYTES,
    )


def _refusal(answer: Answer, redact: Redactor) -> Exception:
    try:
        check_answer(answer, redact)
    except (TransientDeliveryError, PermanentDeliveryError) as exc:
        return exc
    return TransientDeliveryError(f"Slack answered {answer.status} without saying ok")


def _payload(message: Message, rendered: Rendered) -> dict[str, Any]:
    """Make the template's JSON a message that Slack takes, with the message's id for apps to read."""
    try:
        given = json.loads(rendered.texts["slack.json"])
    except (KeyError, ValueError, RecursionError):
        given = {}
    return {**bounded(given if isinstance(given, dict) else {}, fallback=_plain(message)), **_metadata(message)}


def _metadata(message: Message) -> dict[str, Any]:
    return {"metadata": {"event_type": "actionwatch_message", "event_payload": {"id": message.id}}}


def _plain(message: Message) -> str:
    data = message.data
    return _escaped(shorten(f"[{data.get('level', 'alert')}] {data.get('title') or message.type}", 300))


def _resolution(message: Message) -> dict[str, Any]:
    """Say in the thread that it is over, who said so, and how many matches there were in the end."""
    data = message.data
    by = f" by {_escaped(shorten(str(data['resolved_by']), 100))}" if data.get("resolved_by") else ""
    count = data.get("count", 1)
    matches = f"{count} matches" if count != 1 else "1 match"
    text = f"Resolved{by}, {matches} in all."
    block = {"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": f":white_check_mark: {text}"}}
    return {"text": text, "blocks": [block], **_metadata(message)}


def _escaped(text: str) -> str:
    """Escape what Slack would read as a mention or a link (docs.slack.dev, formatting message text)."""
    shown = one_line(text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
