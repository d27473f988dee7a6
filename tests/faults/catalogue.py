"""Every fault that the product must live through."""

import asyncio
import os
import signal
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from functools import partial
from random import Random

import psycopg2

from local.services import REGISTRATION_API, STATISTICS_API
from servicekit.database import Connection
from tests.faults.experiment import Fault
from tests.faults.processes import children, command
from tests.faults.proxy import Break, Network, TcpProxy
from tests.faults.stack import DATABASE, Stack
from tests.servers import WRITER

LINK = "link"
DATABASE_LINK = "database link"
# The services' own time-out for an event is 6 s: an answer that comes later is nobody's.
PAST_TIME_OUT_SECONDS = 7.0
_TERMINATE_EVERY_SECONDS = 0.02
_TAKE_SLOTS_EVERY_SECONDS = 0.2


@asynccontextmanager
async def _killed(stack: Stack, _: Random, *, name: str) -> AsyncIterator[None]:
    await stack.kill(name)
    try:
        yield
    finally:
        await stack.start(name)


@asynccontextmanager
async def _worker_killed(stack: Stack, random: Random) -> AsyncIterator[None]:
    """One of several; its supervisor starts another."""
    workers = [pid for pid in children(stack.pid(STATISTICS_API)) if "spawn_main" in command(pid)]
    os.kill(random.choice(workers), signal.SIGKILL)
    yield


@asynccontextmanager
async def _stopped(stack: Stack, _: Random, *, name: str) -> AsyncIterator[None]:
    """SIGTERM, and its orderly end, under load."""
    await stack.stop(name)
    try:
        yield
    finally:
        await stack.start(name)


@asynccontextmanager
async def _paused(stack: Stack, _: Random, *, name: str) -> AsyncIterator[None]:
    stack.pause(name)
    try:
        yield
    finally:
        stack.resume(name)


@asynccontextmanager
async def _restarted(stack: Stack, _: Random) -> AsyncIterator[None]:
    await stack.restart(DATABASE)
    yield


@asynccontextmanager
async def _backends_terminated(stack: Stack, random: Random) -> AsyncIterator[None]:
    async def terminate() -> None:
        with _administrator(stack) as admin, admin.cursor() as cursor:
            while True:
                cursor.execute(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                    " AND application_name IN ('statistics-api', 'device-registration-api') ORDER BY pid"
                )
                if found := cursor.fetchall():
                    cursor.execute("SELECT pg_terminate_backend(%(pid)s)", {"pid": random.choice(found)[0]})
                await asyncio.sleep(_TERMINATE_EVERY_SECONDS * random.uniform(0.5, 1.5))

    async with _in_background(terminate()):
        yield


@asynccontextmanager
async def _all_slots_taken(stack: Stack, _: Random) -> AsyncIterator[None]:
    """Take every slot that an ordinary role can get, and end the services' own sessions."""
    taken: list[Connection] = []

    def take() -> None:
        with _administrator(stack) as admin, admin.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name IN ('statistics-api', 'device-registration-api')"
            )
        with suppress(psycopg2.OperationalError):  # sorry, too many clients already
            while True:
                taken.append(psycopg2.connect(stack.admin_url, user=WRITER.user, password=WRITER.password))

    async def keep_taking() -> None:
        while True:
            await asyncio.to_thread(take)
            await asyncio.sleep(_TAKE_SLOTS_EVERY_SECONDS)

    try:
        async with _in_background(keep_taking()):
            yield
    finally:
        for connection in taken:
            connection.close()


@asynccontextmanager
async def _bad_network(stack: Stack, _: Random, *, link: str, network: Network) -> AsyncIterator[None]:
    proxy = _proxy(stack, link)
    good = proxy.network
    proxy.network = Network(**vars(network))
    try:
        yield
    finally:
        # Pumps that wait in the black hole look at the proxy's network, not at this one.
        proxy.network = good


