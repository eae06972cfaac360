"""Spans reach a collector, and a collector that is away holds nothing up and lets nothing grow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from actionwatch.base.tracing import Span
from actionwatch.service.telemetry import LAST_TIMEOUT, MAX_BATCH, MAX_WAITING, TraceExporter
from actionwatch.settings import Telemetry
from tests.builders import NOON
from tests.children import run_child
from tests.integration.notifiers.http_end import Reply, Request, dead_port
from tests.integration.service.otlp_end import OtlpEnd, attributes_of


@pytest.fixture
def collector() -> Iterator[OtlpEnd]:
    """A collector."""
    with OtlpEnd() as end:
        yield end


def exporter(collector: str, **values: Any) -> TraceExporter:
    """Return an exporter to this collector."""
    return TraceExporter(Telemetry.model_validate({"endpoint": collector, **values}))


def span(name: str = "poll", **values: Any) -> Span:
    """Make a span of a second at noon."""
    return Span(name, **{"start": NOON, "end": NOON + timedelta(seconds=1), "attributes": {}, **values})


def test_a_span_arrives_as_it_was(collector: OtlpEnd) -> None:
    """A span arrives with its ids, times, attributes and error, of a resource with the name of the service."""
    sender = exporter(collector.url, service_name="watch", headers={"authorization": "Bearer s3cret"})
    sender.take_span(
        span(attributes={"actionwatch.source": "acme\ud800", "actionwatch.requests": 3}, error="RateLimited")
    )
    sender.take_span(
        span("odd", start=datetime(1, 1, 1, tzinfo=UTC), end=datetime(1, 1, 1, tzinfo=UTC), parent_id=b"parent-1")
    )
    sender.take_span(span("ahead", end=NOON - timedelta(hours=1)))
    sender.run_once()
    sender.close()
    poll, odd, ahead = collector.spans
    assert attributes_of(poll) == {
        "actionwatch.source": "acme?", "actionwatch.requests": 3, "error.type": "RateLimited",
    }  # fmt: skip
    assert (len(poll.trace_id), len(poll.span_id), poll.parent_span_id) == (16, 8, b"")
    assert poll.status.code == Status.STATUS_CODE_ERROR
    assert poll.end_time_unix_nano - poll.start_time_unix_nano == 10**9
    assert poll.start_time_unix_nano == int(NOON.timestamp()) * 10**9
    assert (odd.start_time_unix_nano, odd.parent_span_id, odd.status.code) == (0, b"parent-1", 0)
    assert ahead.start_time_unix_nano == ahead.end_time_unix_nano
    (resource,) = collector.accepted[0].resource_spans
    assert {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"] == "watch"
    assert collector.requests[0].headers["authorization"] == "Bearer s3cret"


def test_many_spans_go_in_batches(collector: OtlpEnd) -> None:
    """One run sends everything that waits, in requests of a bounded size."""
    sender = exporter(collector.url)
    for number in range(2 * MAX_BATCH + 1):
        sender.take_span(span(str(number)))
    sender.run_once()
    sender.run_once()
    sender.close()
    assert [len(each.resource_spans[0].scope_spans[0].spans) for each in collector.accepted] == [
        MAX_BATCH,
        MAX_BATCH,
        1,
    ]
    assert [each.name for each in collector.spans] == [str(number) for number in range(2 * MAX_BATCH + 1)]


@pytest.mark.parametrize("reply", [Reply(503), Reply(429), Reply(fault="reset"), Reply(fault="close")])
def test_spans_wait_for_a_collector_that_is_away(
    collector: OtlpEnd, reply: Reply, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the collector does not accept now, it gets later; the log says it once, and that it is over."""
    sender = exporter(collector.url)
    accept, collector.reply = collector.reply, lambda request: reply
    sender.take_span(span("first"))
    for _ in range(3):
        sender.run_once()
    sender.take_span(span("second"))
    collector.reply = accept
    sender.run_once()
    sender.run_once()
    sender.close()
    assert [each.name for each in collector.spans] == ["first", "second"]
    log = capsys.readouterr().out
    assert (log.count("telemetry_failed"), log.count("telemetry_sent")) == (1, 1)


