"""A refusal under overload costs almost nothing, and is a proper answer all the same."""

import re
import time
from contextlib import ExitStack

import pytest

from servicekit.protocol.load_shedding import LOG_SECONDS
from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.raw_http import Answer

LOG_SECONDS_MAX = 30.0
REFUSED = {"detail": "too many requests are in flight", "code": "not-recorded"}


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small(IN_FLIGHT_MAX="1")


def assert_refused(answer: Answer) -> None:
    assert (answer.status, answer.json) == (503, REFUSED)
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/json"


def test_the_connection_of_a_refused_request_stays_usable(small: SmallService) -> None:
    with small.connect() as connection:
        with small.one_in_flight():
            for _ in range(2):
                assert_refused(connection.ask("GET", "/plain"))
                assert_refused(connection.ask("POST", "/size", body=b"x" * 1000))
        assert connection.ask("POST", "/size", body=b"x" * 1000).json == {"bytes": 1000}


def test_a_body_that_comes_later_belongs_to_the_refused_request(small: SmallService) -> None:
    with small.connect() as connection:
        with small.one_in_flight():
            connection.send(b"POST /size HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n01234")
            time.sleep(0.1)
            connection.send(b"56789")
            assert_refused(connection.answer("POST"))
        assert connection.ask("GET", "/plain").status == 200


def test_clients_that_are_slow_take_no_place_from_the_others(small: SmallService) -> None:
    with ExitStack() as open_now:
        slow = [open_now.enter_context(small.connect()) for _ in range(5)]
        for connection in slow:
            connection.send(b"POST /size HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n0")
        time.sleep(0.1)
        with small.connect() as other:
            for _ in range(3):
                assert other.ask("GET", "/plain").status == 200
        slow.pop().send(b"1")
        for connection in slow[:2]:
            connection.send(b"1")
            assert connection.answer("POST").json == {"bytes": 2}
    # Those that went away half-way count no more, and those that came to an end were not counted twice.
    with small.one_in_flight(), small.connect() as connection:
        assert_refused(connection.ask("GET", "/plain"))
    with small.connect() as connection:
        assert connection.ask("GET", "/plain").status == 200


def test_a_request_that_is_answered_before_its_body_arrives_makes_no_room_for_others(small: SmallService) -> None:
    with small.connect() as early, small.connect() as connection:
        early.send(b"POST /size HTTP/1.1\r\nhost: test\r\ncontent-length: 70000\r\n\r\n")
        assert early.answer("POST").status == 413
        with small.one_in_flight():
            assert_refused(connection.ask("GET", "/plain"))


def test_a_refusal_has_the_clients_request_id(small: SmallService) -> None:
    with small.one_in_flight(), small.connect() as connection:
        assert connection.ask("GET", "/plain", headers=b"X-Request-ID: mine-1\r\n").headers["x-request-id"] == "mine-1"
        assert connection.ask("GET", "/plain", headers=b"X-Request-ID: \xff\r\n").headers["x-request-id"] != "\xff"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/health/", "/livez?verbose=1"])
def test_whoever_asks_after_its_health_is_never_refused(small: SmallService, path: str) -> None:
    with small.one_in_flight(), small.connect() as connection:
        assert connection.ask("GET", path).status != 503


@pytest.mark.parametrize("path", ["/devices/health", "/plain/livez", "/plain?/livez", "/healthy", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_that_only_ends_like_a_health_check_is_refused(small: SmallService, method: str, path: str) -> None:
    with small.one_in_flight(), small.connect() as connection:
        assert connection.ask(method, path).status == 503


def test_what_is_not_plain_is_refused_too(small: SmallService) -> None:
    with small.one_in_flight(), small.connect() as connection:
        head = connection.ask("HEAD", "/plain")
        assert (head.status, head.body, head.headers["retry-after"]) == (503, b"", "1")
        last = connection.ask("GET", "/plain", headers=b"Connection: close\r\n")
        assert_refused(last)
        assert connection.rest() == b""


def test_many_refusals_are_one_line_a_second_in_the_log(start_small: StartSmall) -> None:
    small = start_small(IN_FLIGHT_MAX="1")
    begun = time.monotonic()
    with small.one_in_flight():
        for _ in range(100):
            with small.connect() as connection:
                assert_refused(connection.ask("GET", "/plain"))
    refused = 100 + small.refused
    while sum(told := [int(count) for count in re.findall(r"refused (\d+) requests", small.log.read_text())]) < refused:
        assert time.monotonic() - begun < LOG_SECONDS_MAX
        time.sleep(0.05)
    assert sum(told) == refused
    assert len(told) <= 1 + (time.monotonic() - begun) / LOG_SECONDS
    assert not any("/plain" in line and "503" in line for line in small.lines())
