"""What the gateway tells about its flushes: how many events each carried and how long it took, if it succeeded."""

import time
from datetime import UTC, datetime

import pytest
from statistics_api.auth_events.accepting import accept
from statistics_api.auth_events.gateway import Gateway

from contract.auth_events.events import AuthEvent, DeviceType
from servicekit.errors import IdempotencyKeyReused, NotRecorded
from tests.statistics_api.private_service import answering, private

REGISTERED = b'{"registered":1,"others":[]}'
CONFLICT = b'{"registered":0,"others":[{"index":0,"status":"conflict","detail":"another body"}]}'
NOT_RECORDED = b'{"detail":"busy","code":"not-recorded"}'
NOT_RECORDED_ITEM = b'{"registered":0,"others":[{"index":0,"status":"not-recorded","detail":"busy"}]}'


async def observed_after(status: int, body: bytes, *expected: type[Exception]) -> list[tuple[int, float]]:
    observed: list[tuple[int, float]] = []
    async with private(answering(status, body)) as (_, device_api):
        gateway = Gateway(device_api, lambda items, seconds: observed.append((items, seconds)))
        event = accept(AuthEvent(user_key="u-1", device_type=DeviceType.IOS), None, datetime.now(UTC))
        try:
            await gateway.register(event, "request-1")
        except expected:
            pass
        finally:
            await gateway.close(1.0)
    return observed


async def test_a_flush_that_succeeded_is_observed_with_its_duration() -> None:
    begun = time.monotonic()
    ((items, seconds),) = await observed_after(200, REGISTERED)
    assert items == 1
    assert 0 < seconds <= time.monotonic() - begun


async def test_an_event_that_is_refused_does_not_make_a_flush_fail() -> None:
    assert len(await observed_after(200, CONFLICT, IdempotencyKeyReused)) == 1


@pytest.mark.parametrize(("status", "body"), [(503, NOT_RECORDED), (200, NOT_RECORDED_ITEM)])
async def test_a_flush_that_failed_says_nothing_about_how_long_one_takes(status: int, body: bytes) -> None:
    assert await observed_after(status, body, NotRecorded) == []