def test_what_a_collector_refuses_is_not_sent_again(collector: OtlpEnd, capsys: pytest.CaptureFixture[str]) -> None:
    """Spans that would be refused again are dropped, and those that a collector rejects are counted in the log."""
    sender = exporter(collector.url)
    accept, collector.reply = collector.reply, lambda request: Reply(400)
    sender.take_span(span("first"))
    sender.run_once()
    rejecting = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1))
    collector.reply = lambda request: Reply(200, rejecting.SerializeToString())
    sender.take_span(span("second"))
    sender.run_once()
    collector.reply = lambda request: Reply(200, b"\xff<html>")
    sender.take_span(span("third"))
    sender.run_once()
    collector.reply = accept
    sender.run_once()
    sender.close()
    assert collector.spans == []
    log = capsys.readouterr().out
    assert "it answered 400, 1 span dropped" in log
    assert "spans_rejected" in log


def test_nothing_grows_while_a_collector_is_away(collector: OtlpEnd, capsys: pytest.CaptureFixture[str]) -> None:
    """A bounded number of the newest spans waits, behind the batch that was tried; the failure is reported once."""
    accept, collector.reply = collector.reply, lambda request: Reply(503)
    sender = exporter(collector.url)
    for number in range(MAX_WAITING + 100):
        sender.take_span(span(str(number)))
        if not number:
            sender.run_once()
    sender.run_once()
    collector.reply = accept
    sender.run_once()
    sender.close()
    assert [each.name for each in collector.spans] == ["0", *map(str, range(100, MAX_WAITING + 100))]
    assert capsys.readouterr().out.count("telemetry_failed") == 1


def test_the_end_does_not_wait_for_a_collector_that_is_away(
    collector: OtlpEnd, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a failure, which is reported once, the end of the service tries nothing."""
    collector.reply = lambda request: Reply(503)
    refused = exporter(collector.url)
    refused.take_span(span())
    refused.run_once()
    refused.close()
    assert len(collector.requests) == 1
    with dead_port() as port:
        unreachable = exporter(f"http://127.0.0.1:{port}")
        unreachable.take_span(span())
        unreachable.run_once()
        unreachable.close()
    assert capsys.readouterr().out.count("telemetry_failed") == 2, "one for each collector"


def test_the_rest_is_sent_at_the_end(collector: OtlpEnd) -> None:
    """A service that ends sends the spans of its last seconds."""
    sender = exporter(collector.url)
    sender.take_span(span("last"))
    sender.close()
    assert [each.name for each in collector.spans] == ["last"]


def test_the_end_has_one_deadline(collector: OtlpEnd) -> None:
    """All requests at the end share a deadline: a collector that takes long for each does not hold the service up."""
    now = 0.0
    sender = TraceExporter(Telemetry.model_validate({"endpoint": collector.url}), lambda: now)
    for number in range(4 * MAX_BATCH):
        sender.take_span(span(str(number)))
    accept = collector.reply

    def reply_slowly(request: Request) -> Reply:
        nonlocal now
        now += LAST_TIMEOUT.total_seconds() * 0.6
        return accept(request)

    collector.reply = reply_slowly
    sender.close()
    assert len(collector.requests) == 2
    assert len(collector.spans) == 2 * MAX_BATCH


def test_a_value_that_cannot_be_sent_holds_nothing_up(collector: OtlpEnd) -> None:
    """A value that does not fit the protocol is left out, and its span arrives with the others; a time far ahead fits."""
    sender = exporter(collector.url)
    sender.take_span(span("far", end=datetime(9999, 12, 31, tzinfo=UTC)))
    sender.take_span(span("huge", attributes={"actionwatch.requests": 2**64}))
    for number in range(MAX_BATCH):
        sender.take_span(span(str(number)))
    sender.run_once()
    sender.close()
    assert [each.name for each in collector.spans] == ["far", "huge", *map(str, range(MAX_BATCH))]
    assert attributes_of(collector.spans[1]) == {}


def test_an_invalid_variable_of_the_library_is_an_error() -> None:
    """If the library refuses a variable of the environment, the error names it."""
    code = (
        "from actionwatch.base.errors import ActionwatchError\n"
        "from actionwatch.service.service import _build_traces\n"
        "from actionwatch.settings import Telemetry\n"
        "try:\n    _build_traces(Telemetry(endpoint='http://127.0.0.1:4318'))\n"
        "except ActionwatchError as exc:\n    print(exc)"
    )
    ran = run_child([sys.executable, "-c", code], env={**os.environ, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"})
    assert "telemetry: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer but got many: fix" in ran.stdout
