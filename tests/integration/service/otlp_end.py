"""A real OpenTelemetry collector on loopback: it takes OTLP over HTTP and decodes it."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.notifiers.http_end import HttpEnd, Reply, Request


class OtlpEnd(HttpEnd):
    """Keeps the requests that it accepted."""

    def __init__(self) -> None:
        super().__init__(self._accept)
        self.accepted: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[Span]:
        """All spans, in order."""
        return [
            span
            for request in self.accepted
            for each in request.resource_spans
            for scope in each.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Span]:
        """Return the spans with a name."""
        return [span for span in self.spans if span.name == name]

    def _accept(self, request: Request) -> Reply:
        assert (request.path, request.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        self.accepted.append(ExportTraceServiceRequest.FromString(request.body))
        return Reply(200, ExportTraceServiceResponse().SerializeToString())


def attributes_of(span: Span) -> dict[str, Any]:
    """Return the attributes of a span."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes}
