"""What every notifier promises, tried on each against a real far end."""

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
from tests.integration.notifiers.ends import ENDS, RENDERER, End, WebhookEnd, deliver, open_end
from tests.integration.notifiers.http_end import Reply
from tests.unit.render.messages import HOSTILE, hostile_message, message
from tests.waiting import all_at_once, wait_until

EVENTS = ("alert.opened", "alert.updated", "alert.resolved", "alerts.summary", "receiver.test")
NAMELESS = ("console", "apprise")  # channels that carry no ids
HTTP_ENDS = [name for name in ENDS if name.startswith(("webhook", "slack", "pagerduty"))]


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest, server_context: ssl.SSLContext, ca_file: Path) -> Iterator[End]:
    """Every notifier in turn."""
    with open_end(request.param, server_context, ca_file) as opened:
        yield opened


@pytest.fixture(params=HTTP_ENDS)
def http_end(request: pytest.FixtureRequest, server_context: ssl.SSLContext, ca_file: Path) -> Iterator[End]:
    """The notifiers that speak HTTP."""
    with open_end(request.param, server_context, ca_file) as opened:
        yield opened


def test_every_type_is_tried_here() -> None:
    """A notifier without a far end in this suite goes untested."""
    assert {name.split()[0] for name in ENDS} == set(notifier_types())


@pytest.mark.parametrize("name", notifier_types())
def test_a_module_offers_what_the_registry_promises(name: str) -> None:
    """A type of the configuration has no options, no way to build it, or an option without a default in the docs."""
    module = notifier_module(name)
    assert isinstance(module.TRAITS, Traits)
    assert module.Options.model_config["extra"] == "forbid"
    assert callable(module.build)
    assert callable(module.preview)


@pytest.mark.parametrize("event", EVENTS)
def test_a_preview_shows_what_would_be_sent(end: End, event: str) -> None:
    """`receivers preview` shows something else, sends it, or prints a secret."""
    sent = message(event)
    rendered, _ = RENDERER.render(templates_of(end.type_name, end.options), sent)
    files = notifier_module(end.type_name).preview(end.options, sent, rendered, receiver="soc")
    assert files
    assert all("Cluster payments-prod deleted" in text for name, text in files.items() if not name.endswith(".eml"))
    assert not [secret for secret in end.secrets for text in files.values() if secret in text]
    assert end.ids() == []


@pytest.mark.parametrize("event", EVENTS)
def test_a_message_arrives(end: End, event: str) -> None:
    """A good message to a healthy receiver is not taken, or does not say what it is about."""
    deliver(end.notifier, end.type_name, message(event))
    assert "Cluster payments-prod deleted" in end.shown()
    end.assert_harmless()


def test_a_repeat_carries_the_same_id(end: End) -> None:
    """A receiver cannot tell a repeat after a crash from a new message."""
    deliver(end.notifier, end.type_name, message(id="same"))
    deliver(end.notifier, end.type_name, message(id="same"))
    first, second = end.ids()
    assert first == second


def test_other_messages_carry_other_ids(end: End) -> None:
    """A receiver takes a new message for a repeat; where a channel carries no ids, there is nothing to take it by."""
    deliver(end.notifier, end.type_name, message("alert.updated", id="one"))
    deliver(end.notifier, end.type_name, message("alert.updated", id="two"))
    assert len(set(end.ids())) == (1 if end.type_name in NAMELESS else 2)


def test_what_passes_is_transient_and_then_over(end: End) -> None:
    """A trouble that passes by itself makes a dead letter, or the notifier does not recover from it."""
    for name, fault in end.transient.items():
        end.heal()
        fault()
        with pytest.raises(TransientDeliveryError) as caught:
            deliver(end.notifier, end.type_name, message())
        assert str(caught.value), name
        assert "timeout" not in str(caught.value), name  # what can be seen at once is not waited for
        end.heal()
        deliver(end.notifier, end.type_name, message())