@asynccontextmanager
async def _clock_stepped(stack: Stack, random: Random, *, name: str) -> AsyncIterator[None]:
    """By up to an hour, forwards or back; at the end it is right again, which is a step, too."""
    seconds = random.choice([-3600.0, -5.0, 5.0, 3600.0])
    clock = stack.clock_files[name]

    def step(error: float) -> None:
        with clock.open("r+b") as file:
            file.write(struct.pack("d", error))

    step(seconds)
    try:
        yield
    finally:
        step(0.0)


@asynccontextmanager
async def _in_background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _administrator(stack: Stack) -> "closing[Connection]":
    connection = psycopg2.connect(stack.admin_url)
    connection.autocommit = True
    return closing(connection)


def _proxy(stack: Stack, link: str) -> TcpProxy:
    return stack.link if link == LINK else stack.database_link


def _process(
    name: str,
    inject: Callable[..., AbstractAsyncContextManager[None]],
    target: str,
    seconds: float,
    *,
    kills: bool = False,
) -> Fault:
    dies = {target} - {DATABASE} if kills else set[str]()
    return Fault(f"{name} {target}", seconds, partial(inject, name=target), frozenset({target}), frozenset(dies))


def _network(name: str, link: str, seconds: float, network: Network) -> Fault:
    return Fault(f"{name}, {link}", seconds, partial(_bad_network, link=link, network=network), frozenset({link}))


PROCESS_FAULTS = (
    _process("kill -9", _killed, STATISTICS_API, 0.5, kills=True),
    _process("kill -9", _killed, REGISTRATION_API, 0.5, kills=True),
    Fault("kill -9 one worker", 1.0, _worker_killed, frozenset({STATISTICS_API}), kills=frozenset({STATISTICS_API})),
    _process("SIGTERM", _stopped, STATISTICS_API, 0.5, kills=True),
    _process("SIGTERM", _stopped, REGISTRATION_API, 0.5, kills=True),
    _process("SIGSTOP", _paused, STATISTICS_API, 10.0),
    _process("SIGSTOP", _paused, REGISTRATION_API, 10.0),
    _process("clock step", _clock_stepped, STATISTICS_API, 2.0),
    _process("clock step", _clock_stepped, REGISTRATION_API, 2.0),
)
DATABASE_FAULTS = (
    _process("kill -9", _killed, DATABASE, 0.5, kills=True),
    Fault("fast restart postgresql", 0.0, _restarted, frozenset({DATABASE})),
    _process("SIGSTOP", _paused, DATABASE, 10.0),
    Fault("backends terminated", 3.0, _backends_terminated, frozenset({DATABASE})),
    Fault("all slots taken", 3.0, _all_slots_taken, frozenset({DATABASE})),
    _network("slow", DATABASE_LINK, 4.0, Network(latency_seconds=0.15, bytes_per_second=200_000)),
    _network("black hole", DATABASE_LINK, 8.0, Network(black_hole=True)),
    # Not every time: connections come up, and now and then it is the answer to a COMMIT that gets lost.
    _network("reset before the reply", DATABASE_LINK, 3.0, Network(breaks=Break.BEFORE_REPLY, break_share=0.1)),
)
NETWORK_FAULTS = (
    _network("reset before the forward", LINK, 2.0, Network(breaks=Break.BEFORE_FORWARD)),
    _network("reset before the reply", LINK, 2.0, Network(breaks=Break.BEFORE_REPLY)),
    _network("reset after the reply", LINK, 2.0, Network(breaks=Break.AFTER_REPLY)),
    _network("half-close", LINK, 2.0, Network(breaks=Break.HALF_CLOSE)),
    _network("reply past the time-out", LINK, 8.0, Network(reply_latency_seconds=PAST_TIME_OUT_SECONDS)),
    _network("black hole", LINK, 8.0, Network(black_hole=True)),
    _network("slow", LINK, 3.0, Network(latency_seconds=0.2, bytes_per_second=100_000)),
)
EVERY_FAULT = (*PROCESS_FAULTS, *DATABASE_FAULTS, *NETWORK_FAULTS)
