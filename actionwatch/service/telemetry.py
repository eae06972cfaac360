"""Send spans to an OpenTelemetry collector: OTLP over HTTP, as protobuf (https://opentelemetry.io/docs/specs/otlp/).

Requires the extra `otel`. The SDK's spans and the encoder of its OTLP exporters make the requests, and our HTTP client sends
them: the exporter for HTTP reads headers, certificates and proxies from the environment, and the SDK's queue drops each batch
that fails.

Spans that cannot be sent wait, up to a limit; then the oldest are dropped. No step waits for them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from socket import gethostname

import structlog
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode

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
_SCOPE = InstrumentationScope("actionwatch", __version__)

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
        self._resource = Resource(
            {"service.name": options.service_name, "service.version": __version__, "service.instance.id": gethostname()}
        )
        self._http = self._client()
        self._waiting: deque[Span] = deque()
        self._sending: list[ReadableSpan] = []
        self._lock = threading.Lock()
        self._dropped_count = 0
        self._is_failing = False

    def take_span(self, span: Span) -> None:
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
        content = encode_spans(self._sending).SerializeToString()
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
        while len(self._sending) < MAX_BATCH:
            with self._lock:
                if not self._waiting:
                    return
                span = self._waiting.popleft()
            self._sending.append(_ended(span, self._resource))

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


def _ended(span: Span, resource: Resource) -> ReadableSpan:
    """Return a span as the exporter takes it."""
    trace_id, start = int.from_bytes(span.trace_id), _nanoseconds(span.start)
    attributes = {**span.attributes, **({"error.type": span.error} if span.error else {})}
    return ReadableSpan(
        span.name,
        context=SpanContext(trace_id, int.from_bytes(span.id), is_remote=False),
        parent=SpanContext(trace_id, int.from_bytes(span.parent_id), is_remote=True) if span.parent_id else None,
        resource=resource,
        attributes={name: _sendable(value) for name, value in attributes.items()},
        status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
        start_time=start,
        end_time=max(_nanoseconds(span.end), start),  # the clock of the upstream may be ahead
        instrumentation_scope=_SCOPE,
    )


def _sendable(value: str | int) -> str | int:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _nanoseconds(at: datetime) -> int:
    return min(max(to_micros(at) * 1000, 0), _MAX_NANOSECONDS)
