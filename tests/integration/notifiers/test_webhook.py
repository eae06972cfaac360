"""The promises of the webhook notifier."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from actionwatch import __version__
from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Entity, Message, Rendered
from actionwatch.notifiers import webhook
from actionwatch.text.formats.messages import encode, message_document
from actionwatch.text.payloads import inhibited_document
from tests.builders import make_alert
from tests.cases import in_one_test
from tests.integration.notifiers.conftest import CA
from tests.integration.notifiers.ends import KEY, deliver, options
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.integration.notifiers.proxy_end import ProxyEnd
from tests.unit.render.messages import AT, HOSTILE, PAGE, alert, hostile_message, message, record, summary
from tests.waiting import all_at_once

OTHER_KEY = "whsec_YW5vdGhlci1rZXktb2YtdGhpcnR5LXR3by1ieXRlcw=="
VALIDATOR = jsonschema_rs.validator_for(webhook.message_schema())


@pytest.fixture
def server() -> Iterator[HttpEnd]:
    """A receiver."""
    with HttpEnd(lambda _: Reply(200)) as end:
        yield end


def send(server: HttpEnd, sent: Message, **given: Any) -> None:
    """Build a notifier, send once, and close it."""
    notifier = webhook.build(options(webhook.Options, url=f"{server.url}/hook", **given), receiver="soar")
    try:
        deliver(notifier, "webhook", sent)
    finally:
        notifier.close()


def test_body_is_that_of_the_contract(server: HttpEnd) -> None:
    """The body has the format of the contract."""
    send(server, message(late_by=timedelta(hours=2)))
    [request] = server.requests
    body = request.json
    assert list(body) == ["type", "timestamp", "data"]
    assert body["type"] == "alert.opened"
    assert body["timestamp"] == "2026-11-25T09:00:43.770Z"
    assert body["data"]["records"][0]["raw"] == {"action": "DELETE_CLUSTER", "nested": {"n": [1, 2.5, None, True]}}
    assert (body["data"]["late"], body["data"]["late_by_seconds"]) == (True, 7200)


def test_headers_are_those_of_the_contract(server: HttpEnd) -> None:
    """The headers identify a repeat and the sender."""
    before = int(time.time())
    send(server, message(id="message-7"), signing_key=KEY, headers={"X-Own": "yes", "Authorization": "Bearer x"})
    headers = server.requests[0].headers
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == f"actionwatch/{__version__}"
    assert headers["idempotency-key"] == headers["webhook-id"] == "message-7"
    assert before <= int(headers["webhook-timestamp"]) <= time.time()
    assert headers["webhook-signature"].startswith("v1,")
    assert (headers["x-own"], headers["authorization"]) == ("yes", "Bearer x")


def test_without_a_key_there_is_no_signature(server: HttpEnd) -> None:
    """Without a key, no signature is sent."""
    send(server, message())
    assert "webhook-signature" not in server.requests[0].headers


@pytest.mark.parametrize("name", HOSTILE)
def test_signature_covers_the_exact_bytes(server: HttpEnd, name: str) -> None:
    """The signature is valid for the exact bytes of the body, also with unusual text."""
    send(server, hostile_message(HOSTILE[name]), signing_key=KEY)
    [request] = server.requests
    Webhook(KEY).verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(request.body + b" ", dict(request.headers))
    assert VALIDATOR.is_valid(request.json)


def test_both_keys_sign_during_a_rotation(server: HttpEnd) -> None:
    """During a rotation, receivers with the old key and with the new key accept messages."""
    send(server, message(), signing_key=[KEY, OTHER_KEY])
    [request] = server.requests
    assert request.headers["webhook-signature"].count("v1,") == 2
    for key in (KEY, OTHER_KEY):
        Webhook(key).verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_bm90LXRoZS1rZXk=").verify(request.body, dict(request.headers))


def test_keys_from_files_sign(server: HttpEnd, tmp_path: Path) -> None:
    """Keys from mounted files sign."""
    paths = [tmp_path / "old", tmp_path / "new"]
    for path, key in zip(paths, (KEY, OTHER_KEY), strict=True):
        path.write_text(f"{key}\n")
    send(server, message(), signing_key_file=[str(path) for path in paths])
    [request] = server.requests
    for key in (KEY, OTHER_KEY):
        Webhook(key).verify(request.body, dict(request.headers))


def test_summaries_match_the_schema() -> None:
    """The published schema accepts summaries, and does not take one for an alert."""
    for sent in (
        summary(),
        summary("storm", alerts=[]),
        summary("digest", alerts=[alert(id=f"a{n}") for n in range(60)]),
    ):
        document = json.loads(encode(message_document(sent)))
        assert list(VALIDATOR.iter_errors(document)) == []
        for name in document["data"]:
            missing = {key: value for key, value in document["data"].items() if key != name}
            assert not VALIDATOR.is_valid({**document, "data": missing})
        assert not VALIDATOR.is_valid({**document, "type": "alert.opened"})


@pytest.mark.parametrize("event", ["alert.opened", "alert.updated", "alert.resolved", "receiver.test"])
def test_messages_match_the_schema(event: str) -> None:
    """The published schema accepts every message."""
    for sent in (
        message(event),
        message(event, records=[], runbook=None, group=None, labels={}),
        message(event, count=60, records=[record(n, user_name=None, cluster=Entity()) for n in range(60)]),
    ):
        document = json.loads(encode(message_document(sent)))
        assert list(VALIDATOR.iter_errors(document)) == []


def test_schema_names_every_property() -> None:
    """The schema describes every property that is sent, and requires those that messages of every version have."""
    schema = webhook.message_schema()
    document = json.loads(encode(message_document(message())))
    described_alert, rule, shown = (schema["$defs"][name] for name in ("alert", "rule", "record"))
    for described, sent in (
        (schema, document),
        (described_alert, document["data"] | inhibited_document([make_alert()]) | {"url": PAGE}),
        (rule, document["data"]["rule"]),
        (shown, document["data"]["records"][0]),
    ):
        assert list(described["properties"]) == list(sent)
        assert described["required"] == [name for name in sent if name not in ("explain", "inhibits", "url")]
        for name in described["required"]:
            assert not VALIDATOR.is_valid({**document, "data": {key: 1 for key in document["data"] if key != name}})


@pytest.mark.parametrize("value", [10**30, float("inf"), float("nan"), "\ud800", {"\udfff": 1}, [["\ud800"]]])
def test_unusual_json_of_the_upstream_is_sent(server: HttpEnd, value: Any) -> None:
    """A record on which JSON libraries disagree does not block its alert."""
    sent = message()
    sent.data["records"][0]["raw"]["odd"] = value
    send(server, sent, signing_key=KEY)
    [request] = server.requests
    json.loads(request.body.decode(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    Webhook(KEY).verify(request.body, dict(request.headers))


def test_message_that_cannot_be_encoded_is_permanent(server: HttpEnd) -> None:
    """A message that cannot be encoded raises a permanent DeliveryError."""
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    notifier = webhook.build(options(webhook.Options, url=f"{server.url}/"), receiver="soar")
    with pytest.raises(PermanentDeliveryError, match="JSON"):
        notifier.send(Message("m", "alert.opened", AT, {"id": "a", "nested": nested}), Rendered(), None)
    notifier.close()
    while nested:  # freed step by step, because the interpreter would recurse
        nested = nested.pop()


def test_unknown_authority_is_refused(
    server_context: ssl.SSLContext, wrong_name_context: ssl.SSLContext, ca_file: Path, other_ca_file: Path
) -> None:
    """A receiver with a certificate of an unknown authority gets no message."""
    for context, trusted in ((server_context, other_ca_file), (server_context, None), (wrong_name_context, ca_file)):
        with HttpEnd(lambda _: Reply(200), context) as end:
            with pytest.raises(TransientDeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
                send(end, message(), ca_file=trusted)
            assert not end.requests


def test_connections_are_reused_and_few(server: HttpEnd) -> None:
    """Connections are reused, and their number is limited."""
    notifier = webhook.build(options(webhook.Options, url=f"{server.url}/"), receiver="soar")
    for _ in range(3):
        all_at_once(*[lambda: deliver(notifier, "webhook", message())] * 4)
    assert len(server.requests) == 12
    notifier.close()
    assert 1 <= server.connection_count <= 4


def test_query_of_the_url_is_kept(server: HttpEnd) -> None:
    """A token in the query of the URL is sent."""
    notifier = webhook.build(options(webhook.Options, url=f"{server.url}/hook?token=abc&x=1"), receiver="soar")
    deliver(notifier, "webhook", message())
    notifier.close()
    assert server.requests[0].path == "/hook?token=abc&x=1"


def test_receiver_with_mutual_tls(ca_file: Path, tmp_path: Path) -> None:
    """The configured client certificate is presented to the receiver."""
    issued = CA.issue_cert("actionwatch.example")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(context)
    CA.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    given = {"client_cert_file": str(tmp_path / "cert.pem"), "client_key_file": str(tmp_path / "key.pem")}
    with HttpEnd(lambda _: Reply(200), context) as end:
        send(end, message(), ca_file=ca_file, **given)
        assert len(end.requests) == 1


def test_receiver_behind_a_proxy(server: HttpEnd) -> None:
    """A configured proxy is used."""
    with ProxyEnd() as proxy:
        send(server, message(), proxy=proxy.url)
        assert len(proxy.seen) == len(server.requests) == 1


def test_unusable_certificates_are_refused(ca_file: Path, tmp_path: Path) -> None:
    """An invalid certificate file is found when the configuration is loaded, without a question for a passphrase."""
    key = trustme.CA().issue_cert("x.example").private_key_pem.bytes()
    locked = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "locked.pem").write_bytes(locked)
    for cert, key_name, fault in (
        (ca_file, tmp_path / "key.pem", "no matching certificate and key"),
        (ca_file, None, "no matching certificate and key"),
        (tmp_path / "missing.pem", None, "No such file"),
        (ca_file, tmp_path / "locked.pem", "encrypted"),
        (None, tmp_path / "key.pem", "requires client_cert_file"),
    ):
        with pytest.raises(ValidationError, match=fault):
            options(webhook.Options, url="https://x.example", client_cert_file=cert, client_key_file=key_name)


@in_one_test(
    ("given", "fault"),
    [
        ({}, "one of url or url_file"),
        ({"url": "https://x.example", "url_file": __file__}, "https|only one"),
        ({"url": "ftp://x.example"}, "https"),
        ({"url": "https://user:pass@x.example"}, "user name"),
        ({"url": "https://x.example", "format": "slack"}, "must be one of actionwatch, cloudevents"),
        ({"url": "https://x.example", "format": "../x"}, "must be one of actionwatch, cloudevents"),
        ({"url": "https://x.example", "signing_key": "not base64!"}, "base64"),
        ({"url": "https://x.example", "signing_key": "whsec_"}, "base64"),
        ({"url": "https://x.example", "signing_key": "abcd"}, "at least 24 bytes"),
        ({"url": "https://x.example", "signing_key": [KEY, "whsec_" + "QUFB" * 7 + "QUE="]}, "at least 24 bytes"),
        ({"url": "https://x.example", "signing_key": [KEY, KEY, KEY]}, "list of two"),
        ({"url": "https://x.example", "signing_key": []}, "list of two"),
        ({"url": "https://x.example", "signing_key": KEY, "signing_key_file": __file__}, "base64|only one"),
        ({"url": "https://x.example", "headers": {"Webhook-Id": "mine"}}, "actionwatch sets the header"),
        ({"url": "https://x.example", "headers": {"User-Agent": "mine"}}, "actionwatch sets the header"),
        ({"url": "https://x.example", "headers": {"Content-Length": "1"}}, "actionwatch sets the header"),
        ({"url": "https://x.example", "headers": {"a b": "1"}}, "not a header name"),
        ({"url": "https://x.example", "headers": {"x": "a\r\nb: c"}}, "printable"),
        ({"url": "https://x.example", "headers": {"x": "1", "X": "2"}}, "the same name"),
        ({"url": "https://x.example", "timeout": "0s"}, "longer"),
        ({"url": "https://x.example", "retries": 3}, "Extra inputs"),
    ],
)
def test_invalid_options_are_refused(given: dict[str, Any], fault: str) -> None:
    """Invalid options are refused when the configuration is loaded."""
    with pytest.raises(ValidationError, match=fault):
        options(webhook.Options, **given)
