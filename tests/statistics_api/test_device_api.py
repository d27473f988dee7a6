"""One attempt, and an honest word on how it ended, against a server that does what a test tells it."""

import asyncio
import json
import socket
import struct
import time

import pytest

from local.ports import free_port
from servicekit.errors import (
    DomainError,
    FieldError,
    IdempotencyKeyReused,
    Invalid,
    NotRecorded,
    OutcomeUnknown,
    rebuild,
    registered,
)
from servicekit.http import deadline as deadlines
from servicekit.http.error_responses import ErrorShape, render_as
from statistics_api.delivery.device_api import DeviceApi
from tests.statistics_api.private_service import Reply, answering, private

SECONDS = 5.0


async def silent(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(SECONDS)


async def reset(writer: asyncio.StreamWriter) -> None:
    # Zero seconds of lingering: close() sends a reset instead of a farewell.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def farewell(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def half_an_answer(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()


async def not_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.org ESMTP\r\n")
    await writer.drain()
    writer.close()


async def post(api: DeviceApi, seconds: float = SECONDS) -> bytes:
    return await api.post("/Device/register", b"{}", deadline=time.monotonic() + seconds, request_id="my-id")


def error(code: str) -> bytes:
    return json.dumps({"detail": "a sentence", "code": code}).encode()


async def test_an_answer_is_handed_on_as_it_came() -> None:
    async with private(answering(200, b'{"any":"thing"}')) as (_, api):
        assert await post(api) == b'{"any":"thing"}'


async def test_a_request_carries_its_id_its_deadline_and_the_service_token() -> None:
    async with private(answering(200, b"")) as (double, api):
        await post(api)

    (head,) = double.heads
    assert head.startswith("post /device/register http/1.1\r\n")
    assert "\r\nx-request-id: my-id\r\n" in head
    assert "\r\nauthorization: bearer a-service-token\r\n" in head
    deadline = float(head.split(f"\r\n{deadlines.HEADER.lower()}: ")[1].split("\r\n")[0])
    # Earlier than ours, so that the answer still reaches us in time.
    assert SECONDS - 1 < deadline - time.time() < SECONDS - 0.4


async def test_nobody_there_is_not_recorded_at_once() -> None:
    api, begun = DeviceApi(f"http://127.0.0.1:{free_port()}", "a-service-token"), time.monotonic()
    with pytest.raises(NotRecorded):
        await post(api)
    await api.close()

    assert time.monotonic() - begun < SECONDS / 2  # long before the deadline


@pytest.mark.parametrize("reply", [reset, farewell, half_an_answer, not_http])
async def test_a_connection_lost_after_the_request_leaves_the_outcome_unknown(reply: Reply) -> None:
    async with private(reply) as (_, api):
        with pytest.raises(OutcomeUnknown):
            await post(api)


async def test_silence_until_the_deadline_leaves_the_outcome_unknown() -> None:
    async with private(silent) as (_, api):
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await post(api, 0.3)
        assert 0.25 < time.monotonic() - begun < SECONDS / 2


ANSWERS: list[tuple[int, bytes, type[DomainError]]] = [
    (503, error("not-recorded"), NotRecorded),
    (503, error("outcome-unknown"), OutcomeUnknown),
    (503, error("a-code-of-tomorrow"), OutcomeUnknown),
    (503, b'{"detail":"no code"}', OutcomeUnknown),
    (503, b'["a list"]', OutcomeUnknown),
    (503, b"<html>a proxy's own page</html>", OutcomeUnknown),
    (503, b"\xff", OutcomeUnknown),
    (503, b"", OutcomeUnknown),
    (409, error("idempotency-key-reused"), IdempotencyKeyReused),
    (409, b"<html>not ours</html>", NotRecorded),
    (409, b"[]", NotRecorded),
    (500, b"", OutcomeUnknown),
    (502, b"", OutcomeUnknown),
    (504, b"", OutcomeUnknown),
    *((status, error("any"), NotRecorded) for status in (301, 400, 401, 403, 404, 408, 413, 415, 422, 429)),
]


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS)
async def test_what_another_answer_means(status: int, body: bytes, expected: type[DomainError]) -> None:
    async with private(answering(status, body)) as (_, api):
        with pytest.raises(DomainError) as outcome:
            await post(api)

    assert type(outcome.value) is expected
    if expected is not IdempotencyKeyReused:
        # Whatever the private service finds wrong with us is never the client's fault.
        assert outcome.value.status == 503
        assert outcome.value.retry_after_seconds == 1
    if body == error("not-recorded"):
        assert str(outcome.value) == "a sentence"


RAISED: list[DomainError] = [
    Invalid([FieldError(("body", "email"), "is no e-mail address", "value_error"), FieldError((), "", "missing")]),
    *(
        raised
        for code, kind in registered().items()
        if (raised := rebuild(code, kind.status, "a sentence", (), 7)) is not None
    ),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: raised.code)
async def test_a_refusal_of_the_private_service_reaches_the_client_as_what_it_is(raised: DomainError) -> None:
    response = render_as(ErrorShape.PROBLEM_IN_FULL, raised)
    headers = b"".join(b"%s: %s\r\n" % each for each in response.raw_headers if each[0] != b"content-length")
    async with private(answering(response.status_code, bytes(response.body), headers=headers)) as (_, api):
        with pytest.raises(DomainError) as outcome:
            await post(api)

    if raised.code in OUR_OPERATORS_MATTER:
        assert type(outcome.value) is NotRecorded
    elif raised.code == "internal":
        assert type(outcome.value) is OutcomeUnknown
    else:
        assert type(outcome.value) is type(raised)
        assert str(outcome.value) == str(raised)
        assert outcome.value.fields == raised.fields
        assert outcome.value.retry_after_seconds == raised.retry_after_seconds