@pytest.mark.parametrize("name", [name for name in ENDS if name != "console"])
def test_a_receiver_that_hangs_is_given_up(name: str, server_context: ssl.SSLContext, ca_file: Path) -> None:
    """A receiver that answers nothing holds a worker for as long as it likes, or the notifier does not recover from it."""
    with open_end(name, server_context, ca_file, timeout=timedelta(seconds=0.3)) as end:
        end.hang()
        with pytest.raises(TransientDeliveryError) as caught:
            deliver(end.notifier, end.type_name, message())
        assert not [secret for secret in end.secrets if secret in str(caught.value)]
        end.heal()

        def is_taken() -> bool:
            with contextlib.suppress(TransientDeliveryError):  # the short timeout may be too short for a busy machine
                deliver(end.notifier, end.type_name, message())
                return True
            return False

        wait_until(is_taken, "a message to be taken")


def test_what_stays_is_permanent(end: End) -> None:
    """A trouble that only a person can mend is retried for a day first."""
    for name, fault in end.permanent.items():
        end.heal()
        fault()
        with pytest.raises(PermanentDeliveryError) as caught:
            deliver(end.notifier, end.type_name, message())
        assert str(caught.value), name
        end.heal()
        deliver(end.notifier, end.type_name, message())


def test_secrets_stay_secret(end: End, caplog: pytest.LogCaptureFixture) -> None:
    """A token, key, password or secret address stands in a log, an error, a traceback or a repr."""
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


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_never_acts(end: End, name: str) -> None:
    """Audit text mentions, links, forges a header, runs, moves a cursor, or costs the alert."""
    for event in ("alert.opened", "alert.resolved", "alerts.summary"):
        deliver(end.notifier, end.type_name, hostile_message(HOSTILE[name], event))
        end.assert_harmless()


def test_threads_may_send_at_once(end: End) -> None:
    """Messages are lost or mixed when several workers share a notifier."""

    def send(*numbers: int) -> None:
        for number in numbers:
            deliver(end.notifier, end.type_name, message("alert.updated", id=f"m{number}"))

    all_at_once(*(functools.partial(send, *range(first, 40, 8)) for first in range(8)))
    assert len(end.ids()) == 40
    if end.type_name not in NAMELESS:
        assert len(set(end.ids())) == 40


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_passed_on(http_end: End, status: int) -> None:
    """A receiver that says when to come back is asked sooner."""
    server = http_end.server  # type: ignore[attr-defined]
    server.queue.append(Reply(status, b"", {"retry-after": "17"}))
    with pytest.raises(TransientDeliveryError) as caught:
        deliver(http_end.notifier, http_end.type_name, message())
    assert caught.value.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(http_end: End, status: int) -> None:
    """A redirect takes the message, and a token with it, to another host; or does not say where to."""
    server = http_end.server  # type: ignore[attr-defined]
    server.queue.append(Reply(status, b"", {"location": "http://127.0.0.1:9/elsewhere"}))
    with pytest.raises(PermanentDeliveryError, match=r"http://127\.0\.0\.1:9/elsewhere"):
        deliver(http_end.notifier, http_end.type_name, message())
    assert len(server.requests) == 1


def test_a_refusal_keeps_the_answers_beginning(http_end: End) -> None:
    """What the receiver said is lost, or kept without bound."""
    server = http_end.server  # type: ignore[attr-defined]
    server.queue.append(Reply(400, ("no, because " + "x" * 2_000).encode()))
    with pytest.raises(PermanentDeliveryError, match="no, because xxx") as caught:
        deliver(http_end.notifier, http_end.type_name, message())
    assert len(caught.value.response) <= 500


def test_an_answer_that_echoes_a_secret_is_redacted(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """A receiver that repeats its own address or our headers puts secrets into the dead letter."""
    with open_end("webhook", server_context, ca_file) as end:
        assert isinstance(end, WebhookEnd)
        echo = f"POST {end.server.url}/{end.secrets[2]} with Bearer s3cret-header refused"
        end.server.queue.append(Reply(400, echo.encode()))
        with pytest.raises(PermanentDeliveryError, match=r"\[secret\]") as caught:
            deliver(end.notifier, end.type_name, message())
        assert not [secret for secret in end.secrets if secret in str(caught.value)]
