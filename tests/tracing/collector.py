"""A collector of traces: it receives OTLP over HTTP, as any other one."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

ARRIVES_SECONDS_MAX = 20.0


class Received(NamedTuple):
    """A span, with ids as they are written in a `traceparent`."""

    service: str
    resource: dict[str, str]
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    # Trace and span of each.
    links: list[tuple[str, str]]
    attributes: dict[str, str | int]
    has_failed: bool
    is_client: bool

    @property
    def is_query(self) -> bool:
        """Whether it is a use of a database."""
        return "db.system.name" in self.attributes


@dataclass
class Collector:
    """What has arrived."""

    spans: list[Received] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def add(self, body: bytes) -> None:
        """Take one request."""
        with self.arrived:
            for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = {name: str(value) for name, value in _read(resource_spans.resource.attributes).items()}
                for scope_spans in resource_spans.scope_spans:
                    self.spans += [_received(resource, each) for each in scope_spans.spans]
            self.arrived.notify_all()

    def wait_for(
        self, number: int, *, trace_id: str | None = None, service: str | None = None, queries: bool = False
    ) -> list[Received]:
        """Return the spans of a trace, or those that link to it, when there are so many; of one service, or of both.

        They are those of the uses of databases, or all others.
        """

        def found() -> list[Received]:
            return [
                each
                for each in self.spans
                if service in {None, each.service}
                and each.is_query == queries
                and (trace_id in {None, each.trace_id} or trace_id in {trace for trace, _ in each.links})
            ]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(found()) >= number, ARRIVES_SECONDS_MAX), self.spans
            return found()


def _received(resource: dict[str, str], span: Span) -> Received:
    return Received(
        resource["service.name"],
        resource,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        _read(span.attributes),
        span.status.code == Status.STATUS_CODE_ERROR,
        span.kind == Span.SPAN_KIND_CLIENT,
    )


def _read(attributes: Iterable[KeyValue]) -> dict[str, str | int]:
    return {
        each.key: each.value.int_value if each.value.HasField("int_value") else each.value.string_value
        for each in attributes
    }


@contextmanager
def collecting(port: int = 0) -> Iterator[tuple[Collector, str]]:
    """In the block, a collector listens; with its address."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_ours = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            if is_ours:
                collector.add(body)
            self.send_response(200 if is_ours else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
