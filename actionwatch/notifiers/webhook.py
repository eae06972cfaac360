"""Webhook: post the alert as JSON to a URL, signed as Standard Webhooks specifies.

docs/webhook.md and webhook.schema.json describe the message for receivers. The option `format` selects another body: one of
`text/formats`, or the operator's own template.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import math
import ssl
from importlib import resources
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, model_validator
from standardwebhooks import Webhook

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.net.tls import ClientCertificate, tls_context
from actionwatch.notifiers.base import AddressNotifier, HttpOptions, Redactor, Traits, check_response
from actionwatch.text import options as words
from actionwatch.text.formats.messages import FORMATS, check_format, encode
from actionwatch.text.redaction import in_header

TRAITS = Traits()
_LEAST_KEY_BYTES = 24  # as Standard Webhooks demands: a shorter key can be guessed
_MAX_KEYS = 2  # the old and the new key, during a rotation

_SET_BY_US = frozenset({"idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature"})


def message_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the message that a webhook sends."""
    text = resources.files("actionwatch.notifiers").joinpath("webhook.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def templates(options: Options) -> tuple[str, ...]:
    """Name the template that renders the body; none if the format is built in."""
    return () if options.format in FORMATS else (f"{options.format}.json",)


def _signing_key(value: SecretStr) -> SecretStr:
    """Accept only base64, of which the library of Standard Webhooks would silently drop other characters, and no short key."""
    text = value.get_secret_value().removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _LEAST_KEY_BYTES:
        what = f"must be base64 of at least {_LEAST_KEY_BYTES} bytes, optionally with the prefix whsec_"
        raise ValueError(f"{what}: create one with `openssl rand -base64 32`")
    return value


def _at_most_two(value: SecretStr | list[SecretStr]) -> SecretStr | list[SecretStr]:
    if isinstance(value, list) and not 1 <= len(value) <= _MAX_KEYS:
        raise ValueError("write one key, or a list of two keys during a rotation")
    return value


def _own_headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    words.check_headers(headers)
    for name in headers:
        if name.lower() in _SET_BY_US:
            raise ValueError(f"actionwatch sets the header {name} itself: remove it")
    return headers


def _url(value: SecretStr) -> SecretStr:
    words.check_url(value.get_secret_value(), is_plain_allowed=True)
    return value


_Key = Annotated[words.Secret, AfterValidator(_signing_key)]
_KeyFile = Annotated[words.SecretFile, AfterValidator(_signing_key)]


class Options(HttpOptions):
    """The keys of a `webhook:` receiver. The URL counts as a secret: many services put their token into it."""

    url: Annotated[words.Secret, AfterValidator(_url)] | None = None
    """Where to POST. It is a secret, because many services put their token into it. One of the two is required. http
    is accepted too; redirects are not followed.
    """
    url_file: Annotated[words.SecretFile, AfterValidator(_url)] | None = None
    format: Annotated[str, AfterValidator(functools.partial(check_format, FORMATS))] = "actionwatch"
    """The format of the message: [actionwatch, or that of another tool](webhook.md)."""
    signing_key: Annotated[_Key | list[_Key], AfterValidator(_at_most_two)] | None = None
    """The key for Standard Webhooks signatures (`whsec_…`), at least 24 bytes, or a list of two during a rotation."""
    signing_key_file: Annotated[_KeyFile | list[_KeyFile], AfterValidator(_at_most_two)] | None = None
    headers: Annotated[dict[str, SecretStr], AfterValidator(_own_headers)] = Field(default_factory=dict)
    """Additional headers; their values are secrets."""
    client_cert_file: words.ConfigPath | None = None
    """A PEM certificate for mutual TLS."""
    client_key_file: words.ConfigPath | None = None
    """The key of this certificate. It can be in the file of the certificate."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.require_one(self, "url", "url_file")
        words.refuse_both(self, "signing_key", "signing_key_file")
        _check_identity(self)
        return self

    @property
    def identity(self) -> ClientCertificate | None:
        """The client certificate, if one is configured."""
        return ClientCertificate(self.client_cert_file, self.client_key_file) if self.client_cert_file else None

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The keys to sign with: none, one or two."""
        given = self.signing_key if self.signing_key is not None else self.signing_key_file
        keys = given if isinstance(given, list) else [given] if given is not None else []
        return tuple(key.get_secret_value() for key in keys)


def _check_identity(options: Options) -> None:
    """Load the client certificate now, so that a wrong file is reported with the configuration and not by the first alert."""
    if options.client_key_file and not options.client_cert_file:
        raise ValueError("client_key_file requires client_cert_file: add it")
    if not options.identity:
        return
    try:
        tls_context(identity=options.identity)
    except OSError as exc:  # ssl.SSLError is one
        reason = "no matching certificate and key in PEM form" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise ValueError(f"cannot use client_cert_file with client_key_file ({reason}): correct the files") from exc


def build(options: Options, *, receiver: str) -> WebhookNotifier:
    return WebhookNotifier(options, receiver=receiver)


def preview(options: Options, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:
    """Return the body, indented for reading; the message that is signed and sent is not indented."""
    body = json.loads(_body(options.format, message, rendered, receiver)[1])
    return {"webhook.json": json.dumps(body, ensure_ascii=False, indent=2)}


class WebhookNotifier(AddressNotifier):
    """Posts messages to one URL."""

    def __init__(self, options: Options, *, receiver: str) -> None:
        self.receiver = receiver
        self._options = options
        self._headers = {name: value.get_secret_value() for name, value in options.headers.items()}
        self._signers = tuple(Webhook(key) for key in options.signing_keys)
        url = words.secret(options.url, options.url_file) or ""
        parts = [part for value in self._headers.values() for part in in_header(value)]
        keys = [part for key in options.signing_keys for part in (key, key.removeprefix("whsec_"))]
        redact = Redactor(*keys, *parts, url=url, proxy=options.proxy)
        super().__init__(url, options.http_client(options.identity), redact)

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:  # noqa: ARG002
        content_type, body = _body(self._options.format, message, rendered, self.receiver)
        check_response(self.post(self._sign(message.id, content_type, body), body), self._redact)
        return Receipt()

    def _sign(self, message_id: str, content_type: str, body: bytes) -> dict[str, str]:
        """Return the headers of one attempt. The signature covers the id, the time of the attempt and the exact bytes."""
        now = utc_now()
        headers = {
            **self._headers,
            "content-type": content_type,
            "idempotency-key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": str(math.floor(now.timestamp())),
        }
        if self._signers:
            text = body.decode()
            headers["webhook-signature"] = " ".join(signer.sign(message_id, now, text) for signer in self._signers)
        return headers


def _body(name: str, message: Message, rendered: Rendered, receiver: str) -> tuple[str, bytes]:
    """Return content type and body. If the operator's template failed, this is the `actionwatch` format."""
    text = rendered.texts.get(f"{name}.json")
    if name not in FORMATS and text is not None:
        return "application/json", text.encode("utf-8", "replace")
    content_type, document = FORMATS.get(name, FORMATS["actionwatch"])
    return content_type, encode(document(message, receiver))
