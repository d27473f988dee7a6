"""Clients that go away, and clients that never come to the point, disturb nobody else."""

import asyncio
import time

import pytest

from tests.faults.client_churn import SLOW_SECONDS_MAX, cancelled_calls, plain_calls, slow_clients
from tests.faults.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANCELLED = 5_000
PLAIN = 100
SLOW = 500


async def test_after_a_storm_of_cancelled_calls_every_plain_one_succeeds(stack: Stack, seed: int) -> None:
    begun = time.monotonic()
    await cancelled_calls(stack.url, CANCELLED, seed)
    print(f"{CANCELLED} cancelled in {time.monotonic() - begun:.1f} s, --seed {seed}")
    assert await plain_calls(stack.url, PLAIN) == [200] * PLAIN
    exact, said = await stack.operator_command("verify-counts")
    assert exact, said


async def test_five_hundred_slow_clients_are_closed_in_time_while_others_are_served(stack: Stack) -> None:
    slow = asyncio.create_task(slow_clients(stack.url, SLOW, SLOW_SECONDS_MAX))
    while not slow.done():
        assert await plain_calls(stack.url, 5) == [200] * 5
        await asyncio.sleep(0.5)
    assert None not in await slow
