"""The simulation itself must notice what it is there to notice."""

import asyncio

import pytest

from tests.servicekit.simulation import WaitsForEverError, simulate


def test_an_hour_passes_at_once_and_exactly() -> None:
    async def program() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert simulate(program) == 3600


def test_timers_fire_in_the_order_of_their_time() -> None:
    async def program() -> list[int]:
        fired: list[int] = []
        for seconds in (3, 1, 2):
            asyncio.get_running_loop().call_later(seconds, fired.append, seconds)
        await asyncio.sleep(4)
        return fired

    assert simulate(program) == [1, 2, 3]


def test_a_program_that_waits_for_ever_is_noticed() -> None:
    async def program() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(WaitsForEverError):
        simulate(program)


def test_a_task_left_behind_is_noticed() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def program() -> None:
        tasks.append(asyncio.create_task(asyncio.sleep(10)))

    with pytest.raises(AssertionError, match="left behind"):
        simulate(program)


def test_an_exception_that_nobody_retrieves_is_noticed() -> None:
    async def program() -> None:
        asyncio.get_running_loop().create_future().set_exception(ValueError("lost"))

    with pytest.raises(AssertionError, match="lost"):
        simulate(program)
