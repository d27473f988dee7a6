"""Calls of the private service's administration, against a server that does what a test tells it."""

import asyncio

import pytest
from fastapi import Request
from pydantic import BaseModel

from local.ports import free_port
from servicekit.errors import (
    Conflict,
    CredentialsRefused,
    DomainError,
    FieldError,
    Forbidden,
    Invalid,
    NotConfigured,
    NotFound,
    NotRecorded,
    OutcomeUnknown,
    TooManyRequests,
)
from servicekit.http.error_responses import ErrorShape, render_as
from statistics_api.administration.client import Administration, call
from statistics_api.delivery.device_api import DeviceApi
from tests.statistics_api.private_service import answering, private


class Change(BaseModel):
    name: str | None = None
    description: str | None = None


def request_of(api: DeviceApi) -> Request:
    """What a route has in its hands."""
    return Request(
        {"type": "http", "headers": [], "request_id": "my-id", "state": {"administration": Administration(api)}}
    )


async def test_a_call_names_its_resource_and_carries_the_request_id() -> None:
    async with private(answering(200, b'{"any":"thing"}')) as (double, api):
        response = await call(request_of(api), "GET", "projects", "a/b c?%2e", query={"limit": "5", "after": "ä&b"})

    assert (response.status, response.content) == (200, b'{"any":"thing"}')
    (head,) = double.heads
    assert head.startswith("get /administration/projects/a%2fb%20c%3f%252e?limit=5&after=%c3%a4%26b http/1.1\r\n")
    assert "\r\nx-request-id: my-id\r\n" in head
    assert "\r\nx-request-deadline: " in head


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (Change(name="a"), '{"name":"a"}'),
        (Change(name="a", description=None), '{"name":"a","description":null}'),
        (Change(), "{}"),
    ],
)
async def test_a_field_that_is_not_set_is_not_sent_and_null_is(body: Change, sent: str) -> None:
    async with private(answering(204, b"")) as (double, api):
        assert (await call(request_of(api), "PATCH", "projects", "a", body=body)).status == 204

    assert f"\r\ncontent-length: {len(sent)}\r\n" in double.heads[0]


REFUSALS: list[DomainError] = [
    NotFound("no such project"),
    Conflict("there is an account with this e-mail address"),
    Forbidden("an owner is needed"),
    CredentialsRefused("e-mail address or password is wrong"),
    Invalid([FieldError(("body", "name"), "too long", "string_too_long"), FieldError(("body", "x"), "no", "missing")]),
    TooManyRequests("too many attempts", 17),
    NotRecorded("the database cannot be reached"),
    NotConfigured("accounts are not configured"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
async def test_a_refusal_is_relayed_as_the_private_service_raised_it(refusal: DomainError) -> None:
    response = render_as(ErrorShape.PROBLEM_IN_FULL, refusal)
    headers = b"".join(b"%s: %s\r\n" % each for each in response.raw_headers if each[0] != b"content-length")
    async with private(answering(response.status_code, bytes(response.body), headers=headers)) as (_, api):
        with pytest.raises(DomainError) as outcome:
            await call(request_of(api), "POST", "projects", body=Change(name="a"))

    raised = outcome.value
    assert type(raised) is type(refusal)
    assert (str(raised), raised.fields, raised.headers()) == (str(refusal), refusal.fields, refusal.headers())


async def test_a_private_service_that_is_away_is_not_recorded() -> None:
    api = DeviceApi(f"http://127.0.0.1:{free_port()}", "a-service-token")
    with pytest.raises(NotRecorded):
        await call(request_of(api), "POST", "projects", body=Change(name="a"))
    await api.close()


async def test_only_a_change_has_an_unknown_outcome() -> None:
    async with private(answering(502, b"<html>a proxy's own page</html>")) as (_, api):
        with pytest.raises(OutcomeUnknown):
            await call(request_of(api), "DELETE", "projects", "a")
        with pytest.raises(NotRecorded):
            await call(request_of(api), "GET", "projects", "a")


async def test_a_call_goes_on_when_its_client_is_gone_and_is_waited_for() -> None:
    arrived, answer = asyncio.Event(), asyncio.Event()
    completed = []

    async def slowly(writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await answer.wait()
        completed.append(writer.is_closing())
        await answering(204, b"")(writer)

    async with private(slowly) as (_, api):
        request = request_of(api)
        client = asyncio.create_task(call(request, "DELETE", "projects", "a"))
        await arrived.wait()
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
        closing = asyncio.create_task(request.state.administration.close())
        answer.set()
        await closing

    assert completed == [False]  # the connection was still open
