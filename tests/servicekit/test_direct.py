"""The direct lane answers ordinary requests as the long way does, and declines whatever is not ordinary."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from servicekit.middleware.body_limits import BODY_BYTES_MAX
from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.raw_http import Answer, Connection

SECONDS_MAX = 1.0
BODY = b'{"how":"at once"}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SLOW = b'{"how":"slow"}'


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small(REQUEST_SECONDS_MAX=str(SECONDS_MAX))


def post(body: bytes = BODY, headers: bytes = b"") -> bytes:
    return b"POST /direct HTTP/1.1\r\nhost: test\r\n%scontent-length: %d\r\n\r\n%s" % (headers, len(body), body)


def get(query: bytes = b"", headers: bytes = b"") -> bytes:
    return b"GET /direct/count%s HTTP/1.1\r\nhost: test\r\n%s\r\n" % (query, headers)


def ask(connection: Connection, request: bytes) -> Answer:
    connection.send(request)
    return connection.answer(request.partition(b" ")[0].decode())


def is_direct(answer: Answer) -> bool:
    return "x-direct" in answer.headers


def lines_with(small: SmallService, request_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in small.lines() if f'"request_id":"{request_id}"' in line]


def repeat(query: bytes = b"") -> bytes:
    return get(query).replace(b"/direct/count", b"/direct/often/count")


@pytest.mark.parametrize(
    "request_bytes", [post(), post(SLOW), get(), get(b"?how=slow"), repeat(), repeat(b"?how=slow")]
)
def test_an_ordinary_request_takes_the_direct_lane_with_all_that_belongs_to_an_answer(
    small: SmallService, request_bytes: bytes
) -> None:
    with small.connect() as connection:
        answers = [ask(connection, request_bytes) for _ in range(3)]

    for answer in answers:
        assert answer.status == 200
        assert is_direct(answer)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["date"]
        assert "connection" not in answer.headers
        (line,) = lines_with(small, answer.headers["x-request-id"])
        assert line["status"] == 200
        assert line["path"] == request_bytes.split(b" ")[1].partition(b"?")[0].decode()
        assert line["milliseconds"] >= (250 if b"slow" in request_bytes else 0)
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


def test_the_clients_request_id_is_taken_if_it_is_one(small: SmallService) -> None:
    with small.connect() as connection:
        assert ask(connection, post(headers=b"X-Request-ID: mine\r\n")).headers["x-request-id"] == "mine"
        assert ask(connection, post(headers=b"X-Request-ID: a b\r\n")).headers["x-request-id"] != "a b"


@pytest.mark.parametrize("size", [1, 7, 60])
def test_it_may_come_in_pieces(small: SmallService, size: int) -> None:
    whole = post() + get(headers=b'if-none-match: "1"\r\n')
    with small.connect() as connection:
        for start in range(0, len(whole), size):
            connection.send(whole[start : start + size])
            time.sleep(0.002)
        recorded, counted = connection.answer(), connection.answer()

    assert (recorded.status, is_direct(recorded)) == (200, True)
    assert (counted.status, is_direct(counted), counted.headers["etag"]) == (304, True, '"1"')


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post().replace(b"/direct ", b"/direct/ "), 200),
        (post().replace(b"/direct ", b"/direct?a=b "), 422),
        (post().replace(b"POST", b"PUT"), 405),
        (post().replace(b"1.1", b"1.0"), 200),
        (post(headers=b"connection: keep-alive\r\n").replace(b"1.1", b"1.0"), 200),
        (post(headers=b"connection: close\r\n"), 200),
        (post(headers=b"connection: upgrade\r\nupgrade: h2c\r\n").replace(BODY, b""), 422),
        (post(headers=b"content-encoding: identity\r\n"), 200),
        (post(headers=b"origin: https://page.example\r\n"), 200),
        (post(headers=b"x-twice: 1\r\nx-twice: 1\r\n"), 200),
        (post().replace(b"host: test\r\n", b""), 400),
        (post(b'{"how":1}'), 422),
        (post(b'{"how":"at once","more":1}'), 200),
        (post(b"{"), 422),
        (post(b""), 422),
        (post(b'{"how":"unreadable"}'), 200),
        (post(b'{"how":"%s"}' % (b"x" * BODY_BYTES_MAX)), 413),
        (post(CHUNKED).replace(b"content-length: %d" % len(CHUNKED), b"transfer-encoding: chunked"), 200),
        (repeat(b"?how=cheap"), 200),
        (repeat().replace(b"often", b"seldom"), 200),
        (repeat().replace(b"GET", b"PUT"), 405),
        (get(b"?other=1"), 422),
        (get(b"?how=a&how=b"), 422),
        (get(b"?how=%41"), 200),
        (get().replace(b"GET", b"HEAD"), 200),
        (get().replace(b"GET", b"OPTIONS"), 204),
        (get(headers=b"content-length: 1\r\n") + b"x", 200),
        (get(headers=b"content-length: 0\r\n"), 200),
    ],
)  # fmt: skip
def test_what_is_not_ordinary_takes_the_long_way(small: SmallService, request_bytes: bytes, status: int) -> None:
    with small.connect() as connection:
        answer = ask(connection, request_bytes)
        assert (answer.status, is_direct(answer)) == (status, False)


def test_a_body_that_is_waited_for_is_asked_for(small: SmallService) -> None:
    with small.connect() as connection:
        head, _, body = post(headers=b"expect: 100-continue\r\n").partition(b"\r\n\r\n")
        connection.send(head + b"\r\n\r\n")
        time.sleep(0.1)
        connection.send(body)
        answer = connection.answer("POST")  # http.client skips the 100
        assert (answer.status, is_direct(answer)) == (200, False)


@pytest.mark.parametrize("make", [lambda how: post(b'{"how":"%s"}' % how), lambda how: get(b"?how=" + how)])
@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        (b"away", 503, {"detail": "the database is away", "code": "not-recorded"}),
        (b"reused", 409, {"detail": "it was used before"}),
        (b"bug", 500, {"detail": "Internal Server Error"}),
        (b"cancelled", 500, {"detail": "Internal Server Error"}),
    ],
)
def test_an_error_is_rendered_as_anywhere_else(
    small: SmallService, make: Callable[[bytes], bytes], how: bytes, status: int, said: dict[str, str]
) -> None:
    with small.connect() as connection:
        answer = ask(connection, make(how))
        assert (answer.status, answer.json) == (status, said)
        assert (answer.headers.get("retry-after") == "1") == (status == 503)
        assert ask(connection, post()).status == 200
    (line,) = lines_with(small, answer.headers["x-request-id"])
    assert (line["status"], line["level"]) == (status, "error" if status >= 500 else "info")
    if status == 500:
        assert any(f"unhandled error, request {answer.headers['x-request-id']}" in each for each in small.lines())


def test_requests_behind_one_that_is_in_flight_are_answered_in_order(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(post(SLOW) + get(b"?how=slow") + post() + b"GET /plain HTTP/1.1\r\nhost: test\r\n\r\n")
        answers = [connection.answer() for _ in range(4)]
        assert is_direct(ask(connection, post()))

    assert [answer.json for answer in answers] == [{"recorded": True}, 1, {"recorded": True}, {"ok": True}]
    assert [is_direct(answer) for answer in answers] == [True, False, False, False]


def test_a_malformed_request_behind_it_is_not_its_answer(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(post(SLOW) + b"BREW\r\n\r\n")
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.rest() == b""


def test_it_is_recorded_though_its_client_went_away(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(post(SLOW, b"x-request-id: went-away\r\n"))
        time.sleep(0.1)
    time.sleep(0.5)
    (line,) = lines_with(small, "went-away")
    assert line["status"] == 200


@pytest.mark.parametrize("gone", [True, False])
def test_a_body_that_never_comes_is_logged_and_too_slow(small: SmallService, gone: bool) -> None:
    request_id = f"half-{gone}"
    with small.connect() as connection:
        connection.send(post(headers=b"x-request-id: %s\r\n" % request_id.encode())[:-1])
        if not gone:
            answer = connection.answer()
            assert (answer.status, answer.headers["x-request-id"]) == (408, request_id)
            assert connection.rest() == b""
    (line,) = lines_with(small, request_id)
    assert (line["method"], line["path"], line["status"]) == ("POST", "/direct", 0)


def test_the_id_of_one_that_is_too_slow_is_that_of_its_line(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(post()[:-1])
        (line,) = lines_with(small, connection.answer().headers["x-request-id"])
    assert line["status"] == 0


def test_it_counts_as_in_flight_and_is_refused_like_any_other(start_small: StartSmall) -> None:
    small = start_small(IN_FLIGHT_MAX="1")
    with small.connect() as first, small.connect() as second, small.connect() as third:
        first.send(post(SLOW))
        time.sleep(0.1)
        assert ask(second, post()).status == 503
        assert ask(third, b"GET /plain HTTP/1.1\r\nhost: test\r\n\r\n").status == 503
        assert is_direct(first.answer())
        assert is_direct(ask(first, post()))
        first.send(post(SLOW))
    time.sleep(0.5)  # it went away, and took its place in flight with it
    with small.connect() as connection:
        assert is_direct(ask(connection, post()))


def test_the_rate_limit_counts_both_ways_as_one(start_small: StartSmall) -> None:
    small = start_small(REQUESTS_MAX="4")
    with small.connect() as connection:
        ways = [is_direct(ask(connection, request)) for request in (post(), post(b"{"), get(), post())]
        assert ways == [True, False, True, True]
        for request in (post(), get(), post(b"{")):
            refused = ask(connection, request)
            assert (refused.status, refused.headers["retry-after"]) == (429, "7")
            assert refused.json == {"detail": "more than 4", "code": "too-many-requests"}


def test_a_direct_answer_has_the_lines_of_the_rate_limit_and_a_refusal_only_its_own(start_small: StartSmall) -> None:
    small = start_small(REQUESTS_MAX="5")
    requests = (post(), post(SLOW), get(b"?how=slow"), post(b'{"how":"reused"}'), get(b"?how=away"), post(), get())
    with small.connect() as connection:
        answers = [ask(connection, request) for request in requests]
    assert [each.status for each in answers] == [200, 200, 200, 409, 503, 429, 429]
    assert [each.headers.get("asked") for each in answers] == ["1", "2", "3", "4", "5", None, None]


def test_with_cors_a_cache_is_told_and_a_page_takes_the_long_way(start_small: StartSmall) -> None:
    small = start_small(CORS_ORIGIN="https://page.example")
    with small.connect() as connection:
        plain = ask(connection, post())
        page = ask(connection, post(headers=b"origin: https://page.example\r\n"))

    assert (is_direct(plain), plain.headers["vary"]) == (True, "Origin")
    assert (is_direct(page), page.headers["access-control-allow-origin"]) == (False, "https://page.example")


@pytest.mark.parametrize("drain_seconds", ["0", "1.5"])
def test_at_shutdown_what_is_in_flight_is_answered(start_small: StartSmall, drain_seconds: str) -> None:
    small = start_small(DRAIN_SECONDS=drain_seconds)
    with small.connect() as in_flight, small.connect() as half, small.connect() as later:
        assert is_direct(ask(later, post()))
        in_flight.send(post(SLOW))
        half.send(post()[:-1])
        time.sleep(0.1)
        assert small.child.pid is not None
        os.kill(small.child.pid, signal.SIGTERM)
        time.sleep(0.1)
        if drain_seconds != "0":
            answer = ask(later, post())
            assert (answer.status, is_direct(answer), answer.headers["connection"]) == (200, False, "close")
        half.send(post()[-1:])
        for connection in (in_flight, half):
            answer = connection.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert connection.rest() == b""
