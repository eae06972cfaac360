"""The stages that send: the first that ends an attempt is the last that runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from actionwatch.base.errors import Fault, PermanentDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.delivery.attempt import LONGEST_WAIT, Channel, Sending, send_once
from actionwatch.delivery.compose import Job
from tests.builders import make_delivery, make_message

JOB = Job(make_delivery(), make_message(), None, "ts-1")
FAULT = Fault("page.txt", 0, 0, "no field")


class Parts:
    """A renderer and a notifier that note what they do. A string to `refuse` is what fails."""

    version = 7

    def __init__(self, refuse: str = "") -> None:
        self.done: list[str] = []
        self._refuse = refuse

    def render(self, names: tuple[str, ...], message: Message) -> tuple[Rendered, Sequence[Fault]]:
        """Fill the templates, of which one fails."""
        self._do("render")
        return Rendered({"page.txt": "text"}), [FAULT]

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Accept what was rendered."""
        self._do("send")
        assert (message, rendered.texts, reference) == (JOB.message, {"page.txt": "text"}, "ts-1")
        return Receipt("ts-2")

    def close(self) -> None:
        """Keep nothing open."""

    def _do(self, what: str) -> None:
        self.done.append(what)
        if what == self._refuse:
            raise PermanentDeliveryError(f"cannot {what}")


def sending(parts: Parts, *, is_mine: bool = True, waited: timedelta = LONGEST_WAIT) -> Sending:
    """Return what sends with these parts."""
    return Sending(Channel("hook", parts, ("page.txt",)), parts, lambda _: is_mine, lambda _: waited)


def test_an_attempt_goes_through_all_stages() -> None:
    """A job that waited as long as it may is rendered and sent; the result has the receipt and the failures of templates."""
    parts = Parts()
    ended = send_once(sending(parts), JOB)
    assert parts.done == ["render", "send"]
    assert (ended.receipt.reference, ended.error, ended.left) == ("ts-2", None, None)
    assert (ended.render_failures, ended.templates_version) == ([FAULT], 7)


@pytest.mark.parametrize(
    ("refuse", "waited", "done", "error"),
    [
        ("", LONGEST_WAIT + timedelta(seconds=1), [], "not sent: it waited more than 2m for the messages before it"),
        ("render", LONGEST_WAIT, ["render"], "cannot render"),
        ("send", LONGEST_WAIT, ["render", "send"], "cannot send"),
    ],
)
def test_an_error_ends_an_attempt(refuse: str, waited: timedelta, done: list[str], error: str) -> None:
    """No stage runs after one that failed, and the result has its error."""
    parts = Parts(refuse)
    ended = send_once(sending(parts, waited=waited), JOB)
    assert (parts.done, str(ended.error), ended.left) == (done, error, None)


def test_a_job_of_an_earlier_term_is_left() -> None:
    """What others may have claimed meanwhile is not sent, and the reason is known."""
    parts = Parts()
    ended = send_once(sending(parts, is_mine=False), JOB)
    assert parts.done == ["render"]
    assert (ended.error, ended.left and ended.left.why) == (None, "others may have claimed it since")
