"""Restarts are invisible: both services, five times, under load, and no client ever repeats a request."""

from pathlib import Path

import pytest

from tests.faults.event_kinds import KINDS
from tests.faults.rolling import CLIENTS, INSTANCES, rolling_restarts, running_fleet, unlike_acknowledged
from tests.kinds.served_kinds import WITH_SAMPLE
from tests.prepared_process import Preparation

ROUNDS = 5
REQUESTS_MIN = 5_000


@pytest.mark.timeout(180)
async def test_five_rolling_restarts_of_both_services_fail_no_request(
    tmp_path: Path, preparations: dict[str, Preparation]
) -> None:
    spawns = {name: preparation.spawn for name, preparation in preparations.items()}
    async with running_fleet(tmp_path, WITH_SAMPLE, spawns) as fleet:
        seen = await rolling_restarts(fleet, KINDS, ROUNDS, REQUESTS_MIN)
        unlike = unlike_acknowledged(fleet, KINDS, seen)
    print(f"{seen.requests} requests, {seen.restarts} restarts in {seen.ended - seen.begun:.1f} s")
    assert seen.failures == []
    assert seen.requests >= REQUESTS_MIN
    assert seen.restarts == ROUNDS * INSTANCES * 2
    assert all(seen.recorded[number] for number in range(CLIENTS))
    assert unlike == []
