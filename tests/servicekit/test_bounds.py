"""Every request is bounded in bytes and in seconds, and what the client is told is true on the wire."""

import time
from contextlib import suppress

import pytest

from servicekit.middleware.body_limits import BODY_BYTES_MAX
from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.raw_http import Answer, Connection
from tests.servicekit.small_service import LARGE_BYTES_MAX

SECONDS_MAX = 0.5
# For a busy machine; less than the 5 s of the trickle below, and than the 15 s that are the default.
SLACK_SECONDS = 3.0


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small(REQUEST_SECONDS_MAX=str(SECONDS_MAX))


def chunked(connection: Connection, path: str, total: int, chunk: int = 16 * 1024) -> None:
    connection.send(b"POST %s HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n" % path.encode())
    while total > 0:
        size = min(chunk, total)
        connection.send(b"%x\r\n%s\r\n" % (size, b"a" * size))
        total -= size
    connection.send(b"0\r\n\r\n")


BOUNDS = [("/size", BODY_BYTES_MAX), ("/large", LARGE_BYTES_MAX), ("/large/", LARGE_BYTES_MAX)]


@pytest.mark.parametrize(("path", "bytes_max"), BOUNDS)
def test_a_declared_body_is_taken_up_to_the_bound_and_no_further(
    small: SmallService, path: str, bytes_max: int
) -> None:
    with small.connect() as connection:
        assert connection.ask("POST", path, body=b"a" * bytes_max).json == {"bytes": bytes_max}
        refused = connection.ask("POST", path, body=b"a" * (bytes_max + 1))
        assert refused.status == 413
        assert refused.json == {"detail": f"The body is larger than {bytes_max} bytes"}
        assert connection.ask("GET", "/plain").status == 200


@pytest.mark.parametrize(("path", "bytes_max"), BOUNDS)
def test_a_chunked_body_is_counted_as_it_arrives(small: SmallService, path: str, bytes_max: int) -> None:
    with small.connect() as connection:
        chunked(connection, path, bytes_max)
        assert connection.answer().json == {"bytes": bytes_max}
        chunked(connection, path, bytes_max + 1)
        assert connection.answer().status == 413
        assert connection.ask("GET", "/plain").status == 200


def test_a_huge_declared_body_is_refused_before_it_is_sent(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(b"POST /size HTTP/1.1\r\nhost: test\r\ncontent-length: 9000000000\r\n\r\n")
        assert connection.answer().status == 413


def until(status: int, connection: Connection, size: int) -> Answer:
    """The first answer with this status to a large body of this size: what others sent or left takes effect in time."""
    deadline = time.monotonic() + 5
    while (answer := connection.ask("POST", "/large", body=b"a" * size)).status != status:
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.05)
    return answer


def test_large_bodies_are_bounded_all_together_and_by_what_has_arrived_of_them(start_small: StartSmall) -> None:
    small = start_small(IN_FLIGHT_BODY_BYTES_MAX=str(LARGE_BYTES_MAX))
    part = LARGE_BYTES_MAX * 2 // 3
    rest = LARGE_BYTES_MAX - part
    head = b"POST /large HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % LARGE_BYTES_MAX
    with small.connect() as first, small.connect() as second:
        with small.connect() as slow:
            slow.send(head)  # declared, and not sent: takes no room
            first.send(head + b"a" * part)
            time.sleep(0.2)
            refused = until(503, second, rest + 1)
            assert (refused.json["code"], refused.headers["retry-after"]) == ("not-recorded", "1")
            assert second.ask("POST", "/size", body=b"a" * BODY_BYTES_MAX).status == 200  # another path

            first.send(b"a" * rest)
            assert first.answer().json == {"bytes": LARGE_BYTES_MAX}
            assert second.ask("POST", "/large", body=b"a" * part).json == {"bytes": part}
            slow.send(b"a" * part)
            time.sleep(0.2)
            until(503, second, rest + 1)
        until(200, second, LARGE_BYTES_MAX)  # it went away half-way, and what it sent with it


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GE",
        b"GET /plain HTTP/1.1\r\nhost: te",
        b"POST /size HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nab",
        b"POST /size HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"GET /plain HTTP/1.1\r\nhost: test\r\n\r\nGET /pl",  # after a whole one on the same connection
    ],
)
def test_a_request_that_does_not_arrive_whole_in_time_is_told_so_and_closed(
    small: SmallService, beginning: bytes
) -> None:
    with small.connect() as connection:
        begun = time.monotonic()
        connection.send(beginning)
        received = connection.rest()

    assert SECONDS_MAX - 0.1 < time.monotonic() - begun < SECONDS_MAX + SLACK_SECONDS
    last = received[received.rindex(b"HTTP/1.1") :]
    assert last.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in last


def test_a_trickle_of_bytes_does_not_move_the_bound(small: SmallService) -> None:
    with small.connect() as connection:
        begun = time.monotonic()
        connection.send(b"POST /size HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n")
        with suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() - begun < 5:
                connection.send(b"a")
                time.sleep(0.05)

    assert time.monotonic() - begun < SECONDS_MAX + SLACK_SECONDS


def test_an_answer_may_take_longer_than_a_request(small: SmallService) -> None:
    with small.connect() as connection:
        assert connection.ask("GET", f"/slow?seconds={2 * SECONDS_MAX}").status == 200


def test_an_idle_connection_between_two_requests_is_kept(small: SmallService) -> None:
    with small.connect() as connection:
        connection.ask("GET", "/plain")
        time.sleep(2 * SECONDS_MAX)
        assert connection.ask("GET", "/plain").status == 200


@pytest.mark.parametrize(
    "request_line",
    [
        b"BREW / HTTP/1.1\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"POST /size HTTP/1.1\r\ncontent-length: -1\r\n",
        b"POST /size HTTP/1.1\r\ncontent-length: 1e3\r\n",
        b"POST /size HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n",
        b"POST /size HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
        b"POST /size HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n",
    ],
)
def test_what_is_not_http_is_a_400(small: SmallService, request_line: bytes) -> None:
    with small.connect() as connection:
        connection.send(request_line + b"host: test\r\n\r\n")
        assert connection.answer().status == 400
