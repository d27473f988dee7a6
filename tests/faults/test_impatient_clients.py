"""The clients that repeat at once count what they are told, and the judge notices what the product does not keep."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.impatient_clients import Counts, ask_again_and_again
from tests.faults.overload import ClosedLoop

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"
WITHOUT_RETRY_AFTER = REFUSED.replace(b"retry-after: 1\r\n", b"")
PAUSE_SECONDS = 0.02


@asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[str]:
    """Gives each connection these answers, then closes it; None of them comes sooner than `PAUSE_SECONDS`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"}")
            await asyncio.sleep(PAUSE_SECONDS)
            writer.write(answer[:30])
            await asyncio.sleep(0)
            writer.write(answer[30:])
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        host, port = listening.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def test_each_client_repeats_at_once_and_each_answer_is_counted_as_what_it_is() -> None:
    async with server(OK, REFUSED, REFUSED, WITHOUT_RETRY_AFTER) as url:
        counts = await ask_again_and_again(url, clients=3, seconds=20 * PAUSE_SECONDS)

    # An improper answer each, and then a lost connection each.
    assert (counts.recorded, counts.refused, counts.improper) == (3, 6, 6)


def loop(recorded: int = 70, refused: int = 5, improper: int = 0, patient_refused: int = 0) -> ClosedLoop:
    return ClosedLoop(Counts(512, 1, 100, patient_refused, 0), Counts(1800, 1, recorded, refused, improper))


def test_seventy_of_a_hundred_are_enough() -> None:
    assert loop().complaints() == []


@pytest.mark.parametrize(
    "broken", [loop(recorded=69), loop(refused=0), loop(improper=1), loop(patient_refused=1)], ids=str
)
def test_what_is_not_kept_is_a_complaint(broken: ClosedLoop) -> None:
    assert len(broken.complaints()) == 1
