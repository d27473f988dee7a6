"""Clients that leave without waiting, and clients that never finish speaking."""

import asyncio
import time
from random import Random

import httpx2

_AT_ONCE = 100
_STAY_SECONDS_MAX = 0.02
ANSWER_SECONDS_MAX = 10.0
# The service closes a request that has not arrived whole after 15 s; then a moment for the news to arrive.
SLOW_SECONDS_MAX = 16.5
# Slow clients begin one after the other in this time: their bytes must not all come in one instant of each second.
_BEGIN_SECONDS = 1.0


async def cancelled_calls(url: str, count: int, seed: int) -> None:
    """Send `count` events and go away from each before, while or after it is answered."""
    host, port = _address(url)
    random = Random(seed)  # noqa: S311 - a seed that replays
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def call(number: int) -> None:
        async with at_once:
            _, writer = await asyncio.open_connection(host, port)
            writer.write(_request(f"storm-{number}"))
            await asyncio.sleep(random.uniform(0, _STAY_SECONDS_MAX))
            writer.transport.abort()

    await asyncio.gather(*(call(number) for number in range(count)))


async def plain_calls(url: str, count: int) -> list[int]:
    """The status of each of `count` plain calls at once."""
    async with httpx2.AsyncClient(base_url=url, timeout=ANSWER_SECONDS_MAX, trust_env=False) as client:
        answers = await asyncio.gather(
            *(
                client.post("/Log/auth", json={"userKey": f"plain-{number}", "deviceType": "iOS"})
                for number in range(count)
            )
        )
    return [answer.status_code for answer in answers]


async def slow_clients(url: str, count: int, seconds_max: float) -> list[float | None]:
    """How long each of `count` clients that send a byte a second was endured; None if longer than `seconds_max`."""
    host, port = _address(url)
    whole = _request("slow")

    async def dribble(pause: float) -> float | None:
        await asyncio.sleep(pause)
        reader, writer = await asyncio.open_connection(host, port)
        begun = time.monotonic()
        sending = asyncio.create_task(_dribble(writer, whole))
        try:
            async with asyncio.timeout(seconds_max):
                while await reader.read(1000):
                    pass
        except TimeoutError:
            return None
        except ConnectionError:
            pass  # reset: closed all the same
        finally:
            sending.cancel()
            writer.transport.abort()
        return time.monotonic() - begun

    return await asyncio.gather(*(dribble(number / count * _BEGIN_SECONDS) for number in range(count)))


async def _dribble(writer: asyncio.StreamWriter, whole: bytes) -> None:
    # The headers come at once, and all of the body but its last byte drop by drop.
    head, _, body = whole.partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    for index in range(len(body) - 1):
        writer.write(body[index : index + 1])
        await asyncio.sleep(1.0)


def _request(user_key: str) -> bytes:
    body = f'{{"userKey":"{user_key}","deviceType":"iOS"}}'.encode()
    return (
        b"POST /Log/auth HTTP/1.1\r\nHost: rig\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def _address(url: str) -> tuple[str, int]:
    parsed = httpx2.URL(url)
    assert parsed.port is not None
    return parsed.host, parsed.port
