"""Begins tracing in a process, if an operator has named a collector."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from servicekit.service.settings import ServiceSettings
from servicekit.tracing.contexts import request_contexts
from servicekit.tracing.queries import query_tracing
from servicekit.tracing.spans import NoSpans, Spans


@asynccontextmanager
async def tracing(service: str, *, version: str, settings: ServiceSettings) -> AsyncIterator[Spans]:
    """In the block, spans are recorded, and at its end the last are sent. Without a collector, nothing is traced."""
    if settings.otel_exporter_otlp_endpoint is None:
        yield NoSpans()
        return
    from servicekit.tracing.recorded import RecordedSpans  # noqa: PLC0415 - what few need takes long to import

    resource = {
        "service.name": service,
        "service.version": version,
        "service.instance.id": settings.instance_id,
        "deployment.environment.name": settings.environment,
    }
    spans = RecordedSpans(
        str(settings.otel_exporter_otlp_endpoint),
        ratio=settings.otel_traces_sampler_arg,
        resource=resource,
        contexts=request_contexts,
    )
    query_tracing.spans = spans
    try:
        yield spans
    finally:
        query_tracing.spans = None
        await spans.close()
