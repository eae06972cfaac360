"""The promises of every notifier, tested with a real far end for each."""

from __future__ import annotations

import contextlib
import functools
import logging
import ssl
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.base.errors import DeliveryError, PermanentDeliveryError, TransientDeliveryError
from actionwatch.notifiers.base import Traits, notifier_module, notifier_types, templates_of
from tests.cases import in_one_test
from tests.integration.notifiers.ends import ENDS, RENDERER, End, WebhookEnd, deliver, open_end
from tests.integration.notifiers.http_end import Reply
from tests.unit.render.messages import HOSTILE, hostile_message, message
from tests.waiting import all_at_once, wait_until

EVENTS = ("alert.opened", "alert.updated", "alert.resolved", "alerts.summary", "receiver.test")
NAMELESS = ("console", "apprise")  # channels that carry no ids
HTTP_ENDS = [name for name in ENDS if name.startswith(("webhook", "slack", "pagerduty"))]


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest, server_context: ssl.SSLContext, ca_file: Path) -> Iterator[End]:
    """Each notifier in turn."""
    with open_end(request.param, server_context, ca_file) as opened:
        yield opened


@pytest.fixture(params=HTTP_ENDS)
def http_end(request: pytest.FixtureRequest, server_context: ssl.SSLContext, ca_file: Path) -> Iterator[End]:
    """The notifiers that send over HTTP."""
    with open_end(request.param, server_context, ca_file) as opened:
        yield opened


def test_every_type_has_a_far_end() -> None:
    """Every notifier has a far end in this suite."""
    assert {name.split()[0] for name in ENDS} == set(notifier_types())


@in_one_test("name", notifier_types())
def test_module_has_the_documented_interface(name: str) -> None:
    """Each type has options, a way to build it, and documented defaults."""
    module = notifier_module(name)
    assert isinstance(module.TRAITS, Traits)
    assert module.Options.model_config["extra"] == "forbid"
    assert callable(module.build)
    assert callable(module.preview)


@in_one_test("event", EVENTS)
def test_preview_shows_what_would_be_sent(end: End, event: str) -> None:
    """`receivers preview` shows the message, sends nothing, and prints no secret."""
    sent = message(event)
    rendered, _ = RENDERER.render(templates_of(end.type_name, end.options), sent)
    files = notifier_module(end.type_name).preview(end.options, sent, rendered, receiver="soc")
    assert files
    assert all("Cluster payments-prod deleted" in text for name, text in files.items() if not name.endswith(".eml"))
    assert not [secret for secret in end.secrets for text in files.values() if secret in text]
    assert end.ids() == []


@in_one_test("event", EVENTS)
def test_message_arrives(end: End, event: str) -> None:
    """A healthy receiver accepts a valid message, which shows its subject."""
    deliver(end.notifier, end.type_name, message(event))
    assert "Cluster payments-prod deleted" in end.shown()
    end.assert_harmless()


def test_repeat_has_the_same_id(end: End) -> None:
    """A repeat after a crash has the same id."""
    deliver(end.notifier, end.type_name, message(id="same"))
    deliver(end.notifier, end.type_name, message(id="same"))
    first, second = end.ids()
    assert first == second


def test_other_messages_have_other_ids(end: End) -> None:
    """Different messages have different ids, if the channel has ids."""
    deliver(end.notifier, end.type_name, message("alert.updated", id="one"))
    deliver(end.notifier, end.type_name, message("alert.updated", id="two"))
    assert len(set(end.ids())) == (1 if end.type_name in NAMELESS else 2)


def test_temporary_error_is_transient_and_the_notifier_recovers(end: End) -> None:
    """A temporary error is transient, and the notifier works again afterwards."""
    for name, fault in end.transient.items():
        end.heal()
        fault()
        with pytest.raises(TransientDeliveryError) as caught:
            deliver(end.notifier, end.type_name, message())
        assert str(caught.value), name
        assert "timeout" not in str(caught.value), name  # do not wait for what is visible at once
        end.heal()
        deliver(end.notifier, end.type_name, message())


