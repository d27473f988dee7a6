"""What the gateway makes of an event: one request that carries many, and an outcome for each of them."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic_core import to_json

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import AuthEvent
from contract.delivery import Forward
from servicekit.errors import DomainError, Gone, IdempotencyKeyReused, Invalid, NotRecorded, OutcomeUnknown
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.delivery.accepting import AcceptedEvent
from statistics_api.delivery.batches import AcceptedBatch
from statistics_api.delivery.gateway import EventGateway, RecordedBatch
from statistics_api.delivery.kinds import Recorded
from tests.delivery.reading import read_many, read_one
from tests.statistics_api.private_service import Reply, answering, private

NOT_RECORDED = b'{"detail":"busy","code":"not-recorded"}'


def accepted(user_key: str = "u-1") -> AcceptedEvent:
    event = read_one(json.dumps({"userKey": user_key, "deviceType": "iOS"}).encode())
    assert isinstance(event, AcceptedEvent)
    return event


def response(
    recorded: int,
    *exceptions: dict[str, Any],
) -> bytes:
    return to_json({"recorded": recorded, "exceptions": exceptions})


def exception(position: int, status: str, **more: object) -> dict[str, Any]:
    return {"position": position, "status": status, **more}


def begin_all(gateway: EventGateway[AuthEvent], events: Sequence[AcceptedEvent]) -> list["asyncio.Future[Recorded]"]:
    return [gateway.coalescer.begin(event, time.monotonic() + 5.0) for event in events]


async def forwarded(reply: Reply, events: Sequence[AcceptedEvent]) -> tuple[list[Any], list[tuple[int, float]]]:
    """What came of each event, and what was observed of the flushes."""
    observed: list[tuple[int, float]] = []
    async with private(reply) as (_, device_api):
        gateway = EventGateway(AUTH_EVENTS, device_api, lambda items, seconds: observed.append((items, seconds)))
        try:
            outcomes = await asyncio.gather(*begin_all(gateway, events), return_exceptions=True)
        finally:
            await gateway.close(1.0)
    return outcomes, observed


async def test_a_flush_that_succeeded_is_observed_with_its_duration() -> None:
    begun = time.monotonic()
    outcomes, [(items, seconds)] = await forwarded(answering(200, response(1)), [accepted()])
    assert outcomes == [Recorded()]
    assert items == 1
    assert 0 < seconds <= time.monotonic() - begun


@pytest.mark.parametrize(
    ("status", "error"),
    [("conflict", IdempotencyKeyReused), ("erased", Gone), ("refused", Invalid)],
)
async def test_an_event_that_is_refused_does_not_make_a_flush_fail(status: str, error: type[DomainError]) -> None:
    outcomes, observed = await forwarded(
        answering(200, response(0, exception(0, status, detail="a sentence"))), [accepted()]
    )
    assert [type(outcome) for outcome in outcomes] == [error]
    assert str(outcomes[0]).endswith("a sentence")
    assert len(observed) == 1


@pytest.mark.parametrize(
    ("status", "body"), [(503, NOT_RECORDED), (200, response(0, exception(0, "not-recorded", detail="busy")))]
)
async def test_a_flush_that_failed_says_nothing_about_how_long_one_takes(status: int, body: bytes) -> None:
    outcomes, observed = await forwarded(answering(status, body), [accepted()])
    assert [type(outcome) for outcome in outcomes] == [NotRecorded]
    assert observed == []


async def test_each_event_gets_the_outcome_at_its_position() -> None:
    exceptions = [
        exception(1, "replayed"),
        exception(2, "conflict", detail="another body"),
        exception(3, "erased", detail="erased"),
    ]
    rows = [b'{"id":7}', b'{"id":1}', b"null", b"null"]
    for body, told in (
        (response(1, *exceptions), [None, None]),
        (b"\n".join([response(1, *exceptions), *rows]), rows),
    ):
        outcomes, _ = await forwarded(answering(200, body), [accepted(f"u-{n}") for n in range(4)])
        assert outcomes[0] == Recorded(told[0])
        assert outcomes[1] == Recorded(told[1], is_replay=True)
        assert [type(outcome) for outcome in outcomes[2:]] == [IdempotencyKeyReused, Gone]


@pytest.mark.parametrize(
    "body",
    [
        response(0),
        response(2),
        response(1, exception(0, "replayed")),
        response(0, exception(1, "replayed")),
        response(0, exception(-1, "replayed")),
        response(0, exception(0, "a status of tomorrow")),
        response(1) + b"\n{}\n{}",
        response(1) + b"\n{}\n",
        b"{}",
        b'["a list"]',
    ],
)
async def test_a_response_that_does_not_answer_for_each_event_once_leaves_it_unknown(body: bytes) -> None:
    outcomes, _ = await forwarded(answering(200, body), [accepted()])
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown]
    assert str(outcomes[0]).startswith("the private service")  # and not by an accident of ours


async def test_two_outcomes_for_one_event_leave_all_unknown() -> None:
    body = response(0, exception(0, "replayed"), exception(0, "replayed"))
    outcomes, _ = await forwarded(answering(200, body), [accepted(), accepted()])
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 2


async def test_a_forward_that_is_refused_whole_is_never_the_clients_fault() -> None:
    body = b'{"title":"x","status":422,"detail":"columns: wrong","code":"invalid","errors":[]}'
    outcomes, _ = await forwarded(answering(422, body), [accepted(), accepted()])
    assert [type(outcome) for outcome in outcomes] == [NotRecorded] * 2


async def test_what_is_forwarded_is_the_contracts_forward_and_was_the_clients_event() -> None:
    bodies: list[bytes] = []

    async def reply(writer: asyncio.StreamWriter) -> None:
        await answering(200, response(3))(writer)

    keyed = read_one(b'{"userKey":"keyed","deviceType":"TV"}', "my-key")
    timed = read_one(json.dumps({"userKey": "timed", "deviceType": "iOS", "occurredAt": _just_now()}).encode())
    assert isinstance(keyed, AcceptedEvent)
    assert isinstance(timed, AcceptedEvent)
    events = [accepted(), keyed, timed]
    async with private(reply) as (double, device_api):
        post = device_api.post

        async def remember(path: str, body: bytes, **others: Any) -> bytes:  # noqa: ANN401 - whatever the gateway says
            bodies.append(body)
            return await post(path, body, **others)

        device_api.post = remember  # type: ignore[method-assign] # the double reads heads only
        gateway = EventGateway(AUTH_EVENTS, device_api, lambda *_: None)
        await asyncio.gather(*begin_all(gateway, events))
        await gateway.close(1.0)
        assert double.heads[0].startswith("post /events/auth_events/forward http/1.1")
    forward = Forward[AuthEventColumns].model_validate_json(bodies[0], strict=True)
    assert forward.columns.user_keys == ["u-1", "keyed", "timed"]
    assert [each.value for each in forward.columns.device_types] == ["iOS", "TV", "iOS"]
    assert forward.event_ids == [event.event_id for event in events]
    assert forward.received_at == [event.received_at for event in events]
    assert (forward.project_ids, forward.request_ids) == ([1] * 3, ["request-1"] * 3)
    assert keyed.key is not None
    assert {position: (each.key, each.fingerprint) for position, each in forward.keys.items()} == {1: keyed.key}
    assert forward.occurred_at == {2: timed.occurred_at}


def _just_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


async def test_a_batchs_response_that_cannot_be_understood_leaves_it_unknown() -> None:
    batch = await asyncio.to_thread(read_many, b"[null]")
    assert isinstance(batch, AcceptedBatch)
    async with private(answering(200, b'{"response":{}}')) as (double, device_api):
        with pytest.raises(OutcomeUnknown):
            await EventGateway(AUTH_EVENTS, device_api, lambda *_: None).forward_batch(batch, "request-1")
        assert double.heads[0].startswith("post /events/auth_events/batch http/1.1")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"response":{"registered":1,"x":2},"replayed":false}', RecordedBatch(b'{"registered":1,"x":2}', False)),
        (b'{"response":{"registered":1,"x":2},"replayed":true}', RecordedBatch(b'{"registered":1,"x":2}', True)),
        (b'{"code":"accepted-not-counted"}', RecordedBatch(b'{"code":"accepted-not-counted"}', False, False)),
        (
            b'{"replayed": true, "response": {"registered": 1, "duplicate": 0, "rejected": 0, "results": []}}',
            RecordedBatch(b'{"registered":1,"duplicate":0,"rejected":0,"results":[]}', True),
        ),
    ],
    ids=["first", "replay", "in the inbox", "written in another way"],
)
async def test_a_batchs_response_is_relayed(content: bytes, expected: RecordedBatch) -> None:
    batch = await asyncio.to_thread(read_many, b"[null]")
    assert isinstance(batch, AcceptedBatch)
    async with private(answering(200, content)) as (_, device_api):
        assert await EventGateway(AUTH_EVENTS, device_api, lambda *_: None).forward_batch(batch, "r") == expected
