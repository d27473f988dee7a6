"""Restarts are invisible: both services, five times, under load, and no client ever repeats a request."""

from pathlib import Path

import pytest

from tests.faults.event_kinds import AuthEvents
from tests.faults.rolling import INSTANCES, rolling_restarts, running_fleet

ROUNDS = 5
REQUESTS_MIN = 5_000


@pytest.mark.timeout(180)
async def test_five_rolling_restarts_of_both_services_fail_no_request(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        seen = await rolling_restarts(fleet, ROUNDS, REQUESTS_MIN)
        rows = AuthEvents().rows(fleet.admin_url, "rolling-")
    print(f"{seen.requests} requests, {seen.restarts} restarts in {seen.ended - seen.begun:.1f} s")
    assert seen.failures == []
    assert seen.requests >= REQUESTS_MIN
    assert seen.restarts == ROUNDS * INSTANCES * 2
    assert rows == dict.fromkeys(seen.recorded, 1)
