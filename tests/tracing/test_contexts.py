"""A trace context is read as the W3C wrote it, kept while its request is in flight, and forgotten then."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from servicekit.tracing.contexts import RequestContexts, parsed, request_contexts
from tests.servicekit.in_process import RecordingTransport, connect
from tests.servicekit.small_service import LIFESPAN_STATE, build

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
MALFORMED = (
    "",
    "00",
    f"ff-{TRACE_ID}-{SPAN_ID}-01",
    f"00-{'0' * 32}-{SPAN_ID}-01",
    f"00-{TRACE_ID}-{'0' * 16}-01",
    f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
    f"00-{TRACE_ID}-{SPAN_ID}",
    f"00-{TRACE_ID}-{SPAN_ID}-1",
    f"00-{TRACE_ID}-{SPAN_ID}-01-more",
    f"00-{TRACE_ID}-{SPAN_ID}-01\n",
    f" {TRACEPARENT}",
    f"01-{TRACE_ID}-{SPAN_ID}-01-{'x' * 500}",
    f"00-{TRACE_ID[:-1]}\N{ARABIC-INDIC DIGIT ONE}-{SPAN_ID}-01",
)
fields = st.sampled_from(["00", "01", "cc", "ff", "fe", "0", TRACE_ID, "0" * 32, "f" * 32, SPAN_ID, "0" * 16, "x", ""])


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_context_is_none(text: str) -> None:
    assert parsed(text) is None


@given(st.lists(fields, max_size=6).map("-".join) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"))
@example(TRACEPARENT)
@example(f"cc-{TRACE_ID}-{SPAN_ID}-01")
@example(f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-holds")
def test_a_context_is_read_as_opentelemetry_reads_it(text: str) -> None:
    context = TraceContextTextMapPropagator().extract({"traceparent": text})
    theirs = trace.get_current_span(context).get_span_context()
    ours = parsed(text)
    if theirs.is_valid and not text.endswith("\n"):
        assert ours is not None
        assert (ours.trace_id, ours.span_id, ours.flags) == (theirs.trace_id, theirs.span_id, theirs.trace_flags)
    else:
        assert ours is None


def test_a_state_that_is_too_long_is_left_out() -> None:
    for state, kept in (("a=1,b=2", "a=1,b=2"), ("a=" + "1" * 600, "")):
        context = parsed(TRACEPARENT, state)
        assert context is not None
        assert context.state == kept


def test_only_sampled_requests_are_linked() -> None:
    contexts = RequestContexts()
    for request_id, traceparent in (("a", TRACEPARENT), ("b", TRACEPARENT[:-1] + "0"), ("c", "x")):
        contexts.begin(request_id, traceparent.encode(), None)
    contexts.begin("d", None, None)
    assert [each.trace_id for each in contexts.sampled("abcd")] == [int(TRACE_ID, 16)]
    assert [each for each in "abcd" if contexts.find(each) is not None] == ["a", "b"]


@pytest.fixture
def _tracing_is_on() -> Iterator[None]:
    request_contexts.is_on = True
    yield
    request_contexts.is_on = False
    assert len(request_contexts) == 0


async def answered(transport: RecordingTransport) -> None:
    """Return when the answer was written, and its request is over."""
    for _ in range(1_000):
        await asyncio.sleep(0.01)
        if transport.writes:
            break
    await asyncio.sleep(0.01)


@pytest.mark.usefixtures("_tracing_is_on")
@pytest.mark.parametrize("extra", [b"", b"origin: https://a.example\r\n"], ids=["direct", "the long way"])
async def test_a_context_is_kept_while_its_request_is_in_flight(extra: bytes) -> None:
    protocol, transport = connect(build(), state=LIFESPAN_STATE)
    body = b'{"how":"slow"}'
    headers = b"x-request-id: r1\r\ntraceparent: %b\r\n%bcontent-length: %d\r\n" % (
        TRACEPARENT.encode(), extra, len(body),
    )  # fmt: skip
    protocol.data_received(b"POST /direct HTTP/1.1\r\nhost: test\r\n%b\r\n%b" % (headers, body))
    await asyncio.sleep(0.01)
    kept = request_contexts.find("r1")
    assert kept is not None
    assert kept.trace_id == int(TRACE_ID, 16)
    await answered(transport)
    assert request_contexts.find("r1") is None
    protocol.connection_lost(None)


@pytest.mark.usefixtures("_tracing_is_on")
async def test_of_two_contexts_none_counts() -> None:
    protocol, transport = connect(build(), state=LIFESPAN_STATE)
    line = b"traceparent: %b\r\n" % TRACEPARENT.encode()
    body = b'{"how":"slow"}'
    head = b"POST /direct HTTP/1.1\r\nhost: test\r\nx-request-id: r2\r\n%bcontent-length: %d\r\n\r\n" % (
        2 * line,
        len(body),
    )
    protocol.data_received(head + body)
    await asyncio.sleep(0.01)
    assert not transport.writes
    assert request_contexts.find("r2") is None
    await answered(transport)
    protocol.connection_lost(None)
