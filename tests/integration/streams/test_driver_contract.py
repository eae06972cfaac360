"""The promises of every driver of streams, tested with a real far end for each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import pytest

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.streams.driver import Driver, StreamMessage, Traits, driver_module, driver_types
from tests.cases import in_one_test
from tests.integration.streams.end import End
from tests.integration.streams.ends import ENDS
from tests.integration.streams.kit import driver
from tests.integration.streams.messages import assert_arrived, batch, received
from tests.waiting import beside, pause, wait_until


def needs(end: End, *abilities: str) -> None:
    """Skip a test of what the far end cannot do."""
    for each in abilities:
        if each in end.cannot:
            pytest.skip(end.cannot[each])


def test_every_type_has_a_far_end() -> None:
    """Every driver has a far end in this suite."""
    assert {name.split()[0] for name in ENDS} == set(driver_types())


@in_one_test("name", driver_types())
def test_module_has_the_documented_interface(name: str) -> None:
    """Each type has traits, options and a way to build it."""
    module = driver_module(name)
    assert isinstance(module.TRAITS, Traits)
    assert module.Options.model_config["extra"] == "forbid"
    assert callable(module.build)


def test_batch_arrives(end: End) -> None:
    """Each message arrives with its id, kind, offset, key and bytes, in the order of its key."""
    first, second = batch(), batch()
    with closing(driver(end)) as opened:
        opened.open()
        assert not opened.send(first)
        assert not opened.send(second)
    assert_arrived(end, [*first, *second])


def test_repeat_changes_nothing_for_consumers(end: End) -> None:
    """A repeat of a batch, in part or as a whole, arrives under the same ids with the same bytes, or not at all."""
    sent = batch()
    known = 20 if driver_module(end.type_name).TRAITS.is_object else 7
    for repeat in (sent[:known], sent, sent):
        with closing(driver(end)) as opened:
            opened.open()
            assert not opened.send(repeat)
    assert_arrived(end, sent)


def test_stopped_server_is_transient_and_loses_nothing(end: End) -> None:
    """While the server is stopped, `open` and `send` raise a transient error; after its start, the repeat arrives."""
    needs(end, "stop")
    first, second = batch(), batch()
    opened = driver(end)
    opened.open()
    opened.send(first)
    end.stop()
    try:
        with pytest.raises(TransientDeliveryError):
            opened.send(second)
        opened.close()
        with pytest.raises(TransientDeliveryError):
            opened.open()
        opened.close()
    finally:
        end.start()
    with closing(opened):
        opened.open()
        assert not opened.send(second)
    assert_arrived(end, [*first, *second])


def test_server_that_stops_within_a_batch_loses_nothing(end: End) -> None:
    """A server that is stopped while batches arrive loses and reorders nothing, once the batch is repeated."""
    needs(end, "stop")
    sent: list[StreamMessage] = []
    opened = driver(end)
    opened.open()

    def stop() -> None:
        pause(0.05)
        end.stop()

    with closing(opened):
        with beside(stop):
            unconfirmed = _send_until_it_fails(opened, sent)
        end.start()
        opened.close()
        opened.open()
        assert not opened.send(unconfirmed)
    assert_arrived(end, [*sent, *unconfirmed])


def _send_until_it_fails(opened: Driver, sent: list[StreamMessage]) -> list[StreamMessage]:
    """Send batches, adding those that were stored to `sent`. Return the one that failed."""
    while True:
        following = batch(200)
        try:
            assert not opened.send(following)
        except TransientDeliveryError:
            return following
        sent += following


def test_hanging_server_ends_with_the_timeout(end: End) -> None:
    """A server that stops answering is a transient error, of `send` and of `open`, and the repeat arrives when it answers."""
    needs(end, "hang")
    sent = batch()
    opened = driver(end, timeout="0.5s")
    wait_until(lambda: _opens(opened), "the server to answer in time")
    end.hang()
    try:
        with pytest.raises(TransientDeliveryError):
            opened.send(batch(200, 10_000))  # more than the buffers of a socket take
        opened.close()
        with pytest.raises(TransientDeliveryError):
            opened.open()
        opened.close()
    finally:
        end.resume()
    with closing(driver(end)) as opened:
        opened.open()
        assert not opened.send(sent)
    assert_arrived(end, sent)


def _opens(opened: Driver) -> bool:
    try:
        opened.open()
    except TransientDeliveryError:  # a busy machine
        return False
    return True


def test_faults_name_their_remedy(end: End) -> None:
    """Each fault that people must repair is a transient error that names what to do, and no secret."""
    for name, fault in end.faults.items():
        met = fault()
        with closing(driver(end, **met.options)) as opened, pytest.raises(TransientDeliveryError) as caught:
            _open_and_send(opened, batch(1))
        text = str(caught.value)
        assert met.remedy in text, (name, text)
        assert not [secret for secret in end.secrets if secret in text], name


def _open_and_send(opened: Driver, sent: Sequence[StreamMessage]) -> None:
    opened.open()
    opened.send(sent)


def test_message_that_is_too_large_is_refused(end: End) -> None:
    """A message that the server never accepts is refused, and the others of the batch arrive."""
    if end.too_large_bytes is None:
        pytest.skip("the server has no limit")
    before, (large,), after = batch(5), batch(1, end.too_large_bytes), batch(5)
    with closing(driver(end)) as opened:
        opened.open()
        (refusal,) = opened.send([*before, large, *after])
    assert refusal.id == large.id
    assert refusal.why
    assert received(end, [large]) == []
    assert_arrived(end, [*before, *after])


def test_close_is_harmless(end: End) -> None:
    """A driver can be closed before it is opened, twice, and opened again."""
    sent = batch(3)
    opened = driver(end)
    opened.close()
    opened.open()
    opened.close()
    opened.close()
    with closing(opened):
        opened.open()
        opened.send(sent)
    assert_arrived(end, sent)
