"""Spans of steps: their names, ids and attributes, and nothing while nobody collects them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from actionwatch.base import tracing
from actionwatch.base.errors import PermanentDeliveryError, RateLimited
from actionwatch.base.tracing import Span
from tests.builders import NOON, make_alert, make_delivery

SECOND = timedelta(seconds=1)
ALERT = replace(make_alert("alert-1", title="eve deleted payments"), happened_at=NOON - 5 * SECOND, seen_at=NOON)


@pytest.fixture
def spans() -> Iterator[list[Span]]:
    """Collect the spans of a test."""
    collected: list[Span] = []
    tracing.collect_with(collected.append)
    yield collected
    tracing.collect_with(None)


def test_an_alert_is_a_trace(spans: list[Span]) -> None:
    """The way of a record to people is one trace, whichever process makes its spans: waiting, matching, each attempt."""
    tracing.alert_opened(ALERT, NOON + SECOND)
    row = make_delivery("alert-1", attempts=2)
    tracing.attempt_ended(row, NOON + SECOND, NOON + 2 * SECOND, PermanentDeliveryError("refused: s3cret"))
    root, waited, matched, sent = spans
    assert [each.name for each in spans] == ["alert", "wait for poll", "match", "deliver"]
    assert {each.trace_id for each in spans} == {root.trace_id}
    assert {each.parent_id for each in (waited, matched, sent)} == {root.id}
    assert (root.parent_id, len({each.id for each in spans}), len(root.trace_id), len(root.id)) == (b"", 4, 16, 8)
    assert (waited.start, waited.end) == (ALERT.happened_at, matched.start)
    assert (matched.end, sent.end) == (NOON + SECOND, NOON + 2 * SECOND)
    assert sent.error == "PermanentDeliveryError"
    assert sent.attributes == {
        "actionwatch.receiver": "hook",
        "actionwatch.event": "opened",
        "actionwatch.message": row.id,
        "actionwatch.attempt": 2,
    }
    assert not [each for each in spans if "s3cret" in str(each) or "payments" in str(each)]


def test_an_alert_without_records_is_its_root_alone(spans: list[Span]) -> None:
    """An alert about something missing has not waited for a poll."""
    tracing.alert_opened(replace(ALERT, happened_at=None, seen_at=None), NOON)
    assert [each.name for each in spans] == ["alert"]


def test_each_poll_is_a_trace_of_its_own(spans: list[Span]) -> None:
    """A poll has its source, what it took and brought, and the kind of its error."""
    for error in (None, RateLimited("too many")):
        tracing.poll_ended("acme", NOON, NOON + SECOND, 3, 1, error)
    one, other = spans
    assert one.attributes == {"actionwatch.source": "acme", "actionwatch.requests": 3, "actionwatch.new_records": 1}
    assert (one.error, other.error) == (None, "RateLimited")
    assert one.trace_id != other.trace_id


def test_without_a_collector_there_is_no_span(spans: list[Span]) -> None:
    """Nothing is collected, and nothing fails, before and after."""
    tracing.collect_with(None)
    tracing.poll_ended("acme", NOON, NOON, 1, 0, None)
    tracing.alert_opened(ALERT, NOON)
    tracing.attempt_ended(make_delivery("alert-1"), NOON, NOON, None)
    assert spans == []