@pytest.mark.parametrize("name", [name for name in ENDS if name != "console"])
def test_hanging_receiver_times_out(name: str, server_context: ssl.SSLContext, ca_file: Path) -> None:
    """A receiver that sends no response times out, and the notifier works again afterwards."""
    with open_end(name, server_context, ca_file, timeout=timedelta(seconds=0.3)) as end:
        end.hang()
        with pytest.raises(TransientDeliveryError) as caught:
            deliver(end.notifier, end.type_name, message())
        assert not [secret for secret in end.secrets if secret in str(caught.value)]
        end.heal()

        def is_taken() -> bool:
            with contextlib.suppress(TransientDeliveryError):  # the short timeout may be too short on a busy machine
                deliver(end.notifier, end.type_name, message())
                return True
            return False

        wait_until(is_taken, "a message to be taken")


def test_permanent_error_is_permanent(end: End) -> None:
    """An error that only a person can fix is not retried."""
    for name, fault in end.permanent.items():
        end.heal()
        fault()
        with pytest.raises(PermanentDeliveryError) as caught:
            deliver(end.notifier, end.type_name, message())
        assert str(caught.value), name
        end.heal()
        deliver(end.notifier, end.type_name, message())


def test_secrets_stay_secret(end: End, caplog: pytest.LogCaptureFixture) -> None:
    """No token, key, password or secret URL is in a log, an error, a traceback or a repr."""
    caplog.set_level(logging.DEBUG)
    texts = [repr(end.options), str(end.options), repr(end.notifier)]
    deliver(end.notifier, end.type_name, message())
    for fault in (*end.transient.values(), *end.permanent.values()):
        end.heal()
        fault()
        with pytest.raises(DeliveryError) as caught:
            deliver(end.notifier, end.type_name, message())
        texts += [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
    texts += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    found = [secret for secret in end.secrets for text in texts if secret in text]
    assert not found


@in_one_test("name", HOSTILE)
def test_hostile_text_has_no_effect(end: End, name: str) -> None:
    """Audit text creates no mention, link, header, code or cursor movement, and the alert arrives."""
    for event in ("alert.opened", "alert.resolved", "alerts.summary"):
        deliver(end.notifier, end.type_name, hostile_message(HOSTILE[name], event))
        end.assert_harmless()


def test_threads_can_share_a_notifier(end: End) -> None:
    """If several workers share a notifier, no message is lost or mixed with another."""

    def send(*numbers: int) -> None:
        for number in numbers:
            deliver(end.notifier, end.type_name, message("alert.updated", id=f"m{number}"))

    all_at_once(*(functools.partial(send, *range(first, 40, 8)) for first in range(8)))
    assert len(end.ids()) == 40
    if end.type_name not in NAMELESS:
        assert len(set(end.ids())) == 40


@in_one_test("status", [429, 503])
def test_retry_after_is_passed_on(http_end: End, status: int) -> None:
    """The Retry-After of a receiver is passed on."""
    server = http_end.server  # type: ignore[attr-defined]
    server.queue.append(Reply(status, b"", {"retry-after": "17"}))
    with pytest.raises(TransientDeliveryError) as caught:
        deliver(http_end.notifier, http_end.type_name, message())
    assert caught.value.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(http_end: End, status: int) -> None:
    """A redirect is an error that names its target, and nothing is sent there."""
    server = http_end.server  # type: ignore[attr-defined]
    server.queue.append(Reply(status, b"", {"location": "http://127.0.0.1:9/elsewhere"}))
    with pytest.raises(PermanentDeliveryError, match=r"http://127\.0\.0\.1:9/elsewhere"):
        deliver(http_end.notifier, http_end.type_name, message())
    assert len(server.requests) == 1


def test_error_contains_the_beginning_of_the_response(http_end: End) -> None:
    """The error contains the beginning of the response, with a limited length."""
    server = http_end.server  # type: ignore[attr-defined]
    server.queue.append(Reply(400, ("no, because " + "x" * 2_000).encode()))
    with pytest.raises(PermanentDeliveryError, match="no, because xxx") as caught:
        deliver(http_end.notifier, http_end.type_name, message())
    assert len(caught.value.response) <= 500


def test_secret_in_a_response_is_redacted(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """If a receiver returns its own URL or our headers, the secrets in them are redacted."""
    with open_end("webhook", server_context, ca_file) as end:
        assert isinstance(end, WebhookEnd)
        echo = f"POST {end.server.url}/{end.secrets[2]} with Bearer s3cret-header refused"
        end.server.queue.append(Reply(400, echo.encode()))
        with pytest.raises(PermanentDeliveryError, match=r"\[secret\]") as caught:
            deliver(end.notifier, end.type_name, message())
        assert not [secret for secret in end.secrets if secret in str(caught.value)]
