"""A client that stops reading its response does not keep it in memory; one that is slow gets it."""

import time
from contextlib import suppress

import pytest

from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.raw_http import Connection

STALL_SECONDS = 0.5
TICK_SECONDS = 0.2


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small(REQUEST_SECONDS_MAX=str(TICK_SECONDS), STALL_SECONDS_MAX=str(STALL_SECONDS))


def ended(small: SmallService) -> bool:
    """Whether the request of the endless response is over."""
    return any("/endless" in line for line in small.lines())


def begin(connection: Connection) -> None:
    connection.send(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n")
    assert connection.head() == 200


def test_a_slow_reader_is_served_and_one_that_stops_is_cut_off(small: SmallService) -> None:
    with small.connect() as connection:
        begin(connection)
        until = time.monotonic() + 4 * STALL_SECONDS
        while time.monotonic() < until:
            assert connection.receive(256 * 1024)
            time.sleep(0.02)
        assert not ended(small)
        deadline = time.monotonic() + 10
        while not ended(small):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with suppress(ConnectionResetError):
            assert connection.rest()  # what the kernel had taken, and then nothing more
    with small.connect() as connection:
        assert connection.ask("GET", "/plain").status == 200


def test_what_a_client_did_not_take_is_dropped_when_it_goes(small: SmallService) -> None:
    with small.connect() as connection:
        begin(connection)
    with small.connect() as connection:
        assert connection.ask("GET", "/plain").status == 200
