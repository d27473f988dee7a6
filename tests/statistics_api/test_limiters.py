"""A limiter counts subjects against rates, in this process or in a store that may be away, slow or something else."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItem, parse

from local.ports import free_port
from servicekit.errors import TooManyRequests
from statistics_api import limiters
from statistics_api.limiters import Allowance, LocalLimiter, SharedLimiter
from tests.redis_server import Redis, needs_redis, redis_server

RATE = parse("3/hour")
SECRET = b"secret of the tests"
SUBJECTS = st.lists(st.sampled_from(["client:a", "client:b", "key:a", ""]), max_size=30)


def remaining_after(before: int) -> int | None:
    """What is left for a subject after another request; None for a refusal."""
    return RATE.amount - before - 1 if before < RATE.amount else None


async def left(hit: Awaitable[Allowance]) -> int | None:
    """What is left after this request; None for a refusal."""
    try:
        limit, remaining, reset_seconds = await hit
    except TooManyRequests as refusal:
        limit, remaining, reset_seconds = refusal.limit or 0, None, refusal.retry_after_seconds or 0
    assert limit == RATE.amount
    assert 1 <= reset_seconds <= RATE.get_expiry()
    return remaining


async def local(limiter: LocalLimiter, subject: str, rate: RateLimitItem = RATE) -> Allowance:
    return limiter.hit(subject, rate)


async def check(hit: Callable[[str], Awaitable[Allowance]], subjects: list[str]) -> None:
    before: Counter[str] = Counter()
    for subject in subjects:
        assert await left(hit(subject)) == remaining_after(before[subject])
        before[subject] += 1


@given(SUBJECTS)
def test_each_subject_has_its_own_count_in_the_process(subjects: list[str]) -> None:
    limiter = LocalLimiter()
    asyncio.run(check(lambda subject: local(limiter, subject), subjects))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis"), free_port()) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(limiters, "STORE_SECONDS_MAX", 10.0)  # the store is well, the machine may be busy
        yield server


@asynccontextmanager
async def shared(url: str) -> AsyncIterator[SharedLimiter]:
    limiter = SharedLimiter(url, secret=SECRET)
    try:
        yield limiter
    finally:
        await limiter.close()


@needs_redis
@given(subjects=SUBJECTS)
def test_and_in_the_store(redis: Redis, subjects: list[str]) -> None:
    async def compare() -> None:
        redis.ask("FLUSHALL")
        async with shared(redis.url()) as one, shared(redis.url()) as other:
            processes = [one, other] * len(subjects)
            await check(lambda subject: processes.pop().hit(subject, RATE), subjects)

    asyncio.run(compare())


@needs_redis
async def test_rates_of_one_subject_are_counted_apart(redis: Redis) -> None:
    redis.ask("FLUSHALL")
    async with shared(redis.url()) as limiter:
        counted = [(await limiter.hit("key:a", parse(rate))).remaining for rate in ("9/hour", "5/minute", "9/hour")]
    assert counted == [8, 4, 7]


@needs_redis
async def test_of_many_at_once_none_is_counted_twice_and_none_is_lost(redis: Redis) -> None:
    redis.ask("FLUSHALL")
    rate = parse("1000/hour")
    async with shared(redis.url()) as limiter:
        found = await asyncio.gather(*(limiter.hit("client:a", rate) for _ in range(1_000)))
        assert min(each.remaining for each in found) == 0
        with pytest.raises(TooManyRequests):
            await limiter.hit("client:a", rate)


class OtherServer:
    """What listens on the store's port: it answers each connection in its own way, and counts them."""

    def __init__(self, reply: bytes) -> None:
        self.connections = 0
        self._reply = reply

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while sent := await reader.read(65_536):
            writer.write(self._reply * sent.count(b"*"))  # one for each command
        writer.close()


REPLIES = {
    "silence": b"",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "error": b"-ERR no\r\n",
    "number": b":1\r\n",
    "text": b"$1\r\nx\r\n",
    "list": b"*1\r\n:1\r\n",
    "list of texts": b"*4\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n",
    "zero": b"\x00",
    "not UTF-8": b"$1\r\n\xff\r\n",
}


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("user", ["", ":password@"])
async def test_whatever_listens_there_the_limit_holds_and_one_line_tells_it(
    user: str, reply: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiters, "PAUSE_SECONDS", 1_000.0)
    monkeypatch.setattr(limiters, "STORE_SECONDS_MAX", 0.05)
    caplog.set_level(logging.INFO, limiters.__name__)
    other = OtherServer(REPLIES[reply])
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, shared(f"redis://{user}127.0.0.1:{port}") as limiter:
        found = [await left(limiter.hit("client:192.0.2.1", RATE)) for _ in range(10)]
    assert found == [2, 1, 0, *[None] * 7]
    assert other.connections == 1  # only the first request has waited for it
    (record,) = caplog.records
    assert "each process has its own limit" in record.message
    assert "password" not in record.message
    assert "192.0.2.1" not in record.message


@needs_redis
async def test_after_the_pause_one_request_tries_it_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiters, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(limiters, "STORE_SECONDS_MAX", 10.0)
    caplog.set_level(logging.INFO, limiters.__name__)
    port = free_port()
    async with shared(Redis(tmp_path, port).url()) as limiter:
        assert [await left(limiter.hit("client:a", RATE)) for _ in range(2)] == [2, 1]
        with redis_server(tmp_path, port):
            assert [await left(limiter.hit("client:a", RATE)) for _ in range(4)] == [2, 1, 0, None]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
