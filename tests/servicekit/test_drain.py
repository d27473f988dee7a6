"""On SIGTERM, readiness fails first, requests are served on, and only then the server stops."""

import os
import signal
import time

from tests.servicekit.conftest import SmallService, StartSmall
from tests.waiting import wait_until

DRAIN_SECONDS = 2.0


def wait_until_gone(small: SmallService) -> None:
    wait_until(lambda: small.child.pid is None)


def is_unready(small: SmallService) -> bool:
    with small.connect() as connection:
        return connection.ask("GET", "/readyz").status == 503


def refuses_connections(small: SmallService) -> bool:
    try:
        with small.connect():
            return False
    except ConnectionRefusedError:
        return True


def terminate(small: SmallService) -> None:
    assert small.child.pid is not None
    os.kill(small.child.pid, signal.SIGTERM)


def test_readiness_fails_first_and_requests_are_served_on(start_small: StartSmall) -> None:
    small = start_small(DRAIN_SECONDS=str(DRAIN_SECONDS))
    with small.connect() as kept, small.connect() as ready:
        assert "connection" not in kept.ask("GET", "/plain").headers
        assert ready.ask("GET", "/readyz").status == 200
        begun = time.monotonic()
        terminate(small)
        wait_until(lambda: is_unready(small))

        unready = ready.ask("GET", "/readyz")
        served = kept.ask("GET", "/plain")
        with small.connect() as new:
            live = new.ask("GET", "/livez")

    assert unready.status == 503
    assert unready.json["reason"] == "shutting down"
    assert unready.headers["retry-after"] == "1"
    assert (served.status, live.status) == (200, 200)
    assert served.headers["connection"] == "close", "the next request belongs on another instance"
    wait_until_gone(small)
    assert small.child.exit_status == 0
    assert time.monotonic() - begun > DRAIN_SECONDS


def test_a_request_in_flight_is_finished_and_logged(start_small: StartSmall) -> None:
    small = start_small()
    with small.connect() as connection:
        connection.send(b"GET /slow?seconds=2 HTTP/1.1\r\nhost: test\r\nx-request-id: the-last\r\n\r\n")
        time.sleep(0.5)
        terminate(small)
        wait_until(lambda: refuses_connections(small))
        answer = connection.answer()

    assert answer.status == 200
    wait_until_gone(small)
    assert small.child.exit_status == 0
    assert any("the-last" in line for line in small.lines())


def test_a_second_signal_ends_the_waiting(start_small: StartSmall) -> None:
    small = start_small(DRAIN_SECONDS="60")
    terminate(small)
    wait_until(lambda: is_unready(small))
    terminate(small)

    wait_until_gone(small)
    assert small.child.exit_status == 0
