"""Webhook: the alert as JSON, posted to any address, signed as Standard Webhooks lays down.

The message is the contract's, described for receivers in docs/webhook.md and by the JSON Schema beside this file.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, Field, SecretStr, model_validator
from standardwebhooks import Webhook

from actionwatch import options as words
from actionwatch.documents import instant
from actionwatch.errors import PermanentDeliveryError, TransientDeliveryError, TransportError
from actionwatch.http import USER_AGENT, HttpClient
from actionwatch.model import Message, Receipt
from actionwatch.notifiers.base import MAX_ANSWER_BYTES, CaFile, Proxy, Redactor, Rendered, check_answer

TEMPLATES: tuple[str, ...] = ()
DEFAULT_RATE_PER_SECOND: float | None = None
IS_UPDATED_LAST = False
DEFAULT_TIMEOUT = timedelta(seconds=10)
MAX_KEYS = 2  # the old and the new one, while a key is rotated

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110 §5.6.2, token
_OURS = frozenset(
    {"content-type", "user-agent", "idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature"}
)
_TRANSPORTS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-encoding", "expect"})
_SURROGATE = re.compile("[\ud800-\udfff]")


def message_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of the message that a webhook sends."""
    text = resources.files("actionwatch.notifiers").joinpath("webhook.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def message_document(message: Message) -> dict[str, Any]:
    """Give the message as the contract spells it: `{"type", "timestamp", "data"}`."""
    return {"type": message.type, "timestamp": instant(message.timestamp), "data": message.data}


def _signing_key(value: SecretStr) -> SecretStr:
    """Insist on what Standard Webhooks can use; its library would drop characters that are not base64 without a word."""
    text = value.get_secret_value().removeprefix("whsec_").rstrip("=")
    try:
        is_usable = bool(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError):
        is_usable = False
    if not is_usable:
        raise ValueError("must be base64, with or without whsec_ before it: make one with `openssl rand -base64 32`")
    return value


def _at_most_two(value: SecretStr | list[SecretStr]) -> SecretStr | list[SecretStr]:
    if isinstance(value, list) and not 1 <= len(value) <= MAX_KEYS:
        raise ValueError("give one key, or a list of two while rotating")
    return value


def _own_headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not the name of a header")
        if name.lower() in _OURS | _TRANSPORTS:
            raise ValueError(f"the header {name} is set by actionwatch itself: remove it")
        text = value.get_secret_value()
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"the header {name} must be printable ASCII")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header is named twice")
    return headers


def _url(value: SecretStr) -> SecretStr:
    words.check_url(value.get_secret_value(), is_plain_allowed=True)
    return value


_Key = Annotated[words.Secret, AfterValidator(_signing_key)]
_KeyFile = Annotated[words.SecretFile, AfterValidator(_signing_key)]


class Options(words.Options):
    """The keys of a `webhook:` receiver. The URL counts as a secret: many services put their token there."""

    url: Annotated[words.Secret, AfterValidator(_url)] | None = None
    url_file: Annotated[words.SecretFile, AfterValidator(_url)] | None = None
    format: Literal["actionwatch"] = "actionwatch"
    signing_key: Annotated[_Key | list[_Key], AfterValidator(_at_most_two)] | None = None
    signing_key_file: Annotated[_KeyFile | list[_KeyFile], AfterValidator(_at_most_two)] | None = None
    headers: Annotated[dict[str, SecretStr], AfterValidator(_own_headers)] = Field(default_factory=dict)
    timeout: words.PositiveDuration = DEFAULT_TIMEOUT
    ca_file: CaFile | None = None
    proxy: Proxy | None = None

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.require_one(self, "url", "url_file")
        words.refuse_both(self, "signing_key", "signing_key_file")
        return self

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The keys to sign with, none to two."""
        given = self.signing_key if self.signing_key is not None else self.signing_key_file
        keys = given if isinstance(given, list) else [given] if given is not None else []
        return tuple(key.get_secret_value() for key in keys)


def build(options: Options, *, receiver: str) -> WebhookNotifier:
    """Make the notifier of one receiver. Opens no connection."""
    return WebhookNotifier(options, receiver=receiver)


class WebhookNotifier:
    """Posts messages to one address."""

    def __init__(self, options: Options, *, receiver: str) -> None:
        self.receiver = receiver
        self._options = options
        self._url = words.secret(options.url, options.url_file) or ""
        self._headers = {name: value.get_secret_value() for name, value in options.headers.items()}
        self._signers = tuple(Webhook(key) for key in options.signing_keys)
        self._redact = Redactor(*options.signing_keys, *self._headers.values(), url=self._url)
        # Lent for one send each: an httpx client that 16 threads share is four times slower than one for each of them.
        self._idle: deque[HttpClient] = deque()

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:  # noqa: ARG002
        """Post the message once.

        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        body = _encode(message)
        client = self._borrow()
        try:
            answer = client.request("POST", self._url, headers=self._sign(message.id, body), content=body)
        except TransportError as exc:
            raise TransientDeliveryError(self._redact(str(exc))) from exc
        finally:
            self._idle.append(client)
        check_answer(answer, self._redact)
        return Receipt()

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()

    def _borrow(self) -> HttpClient:
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _open(self) -> HttpClient:
        proxy = self._options.proxy
        return HttpClient(
            timeout=self._options.timeout,
            ca_file=self._options.ca_file,
            proxy=proxy.get_secret_value() if proxy else None,
            max_connections=1,
            max_body_bytes=MAX_ANSWER_BYTES,
        )

    def _sign(self, message_id: str, body: bytes) -> dict[str, str]:
        """Give the headers of one attempt; the signature covers id, time of the attempt and the exact bytes."""
        now = datetime.now(UTC)
        headers = {
            **self._headers,
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "idempotency-key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": str(math.floor(now.timestamp())),
        }
        if self._signers:
            text = body.decode()
            headers["webhook-signature"] = " ".join(signer.sign(message_id, now, text) for signer in self._signers)
        return headers


def _encode(message: Message) -> bytes:
    """Write the message as JSON in UTF-8.

    Raises: PermanentDeliveryError, for a message nested too deep to write.
    """
    document = message_document(message)
    try:
        return msgspec.json.encode(document)
    except RecursionError as exc:
        raise PermanentDeliveryError("the message is nested too deep to be written as JSON") from exc
    except (UnicodeEncodeError, OverflowError, ValueError, TypeError):
        # Lone surrogates and integers beyond 64 bits, which msgspec refuses and an upstream's JSON may hold.
        return _encode_slowly(document)


def _encode_slowly(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(_mended(document), ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as exc:
        raise PermanentDeliveryError(f"the message cannot be written as JSON: {exc}") from exc


def _mended(value: Any) -> Any:
    """Replace what JSON in UTF-8 cannot hold: lone surrogates by U+FFFD, NaN and infinities by null."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value
