"""Slack: one message per alert, updated in place, with a bot token; or one message per event through an incoming webhook.

With a token, `alert.opened` posts a message, and later events update it (count, last time, state). A resolution is also posted
as a reply in its thread. With an app token, the message has buttons (`_slack_actions.py`).
https://docs.slack.dev/reference/methods/chat.postMessage and chat.update.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, model_validator

from actionwatch.base.errors import PermanentDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.base.plurals import counted
from actionwatch.net.http_response import HttpResponse
from actionwatch.net.tls import tls_context
from actionwatch.notifiers._blocks import bounded, readable, section
from actionwatch.notifiers._slack_api import BLOCK_ERRORS, BlocksRefused, HeadGone, SlackApi, escaped
from actionwatch.notifiers._slack_buttons import with_buttons
from actionwatch.notifiers.base import AddressNotifier, BaseUrl, HttpOptions, Redactor, Traits, check_response
from actionwatch.text import options as words
from actionwatch.text.escaping import shorten

if TYPE_CHECKING:
    from actionwatch.net.http import HttpClient
    from actionwatch.notifiers._slack_actions import SlackActions
    from actionwatch.notifiers.base import OnAction, ReferenceOf

# Slack accepts about one message per second and channel.
TRAITS = Traits(templates=("slack.json",), rate_per_second=1.0, is_read_by_people=True)

_NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}  # of linked pages


def _webhook_url(value: SecretStr) -> SecretStr:
    words.check_url(value.get_secret_value())
    return value


def _user_id(text: str) -> str:
    if not re.fullmatch(r"[UW][A-Z0-9]{2,30}", text, re.ASCII):
        raise ValueError("not the id of a user: copy it from the profile in Slack, such as U0123456789")
    return text


UserId = Annotated[str, AfterValidator(_user_id)]


class Options(HttpOptions):
    """The keys of a `slack:` receiver: a bot token with a channel, or the URL of an incoming webhook."""

    token: words.Secret | None = None
    """A bot token (`xoxb-…`) with the scope `chat:write`: one message per alert, updated in place. Either a token or
    a webhook is required.
    """
    token_file: words.SecretFile | None = None
    channel: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """With a token: the id of the channel."""
    webhook_url: Annotated[words.Secret, AfterValidator(_webhook_url)] | None = None
    """Instead of a token: an incoming webhook, with one message per event."""
    webhook_url_file: Annotated[words.SecretFile, AfterValidator(_webhook_url)] | None = None
    app_token: words.Secret | None = None
    """With a token: an app-level token (`xapp-…`) for the [buttons](receivers.md#slack)."""
    app_token_file: words.SecretFile | None = None
    users: tuple[UserId, ...] = ()
    """With an app token: the ids (`U0123456789`) of the users who may press the buttons. Default: everyone in the
    channel.
    """
    base_url: BaseUrl = "https://slack.com/api/"
    """The address of Slack's API."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.require_one(self, "token", "token_file", "webhook_url", "webhook_url_file")
        has_token = self.token is not None or self.token_file is not None
        if has_token and not self.channel:
            raise ValueError("a token requires a channel: add the key channel")
        if self.channel and not has_token:
            raise ValueError("channel requires a token: an incoming webhook has its own channel")
        words.refuse_both(self, "app_token", "app_token_file")
        if self.has_app_token and not has_token:
            raise ValueError("app_token requires a token: messages of an incoming webhook cannot have buttons")
        if self.users and not self.has_app_token:
            raise ValueError("users requires an app_token: without it, messages have no buttons")
        return self

    @property
    def has_app_token(self) -> bool:
        """Whether messages have buttons and Socket Mode is used."""
        return self.app_token is not None or self.app_token_file is not None


def build(options: Options, *, receiver: str) -> SlackNotifier | IncomingWebhookNotifier:  # noqa: ARG001
    url = words.secret(options.webhook_url, options.webhook_url_file)
    return SlackNotifier(options) if url is None else IncomingWebhookNotifier(options, url)


def listener(options: Options, on_action: OnAction, reference_of: ReferenceOf, *, receiver: str) -> SlackActions | None:
    """Build the listener for pressed buttons; None without an app token. Call `start`, and `close` at the end."""
    if not options.has_app_token:
        return None
    from actionwatch.notifiers._slack_actions import SlackActions  # and with it the SDK: commands do without
    from actionwatch.notifiers._slack_presses import Presses

    http = options.http_client()
    return SlackActions(
        _app_api(options, http),
        Presses(_bot_api(options, http), on_action, reference_of, receiver=receiver, users=options.users),
        context=tls_context(options.ca_file),
        proxy=options.proxy.get_secret_value() if options.proxy else None,
    )


def preview(options: Options, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:  # noqa: ARG001
    """Return the payload for Slack's Block Kit Builder, and its texts as a person reads them."""
    payload = _payload(message, rendered, has_buttons=options.has_app_token)
    shown = {name: value for name, value in payload.items() if name != "metadata"}
    return {"slack.json": json.dumps(shown, ensure_ascii=False, indent=2), "slack.txt": readable(shown)}


class SlackNotifier:
    """Posts and updates messages in one channel through Slack's Web API."""

    def __init__(self, options: Options) -> None:
        self._channel = options.channel or ""
        http = options.http_client()
        self._api = _bot_api(options, http)
        self._app = _app_api(options, http) if options.has_app_token else None

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Post the message of an alert, or update it; reply in its thread if the alert is resolved or reopened.

        Returns: a receipt whose `reference` is `channel:ts` of a new message; None if an earlier message was updated.
        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        payload = _payload(message, rendered, has_buttons=self._app is not None)
        head = reference.rpartition(":") if reference and message.type.startswith("alert.") else None
        if head is None or not head[0]:
            posted = self._post(payload)
            return posted if message.type != "alerts.summary" else Receipt(note=posted.note)
        channel, _, ts = head
        try:
            note = self._deliver("chat.update", {**payload, "channel": channel, "ts": ts})[1]
        except HeadGone as gone:
            posted = self._post(payload)
            return Receipt(posted.reference, f"posted a new message: the earlier one cannot be updated ({gone})")
        if message.type == "alert.resolved":
            note = self._reply(_resolution(message), channel, ts) or note
        elif message.type == "alert.opened" and message.data.get("reopened_by"):
            note = self._reply(_reopening(message), channel, ts) or note
        return Receipt(note=note)

    def reach(self) -> None:
        """Test the tokens and their scopes. Post nothing."""
        self._api.test("chat:write")
        if self._app is not None:
            self._app.call("apps.connections.open", {})

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def _post(self, payload: Mapping[str, Any]) -> Receipt:
        data, note = self._deliver("chat.postMessage", {**payload, **_NO_PREVIEWS, "channel": self._channel})
        return Receipt(f"{data.get('channel') or self._channel}:{data.get('ts', '')}", note)

    def _reply(self, reply: Mapping[str, Any], channel: str, ts: str) -> str | None:
        """Post a reply in the thread. A refusal becomes a note, because a retry would repeat the update."""
        target = {"channel": channel, "thread_ts": ts, **_NO_PREVIEWS}
        try:
            self._deliver("chat.postMessage", {**reply, **target})
        except PermanentDeliveryError as exc:
            return f"updated the message, but could not reply in the thread: {exc}"
        return None

    def _deliver(self, method: str, payload: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
        """Call a method. If Slack refuses the blocks, send plain text and return a note."""
        try:
            return self._api.call(method, payload), None
        except BlocksRefused as refused:
            plain = _without_blocks(payload)
            if method == "chat.update":
                plain |= {"blocks": [], "attachments": []}  # without these keys, Slack keeps the old ones
            return self._api.call(method, plain), f"sent as plain text: Slack refused the template's blocks ({refused})"


def _bot_api(options: Options, http: HttpClient) -> SlackApi:
    return SlackApi(words.secret(options.token, options.token_file) or "", options.base_url, http, options.proxy)


def _app_api(options: Options, http: HttpClient) -> SlackApi:
    token = words.secret(options.app_token, options.app_token_file) or ""
    return SlackApi(token, options.base_url, http, options.proxy, is_app=True)


class IncomingWebhookNotifier(AddressNotifier):
    """Posts messages through an incoming webhook, which cannot update messages or reply in threads."""

    def __init__(self, options: Options, url: str) -> None:
        super().__init__(
            url, options.http_client(), Redactor(url=url, proxy=options.proxy), unreachable="cannot reach Slack: "
        )

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:  # noqa: ARG002
        payload = {**_payload(message, rendered), **_NO_PREVIEWS, "link_names": False}
        response = self._send(payload)
        if response.status == 400 and (error := response.text) in BLOCK_ERRORS:
            check_response(self._send(_without_blocks(payload)), self._redact)
            return Receipt(note=f"sent as plain text: Slack refused the template's blocks ({error})")
        check_response(response, self._redact)
        return Receipt()

    def _send(self, payload: Mapping[str, Any]) -> HttpResponse:
        return self.post({"content-type": "application/json; charset=utf-8"}, json.dumps(payload).encode())


def _payload(message: Message, rendered: Rendered, *, has_buttons: bool = False) -> dict[str, Any]:
    """Bring the JSON of the template within Slack's limits, and add the message id as metadata."""
    try:
        given = json.loads(rendered.texts["slack.json"])
    except (KeyError, ValueError, RecursionError):
        given = {}
    given, fallback = given if isinstance(given, dict) else {}, _plain(message)
    if has_buttons:
        given = with_buttons(given, message, fallback=fallback)
    return {**bounded(given, fallback=fallback), **_metadata(message)}


def _without_blocks(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in ("blocks", "attachments", "metadata")}


def _metadata(message: Message) -> dict[str, Any]:
    return {"metadata": {"event_type": "actionwatch_message", "event_payload": {"id": message.id}}}


def _plain(message: Message) -> str:
    return escaped(shorten(f"[{message.level or 'alert'}] {message.headline}", 300))


def _resolution(message: Message) -> dict[str, Any]:
    """Write the reply to a resolved alert: who resolved it, and how many matches there were."""
    data = message.data
    by = f" by {escaped(shorten(str(data['resolved_by']), 100))}" if data.get("resolved_by") else ""
    text = f"Resolved{by}, {counted(data.get('count', 1), 'match', 'matches')} in total."
    return {"text": text, "blocks": [section(f":white_check_mark: {text}")], **_metadata(message)}


def _reopening(message: Message) -> dict[str, Any]:
    """Write the reply to a reopened alert. The channel shows it too, because it needs a person, as a new alert does."""
    text = f"Reopened by {escaped(shorten(str(message.data['reopened_by']), 100))}: {_plain(message)}"
    return {
        "text": text,
        "blocks": [section(f":arrows_counterclockwise: {text}")],
        "reply_broadcast": True,
        **_metadata(message),
    }
