"""A connection is not read for a while after a refusal: clients that repeat at once cannot starve the others."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import Response

from servicekit.concurrency.concurrency_limit import concurrency_limit
from servicekit.protocol.load_shedding import (
    PAUSE_SECONDS_MAX,
    PAUSE_SECONDS_MIN,
    RefusalBudget,
    free_refusals,
)
from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.in_process import RecordingTransport, connect
from tests.servicekit.raw_http import Connection

PLAIN = b"GET /plain HTTP/1.1\r\nhost: test\r\n\r\n"
# What the machine itself may add to a wait.
SLACK_SECONDS = 1.0


@pytest.fixture(autouse=True)
def no_free_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process; the small service has none by default."""
    monkeypatch.setattr(free_refusals, "per_second", 0)


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small(IN_FLIGHT_MAX="1")


def refused_get(connection: Connection) -> None:
    assert connection.ask("GET", "/plain").status == 503


def refused_post(connection: Connection) -> None:
    connection.send(b"POST /size HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n01234")
    time.sleep(0.1)
    connection.send(b"56789")
    assert connection.answer("POST").status == 503


def refused_head(connection: Connection) -> None:
    assert connection.ask("HEAD", "/plain").status == 503


def refused_instead_of_100_continue(connection: Connection) -> None:
    connection.send(b"POST /size HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n")
    assert connection.answer("POST").status == 503
    connection.send(b"x")  # the next request would begin with it otherwise


def refused_behind_another(connection: Connection) -> None:
    connection.send(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n" + PLAIN)
    assert connection.answer().status == 200
    assert connection.answer().status == 503


WAYS = [refused_get, refused_post, refused_head, refused_instead_of_100_continue, refused_behind_another]


@pytest.mark.parametrize("refuse", WAYS)
def test_the_next_request_waits_in_the_socket(small: SmallService, refuse: Callable[[Connection], None]) -> None:
    with small.one_in_flight(), small.connect() as connection:
        refuse(connection)
        refused = time.monotonic()
        assert connection.ask("GET", "/livez").status == 200  # as soon as it is read
        waited = time.monotonic() - refused
        begun = time.monotonic()
        assert connection.ask("GET", "/livez").status == 200
        assert time.monotonic() - begun < PAUSE_SECONDS_MIN  # nothing is left of the pause

    assert PAUSE_SECONDS_MIN - 0.05 < waited < PAUSE_SECONDS_MAX + SLACK_SECONDS


def test_other_connections_are_read_meanwhile(small: SmallService) -> None:
    with small.connect() as refused, small.connect() as other:
        with small.one_in_flight():
            refused_get(refused)
        begun = time.monotonic()
        assert other.ask("GET", "/plain").status == 200
        assert time.monotonic() - begun < PAUSE_SECONDS_MIN


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_a_connection_that_asks_for_health_is_never_paused(small: SmallService, path: str) -> None:
    with small.one_in_flight(), small.connect() as connection:
        begun = time.monotonic()
        for _ in range(5):
            assert connection.ask("GET", path).status == 200
        assert time.monotonic() - begun < PAUSE_SECONDS_MIN

        # It came together with the refused request, so it has been read.
        connection.send(PLAIN + b"GET %s HTTP/1.1\r\nhost: test\r\n\r\n" % path.encode())
        assert connection.answer().status == 503
        begun = time.monotonic()
        assert connection.answer().status == 200
        assert time.monotonic() - begun < PAUSE_SECONDS_MIN


@contextmanager
def overloaded() -> Iterator[None]:
    concurrency_limit.started += 1
    try:
        yield
    finally:
        concurrency_limit.started -= 1


def timers_after(end: Callable[[RecordingTransport], None]) -> tuple[list[asyncio.TimerHandle], RecordingTransport]:
    """The timers of a connection that was refused, ended by `end`, lost, and observed until its pause is over."""

    async def run() -> tuple[list[asyncio.TimerHandle], RecordingTransport]:
        loop = asyncio.get_running_loop()
        protocol, transport = connect(Response("hello"), limit_concurrency=1)
        timers: list[asyncio.TimerHandle] = []
        call_later = loop.call_later

        def recorded(delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
            handle = call_later(delay, callback, *args)
            if getattr(callback, "__self__", None) is protocol:
                timers.append(handle)
            return handle

        loop.call_later = recorded  # type: ignore[method-assign,assignment]  # seen, not changed
        with overloaded():
            protocol.data_received(PLAIN)
        assert transport.is_paused
        end(transport)
        if transport.is_closing():
            protocol.connection_lost(None)
        else:
            await asyncio.sleep(PAUSE_SECONDS_MAX + 0.05)
        return timers, transport

    return asyncio.run(run())


def test_the_timer_of_a_pause_ends_with_its_connection() -> None:
    timers, transport = timers_after(RecordingTransport.close)

    assert [timer.cancelled() for timer in timers] == [True]
    assert transport.is_paused


def test_reading_goes_on_after_the_pause() -> None:
    timers, transport = timers_after(lambda _: None)

    assert [timer.cancelled() for timer in timers] == [False]
    assert not transport.is_paused


def test_while_refusals_are_few_the_next_request_is_read_at_once(start_small: StartSmall) -> None:
    small = start_small(IN_FLIGHT_MAX="1", FREE_REFUSALS_PER_SECOND="50")  # so five may come at once
    with small.one_in_flight(), small.connect() as connection:
        begun = time.monotonic()
        for _ in range(5):
            refused_get(connection)
        assert time.monotonic() - begun < PAUSE_SECONDS_MIN
        refused_get(connection)
        refused_get(connection)
        assert time.monotonic() - begun > PAUSE_SECONDS_MIN


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_a_budget_is_never_exceeded(pauses: list[float]) -> None:
    budget = RefusalBudget(100)
    times = list(itertools.accumulate(pauses, initial=1_000.0))
    free = [now for now in times if budget.spend(now)]
    for first in range(len(free)):
        window = [now for now in free if free[first] <= now <= free[first] + 1]
        assert len(window) <= 100 + 10 + 1  # a second of it, and what was saved up
    assert free[:1] == times[:1]  # and at the beginning there is some


@settings(deadline=None, max_examples=30)
@given(cost=st.floats(1e-6, 0.01), share=st.sampled_from([0.05, 0.1, 0.5]))
def test_a_budget_is_smaller_where_refusals_take_more(cost: float, share: float) -> None:
    budget = RefusalBudget(1_000, share)
    budget.observe(cost)
    seconds = 2
    free = sum(budget.spend(1_000 + tick / 4_000) for tick in range(4_000 * seconds))
    saved = 1.1
    assert free <= 1_000 * seconds * saved
    # What is measured is a part of what they take.
    assert free * cost <= share * seconds * saved / 2 + cost
    # And some are always free.
    assert free >= min(1_000, share / cost / 3) * seconds - 1
