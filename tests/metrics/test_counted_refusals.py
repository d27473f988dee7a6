"""Refusals because of load are counted where they happen."""

import asyncio

import pytest
from limits import parse

from servicekit.concurrency.coalescer import Coalescer, Limits
from servicekit.errors import Overloaded, TooManyRequests
from statistics_api.access.key_limits import LimitedKey
from statistics_api.rate_limit import CLIENT_LIMIT, KEY_LIMIT, RateLimit

CLIENT = ("192.0.2.1", 1)


async def test_a_rate_limit_tells_which_limit_refused() -> None:
    refused: list[str] = []
    limit = RateLimit(parse("2/hour"), [], on_refusal=refused.append)
    for _ in range(2):
        limit.admit(CLIENT, [])
    assert refused == []
    with pytest.raises(TooManyRequests):
        limit.admit(CLIENT, [])
    with pytest.raises(TooManyRequests):
        await limit.admit_shared(CLIENT, [])
    key = LimitedKey("one", parse("1/hour"))
    await limit.admit_key(key)
    with pytest.raises(TooManyRequests):
        await limit.admit_key(key)
    assert refused == [CLIENT_LIMIT, CLIENT_LIMIT, KEY_LIMIT]
    assert not limit.is_degraded


async def test_a_coalescer_tells_of_each_flush_and_counts_what_its_full_queue_refuses() -> None:
    flushes: list[tuple[int, int]] = []
    is_first_over = asyncio.Event()

    async def flush(items: list[int], _: float) -> list[int]:
        await is_first_over.wait()
        if 13 in items:
            raise RuntimeError("the answer was lost")
        return items

    coalescer: Coalescer[int, int] = Coalescer(
        flush,  # type: ignore[arg-type]  # it gets a list
        Limits(10, 20, 0),
        weigh=lambda item: item,
        observe=lambda rows, seconds, unknown: flushes.append((rows, unknown)) if seconds >= 0 else None,
    )
    deadline = asyncio.get_running_loop().time() + 10
    first = coalescer.begin(1, deadline)
    await asyncio.sleep(0)
    waiting = [coalescer.begin(item, deadline) for item in (2, 3, 13)]
    with pytest.raises(Overloaded):
        await coalescer.begin(4, deadline)
    assert coalescer.refused == 1
    is_first_over.set()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    await coalescer.close(1)
    assert flushes == [(1, 0), (5, 0), (13, 1)]