OUR_OPERATORS_MATTER = {
    "not-authenticated",
    "path-not-found",
    "method-not-allowed",
    "request-timeout",
    "body-too-large",
    "unsupported-media-type",
}


@pytest.mark.parametrize(
    "retry_after", [b"", b"x", b"-1", b"Wed, 21 Oct 2026 07:28:00 GMT", b"9" * 5_000, "²".encode()]
)
async def test_a_time_to_wait_that_cannot_be_read_is_replaced_by_our_own(retry_after: bytes) -> None:
    reply = answering(503, error("not-recorded"), headers=b"retry-after: %s\r\n" % retry_after)
    async with private(reply) as (_, api):
        with pytest.raises(NotRecorded) as outcome:
            await post(api)

    assert outcome.value.retry_after_seconds == 1


@pytest.mark.parametrize(
    "headers", [b"content-type: text/html\r\n", b"", b"content-type: application/json-seq\r\n"], ids=["html", "", "seq"]
)
async def test_a_success_that_is_not_json_is_not_the_private_services(headers: bytes) -> None:
    async with private(answering(200, b"<html>sign in to the network</html>", headers=headers)) as (_, api):
        with pytest.raises(OutcomeUnknown):
            await post(api)
        with pytest.raises(NotRecorded):
            await api.request("GET", "/x", deadline=time.monotonic() + SECONDS, request_id="my-id")


async def test_a_response_has_its_status_and_its_headers() -> None:
    async with private(answering(201, b'{"id":1}')) as (double, api):
        created = await api.request("PUT", "/x", body=b"{}", deadline=time.monotonic() + SECONDS, request_id="my-id")
    assert (created.status, created.content) == (201, b'{"id":1}')
    assert created.headers["Content-Type"] == "application/json"
    assert double.heads[0].startswith("put /x http/1.1\r\n")

    async with private(answering(204, b"", headers=b"")) as (double, api):
        deleted = await api.request("DELETE", "/x", deadline=time.monotonic() + SECONDS, request_id="my-id")
    assert (deleted.status, deleted.content) == (204, b"")
    assert double.heads[0].startswith("delete /x http/1.1\r\n")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_of_a_method_that_stores_nothing_the_outcome_is_never_unknown(method: str) -> None:
    async with private(reset) as (_, api):
        with pytest.raises(NotRecorded):
            await api.request(method, "/x", deadline=time.monotonic() + SECONDS, request_id="my-id")


async def test_connections_are_kept_and_one_that_was_closed_is_replaced() -> None:
    async with private(answering(200, b"x")) as (double, api):
        assert [await post(api), await post(api)] == [b"x", b"x"]
        assert len(double.heads) == 2
    async with private(answering(200, b"x", then_close=True)) as (_, api):
        for _attempt in range(3):
            assert await post(api) == b"x"
            await asyncio.sleep(0.05)  # the farewell arrives


async def test_callers_that_are_cancelled_use_up_no_connections() -> None:
    slow = asyncio.Event()

    async def reply(writer: asyncio.StreamWriter) -> None:
        if not slow.is_set():
            await asyncio.sleep(SECONDS)
        await answering(200, b"x")(writer)

    async with private(reply) as (_, api):
        for pause in (0.0, 0.001, 0.05):
            posts = [asyncio.create_task(post(api)) for _ in range(50)]
            await asyncio.sleep(pause)
            for each in posts:
                each.cancel()
            await asyncio.gather(*posts, return_exceptions=True)
        slow.set()
        assert await asyncio.gather(*(post(api) for _ in range(50))) == [b"x"] * 50


async def test_the_private_service_is_ready_when_it_answers() -> None:
    async with private(answering(200, b"")) as (_, there):
        assert await there.check() == "ok"
    async with private(answering(503, b"")) as (_, unwell):
        with pytest.raises(NotRecorded, match="answers 503"):
            await unwell.check()
    api = DeviceApi(f"http://127.0.0.1:{free_port()}", "a-service-token")
    with pytest.raises(NotRecorded, match="cannot be reached"):
        await api.check()
    await api.close()


async def test_a_connection_that_is_lost_as_soon_as_it_is_up_is_no_bug_of_ours() -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reset(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    api = DeviceApi(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "a-service-token")
    for _ in range(20):
        with pytest.raises((NotRecorded, OutcomeUnknown)):
            await post(api)
        with pytest.raises(NotRecorded, match="cannot be reached"):
            await api.check()
    await api.close()
    server.close()


async def test_a_deadline_that_has_passed_is_not_recorded() -> None:
    async with private(answering(200, b"{}")) as (double, api):
        with pytest.raises(NotRecorded):
            await post(api, -0.001)
        assert double.heads == []


async def test_a_path_is_sent_as_it_is_below_the_path_of_the_url() -> None:
    async with private(answering(200, b"{}")) as (double, _):
        api = DeviceApi(f"http://127.0.0.1:{double.port}/below/", "a-service-token")
        await api.request("GET", "/devices/../a%2Fb?c=d", deadline=time.monotonic() + SECONDS, request_id="my-id")
        await api.close()

    assert double.heads[0].startswith("get /below/devices/../a%2fb?c=d http/1.1\r\n")
