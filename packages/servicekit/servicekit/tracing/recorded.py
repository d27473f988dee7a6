"""Spans that are recorded by OpenTelemetry's SDK and sent to a collector over OTLP/HTTP.

What is waiting to be sent is bounded, and a thread of the SDK sends it: a collector that is slow or away costs spans,
and no request waits for it.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from threading import Thread

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes as OtelAttributes
from typing_extensions import override

from servicekit.tracing.contexts import RequestContexts, TraceContext, current_request
from servicekit.tracing.spans import Attributes
from servicekit.tracing.spans import Span as TracedSpan

# As many as the SDK keeps by default; each costs some microseconds.
LINKS_MAX = 128
# For the last spans, when the process ends. Its thread dies with the process.
CLOSE_SECONDS_MAX = 2.0
_log = logging.getLogger(__name__)
# The span in whose block a task is.
_current: ContextVar[SpanContext | None] = ContextVar("current span", default=None)


class RecordedSpans:
    """The spans of a process, of which a share is recorded: see `servicekit.tracing.spans.Spans`."""

    def __init__(self, endpoint: str, *, ratio: float, resource: Mapping[str, str], contexts: RequestContexts) -> None:
        """`ratio` is the share of traces that begin here; whoever calls with a context has decided for it."""
        # The operator's own OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME win.
        described = Resource(resource).merge(OTELResourceDetector().detect())
        self._contexts = contexts
        self._provider = TracerProvider(sampler=_LinkedSampler(ratio), resource=described, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_QuietExporter(endpoint)))
        self._tracer = self._provider.get_tracer("servicekit.tracing")
        contexts.is_on = True

    @contextmanager
    def of_flush(self, name: str, attributes: Attributes, links: Iterable[str]) -> Iterator[TracedSpan]:
        """Begin a span of work that many requests share."""
        yield from self._span(name, attributes, links=links)

    @contextmanager
    def of_request(
        self, name: str, attributes: Attributes, child_of: str, links: Iterable[str] = ()
    ) -> Iterator[TracedSpan]:
        """Begin a span of the work of one request, or of it and of others that joined it."""
        yield from self._span(name, attributes, self._parent(child_of), links)

    @contextmanager
    def of_query(self, name: str, attributes: Attributes) -> Iterator[TracedSpan | None]:
        """Begin a span of a use of the database. What the process does for no request has none."""
        parent, request_id = _current.get(), current_request.get()
        if parent is None and request_id == "":
            yield None
        else:
            yield from self._span(name, attributes, parent or self._parent(request_id), kind=SpanKind.CLIENT)

    async def close(self) -> None:
        """Send what is waiting, for a moment."""
        self._contexts.is_on = False
        closing = Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSE_SECONDS_MAX)

    def _span(
        self,
        name: str,
        attributes: Attributes,
        parent: SpanContext | None = None,
        links: Iterable[str] = (),
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Iterator[TracedSpan]:
        linked = [Link(_sdk_context(each)) for each in islice(self._contexts.sampled(links), LINKS_MAX)]
        context = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
        span = self._tracer.start_span(name, context=context, kind=kind, attributes=dict(attributes), links=linked)
        begun = _BegunSpan(span)
        outer = _current.set(span.get_span_context())
        try:
            yield begun
        except BaseException as error:
            begun.fail(getattr(error, "code", type(error).__name__))
            raise
        finally:
            _current.reset(outer)
            span.end()

    def _parent(self, request_id: str) -> SpanContext | None:
        found = self._contexts.find(request_id)
        return None if found is None else _sdk_context(found)


class _BegunSpan:
    def __init__(self, span: Span) -> None:
        self._span = span
        context = span.get_span_context()
        traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        self.headers: Mapping[str, str] = {"traceparent": traceparent}
        if context.trace_state:
            self.headers = {**self.headers, "tracestate": context.trace_state.to_header()}

    def fail(self, code: str) -> None:
        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR))


class _LinkedSampler(Sampler):
    """Records what belongs to a sampled request: as its child, or by a link. Of the rest, it records a share."""

    def __init__(self, ratio: float) -> None:
        self._others = ParentBased(TraceIdRatioBased(ratio))

    @override
    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: OtelAttributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if links:  # there are none but sampled ones
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._others.should_sample(parent_context, trace_id, name, kind, attributes, links)

    @override
    def get_description(self) -> str:
        return "Linked"


class _QuietExporter(SpanExporter):
    """Sends spans to a collector; says once that it is away, and once that it is back."""

    def __init__(self, endpoint: str) -> None:
        # The SDK has a line for each attempt and for each full queue.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        session = requests.Session()
        session.trust_env = False  # no proxy that the environment names for others
        self._exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", session=session)
        self._is_away = False

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away != self._is_away:
            self._is_away = is_away
            if is_away:
                _log.warning("the collector of traces does not take spans: they are dropped until it does")
            else:
                _log.warning("the collector of traces takes spans again")
        return result

    @override
    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own


def _sdk_context(context: TraceContext) -> SpanContext:
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(
        context.trace_id, context.span_id, is_remote=True, trace_flags=TraceFlags(context.flags), trace_state=state
    )
