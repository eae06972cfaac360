"""Send spans to an OpenTelemetry collector: OTLP over HTTP, as protobuf (https://opentelemetry.io/docs/specs/otlp/).

Requires the extra `otel`. Spans that cannot be sent wait, up to a limit; then the oldest are dropped. No step waits for them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from socket import gethostname

import structlog
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from actionwatch import __version__
from actionwatch.base.clock import to_micros
from actionwatch.base.errors import TransportError
from actionwatch.base.plurals import counted
from actionwatch.base.tracing import Span
from actionwatch.net.http import HttpClient
from actionwatch.settings import Telemetry
from actionwatch.text.redaction import Redaction, in_header, in_proxy

MAX_WAITING = 4096  # spans; a storm of 1,000 alerts makes about as many. They take a few MB
MAX_BATCH = 512  # spans of a request, about 100 KB
_MAX_RESPONSE_BYTES = 64 * 1024
_EXCERPT_CHARS = 300
LAST_TIMEOUT = timedelta(seconds=2)  # of all that is sent at the end of the service
_MAX_NANOSECONDS = 2**64 - 1  # of a time in the protocol: the year 2554
_TRANSIENT = frozenset({429, 502, 503, 504})  # by the specification; other errors would occur again

log = structlog.get_logger()


class TraceExporter:
    """Keeps the spans of a process, and sends them. `take` is safe to call from any thread."""

    def __init__(self, options: Telemetry, elapsed: Callable[[], float] = time.monotonic) -> None:
        """`elapsed` reads a monotonic clock in seconds."""
        self._options = options
        self._elapsed = elapsed
        self._url = f"{options.endpoint}/v1/traces"
        headers = [part for value in options.headers.values() for part in in_header(value.get_secret_value())]
        proxy = options.proxy.get_secret_value() if options.proxy else None
        self._redact = Redaction(headers, logins=in_proxy(proxy))
        self._http = self._client()
        self._waiting: deque[Span] = deque()
        self._sending: list[trace_pb2.Span] = []
        self._lock = threading.Lock()
        self._dropped_count = 0
        self._is_failing = False

    def take(self, span: Span) -> None:
        """Keep a span until it is sent. If too many wait, drop the oldest."""
        with self._lock:
            self._waiting.append(span)
            if len(self._waiting) > MAX_WAITING:
                self._waiting.popleft()
                self._dropped_count += 1

    def run_once(self) -> None:
        """Send the spans that wait, until the collector refuses some."""
        while self._send_batch(self._http, self._options.timeout):
            pass

    def close(self) -> None:
        """Send the rest within one timeout, unless the collector was unreachable before, and close the connection."""
        self._http.close()
        end = self._elapsed() + min(LAST_TIMEOUT, self._options.timeout).total_seconds()
        with contextlib.closing(self._client()) as last:
            while not self._is_failing and (left := end - self._elapsed()) > 0:
                if not self._send_batch(last, timedelta(seconds=left)):
                    break

    def _client(self) -> HttpClient:
        options = self._options
        return HttpClient(
            timeout=options.timeout,
            headers={name: value.get_secret_value() for name, value in options.headers.items()},
            ca_file=options.ca_file,
            proxy=options.proxy.get_secret_value() if options.proxy else None,
            max_body_bytes=_MAX_RESPONSE_BYTES,
            is_body_optional=True,
        )

    def _send_batch(self, http: HttpClient, timeout: timedelta) -> bool:
        """Send the next spans. Return whether the collector took a full batch, so that more may wait."""
        self._fill_batch()
        if not self._sending:
            return False
        content = _encode(self._sending, self._options.service_name)
        headers = {"content-type": "application/x-protobuf"}
        try:
            answer = http.request("POST", self._url, headers=headers, content=content, timeout=timeout)
        except TransportError as exc:
            return self._fail(self._redact.excerpt(str(exc), _EXCERPT_CHARS))
        if answer.status in _TRANSIENT:
            return self._fail(f"it answered {answer.status}")
        count = len(self._sending)
        self._sending.clear()
        if not 200 <= answer.status < 300:
            self._dropped_count += count
            return self._fail(f"it answered {answer.status}, {counted(count, 'span')} dropped")
        self._note_success(answer.body)
        return count == MAX_BATCH

    def _fill_batch(self) -> None:
        """Encode spans that wait. A span that does not fit the protocol is dropped, because it would block the others."""
        while len(self._sending) < MAX_BATCH:
            with self._lock:
                if not self._waiting:
                    return
                span = self._waiting.popleft()
            try:
                self._sending.append(_encoded(span))
            except ValueError:
                self._dropped_count += 1

    def _fail(self, what: str) -> bool:
        """Report once that the collector does not accept spans, until it accepts some again."""
        if not self._is_failing:
            log.warning(
                "telemetry_failed", error=what, remedy="check telemetry.endpoint; spans wait, the oldest are dropped"
            )
        self._is_failing = True
        return False

    def _note_success(self, body: bytes) -> None:
        rejected = ExportTraceServiceResponse()
        try:
            rejected.ParseFromString(body)
        except DecodeError:  # its content only adds a note
            rejected.Clear()
        if count := rejected.partial_success.rejected_spans:
            log.warning("spans_rejected", count=count)
        if self._is_failing or self._dropped_count:
            log.info("telemetry_sent", dropped=self._dropped_count)
        self._is_failing, self._dropped_count = False, 0


def _encode(spans: Sequence[trace_pb2.Span], service_name: str) -> bytes:
    """Encode spans as a request to a collector."""
    own = {"service.name": service_name, "service.version": __version__, "service.instance.id": gethostname()}
    return ExportTraceServiceRequest(
        resource_spans=[
            trace_pb2.ResourceSpans(
                resource=Resource(attributes=_attributes(own)),
                scope_spans=[
                    trace_pb2.ScopeSpans(
                        scope=InstrumentationScope(name="actionwatch", version=__version__),
                        spans=spans,
                    )
                ],
            )
        ]
    ).SerializeToString()


def _encoded(span: Span) -> trace_pb2.Span:
    start = _nanoseconds(span.start)
    return trace_pb2.Span(
        trace_id=span.trace_id,
        span_id=span.id,
        parent_span_id=span.parent_id,
        name=span.name,
        kind=trace_pb2.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start,
        end_time_unix_nano=max(_nanoseconds(span.end), start),  # the clock of the upstream may be ahead
        attributes=_attributes({**span.attributes, **({"error.type": span.error} if span.error else {})}),
        status=trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR) if span.error else None,
    )


def _attributes(values: Mapping[str, str | int]) -> Iterator[KeyValue]:
    for name, value in values.items():
        text = value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
        given = AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=text)
        yield KeyValue(key=name, value=given)


def _nanoseconds(at: datetime) -> int:
    return min(max(to_micros(at) * 1000, 0), _MAX_NANOSECONDS)
