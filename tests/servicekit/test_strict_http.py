"""What is not HTTP, or not allowed in HTTP, is refused in the product's words, and harms no request before it."""

import re
import time
from collections.abc import Callable

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Message

from servicekit.protocol.application import CorsHeaders
from servicekit.protocol.strict_http import HEAD_BYTES_MAX
from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.in_process import connect
from tests.servicekit.raw_http import Answer, Connection
from tests.servicekit.small_service import CORS_EXPOSED

SECONDS_MAX = 1.0
PAGE = "https://page.example"


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small(REQUEST_SECONDS_MAX=str(SECONDS_MAX), CORS_ORIGIN=PAGE)


@pytest.fixture(scope="module")
def full(start_small: StartSmall) -> SmallService:
    return start_small(IN_FLIGHT_MAX="1", CORS_ORIGIN=PAGE)


def assert_last(connection: Connection, status: int, said: str) -> Answer:
    """The last answer of this connection is an error in the product's shape."""
    answer = connection.answer()
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert said in answer.json["detail"]
    assert answer.headers["x-request-id"]
    assert answer.headers["date"]
    assert answer.headers["connection"] == "close"
    assert connection.rest() == b""
    return answer


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"GET /plain HTTP/1.1\r\n", "requires a Host header"),
        (b"GET /plain HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "more than one Host"),
        (b"GET /plain HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: a\r\n", "more than one Host"),
        (b"GET /plain HTTP/1.1\r\nHost: a\r\nHost: a\r\nHost: a\r\n", "more than one Host"),
        (b"GET /plain HTTP/1.0\r\nHost: a\r\nHost: b\r\n", "more than one Host"),
        (b"GET /plain HTTP/1.1\r\nHost: a b\r\n", "must be a host name"),
        (b"GET /plain HTTP/1.1\r\nHost: a/b\r\n", "must be a host name"),
        (b"GET /plain HTTP/1.1\r\nHost: me@a\r\n", "must be a host name"),
        (b"GET /plain HTTP/1.1\r\nHost: a:80x\r\n", "must be a host name"),
        (b"GET /plain HTTP/1.1\r\nHost: \xff\r\n", "must be a host name"),
    ],
)
def test_a_request_must_name_one_host(small: SmallService, head: bytes, said: str) -> None:
    with small.connect() as connection:
        connection.send(head + b"X-Request-ID: mine-1\r\n\r\n")
        assert assert_last(connection, 400, said).headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /plain HTTP/1.0\r\n",
        b"GET /plain HTTP/1.0\r\nHost: a\r\n",
        *(
            b"GET /plain HTTP/1.1\r\nHost:%s\r\n" % host
            for host in (b"", b" a", b" a.example:8000", b" 127.0.0.1", b" [::1]:80", b" a_b", b" %41", b" a:")
        ),
        b"GET http://a/plain HTTP/1.1\r\nHost: a\r\n",
    ],
)
def test_every_lawful_host_is_taken(small: SmallService, head: bytes) -> None:
    with small.connect() as connection:
        connection.send(head + b"\r\n")
        assert connection.answer().status == 200


@pytest.mark.parametrize(("target", "status"), [("http://a", 404), ("http://a?x=1", 404), ("http://a/plain", 200)])
def test_an_absolute_target_without_a_path_means_the_root(small: SmallService, target: str, status: int) -> None:
    with small.connect() as connection:
        assert connection.ask("GET", target).status == status
        assert connection.ask("GET", "/plain").status == 200


def test_hosts_are_counted_for_each_request(small: SmallService) -> None:
    with small.connect() as connection:
        assert connection.ask("GET", "/plain").status == 200
        assert connection.ask("GET", "/plain").status == 200
        connection.send(b"GET /plain HTTP/1.1\r\n\r\n")
        assert_last(connection, 400, "requires a Host header")


@pytest.mark.parametrize(
    ("request_bytes", "said"),
    [
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "Invalid method"),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", "Invalid HTTP version"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "Invalid method"),  # TLS
        (b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n", "Invalid header token"),
        (b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", "Invalid header value"),
        (b"POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
        (b"POST /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk size"),
        (b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", "url"),
    ],
)
def test_what_is_not_http_is_told_why(small: SmallService, request_bytes: bytes, said: str) -> None:
    with small.connect() as connection:
        connection.send(request_bytes)
        answer = connection.answer()
        assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
        assert said.lower() in answer.json["detail"].lower()
        assert answer.headers["x-request-id"]
        assert connection.rest() == b""


@pytest.mark.parametrize(
    "rest",
    [
        b"BREW / HTTP/1.1\r\n",  # cannot be parsed
        b"GET /plain HTTP/1.1\r\n\r\n",  # no Host
        b"GET /pl",  # never whole
    ],
)
def test_a_request_that_is_in_flight_is_answered_before_a_malformed_one(small: SmallService, rest: bytes) -> None:
    with small.connect() as connection:
        connection.send(b"GET /slow?seconds=%.1f HTTP/1.1\r\nhost: test\r\n\r\n" % (SECONDS_MAX * 1.5) + rest)
        answer = connection.answer()
        assert (answer.status, answer.json) == (200, {"ok": True})
        assert connection.rest().count(b"HTTP/1.1 400 ") == (1 if b"plain" in rest else 0)


def too_large_in_one_header(size: int) -> bytes:
    head = b"GET /plain HTTP/1.1\r\nHost: a\r\n"
    return head + b"X: %s\r\n\r\n" % (b"x" * (size - len(b"/plain" + b"Host" + b"a" + b"X")))


def too_large_in_many(size: int) -> bytes:
    return b"GET /plain HTTP/1.1\r\nHost: a\r\n" + b"X: 1234567\r\n" * (size // 8 + 1) + b"\r\n"


def test_a_target_is_bounded(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(b"GET /plain?%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * HEAD_BYTES_MAX))
        answer = connection.answer()
        assert answer.status == 400
        assert "longer than" in answer.json["detail"]


@pytest.mark.parametrize("make", [too_large_in_one_header, too_large_in_many])
@pytest.mark.parametrize("piece_bytes", [1_000, 30_000, 10_000_000])
def test_a_head_is_bounded_however_it_arrives(
    small: SmallService, make: Callable[[int], bytes], piece_bytes: int
) -> None:
    whole = make(HEAD_BYTES_MAX + 1)
    with small.connect() as connection:
        try:
            for start in range(0, len(whole), piece_bytes):
                connection.send(whole[start : start + piece_bytes])
                time.sleep(0.001)
        except (ConnectionResetError, BrokenPipeError):
            pass  # refused before its end, which is allowed
        else:
            answer = connection.answer()
            assert (answer.status, answer.headers["content-type"]) == (431, "application/json")
            assert str(HEAD_BYTES_MAX) in answer.json["detail"]


@pytest.mark.parametrize("piece_bytes", [1_000, 10_000_000])
def test_a_head_is_taken_up_to_the_bound(small: SmallService, piece_bytes: int) -> None:
    whole = too_large_in_one_header(HEAD_BYTES_MAX) + b"GET /plain HTTP/1.1\r\nhost: a\r\n\r\n"
    with small.connect() as connection:
        for start in range(0, len(whole), piece_bytes):
            connection.send(whole[start : start + piece_bytes])
            time.sleep(0.001)
        assert connection.answer().status == 200
        assert connection.answer().status == 200


def test_a_body_is_no_head_even_when_it_is_refused(full: SmallService) -> None:
    with full.one_in_flight(), full.connect() as connection:
        connection.send(b"POST /size HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (4 * HEAD_BYTES_MAX))
        for _ in range(8):
            connection.send(b"x" * (HEAD_BYTES_MAX // 2))
            time.sleep(0.01)
        assert connection.answer().status == 503


def send_trailers(connection: Connection) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < SECONDS_MAX / 2:  # then the time-out would do it
        connection.send(b"X: 1234567\r\n" * 1000)
        time.sleep(0.001)


def test_trailers_are_bounded_and_pass_for_no_header(small: SmallService) -> None:
    begin = b"POST /size HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    with small.connect() as connection:
        connection.send(begin + b"Host: b\r\nX-Request-ID: trailer\r\n\r\n")
        answer = connection.answer()
        assert answer.json == {"bytes": 1}
        assert answer.headers["x-request-id"] != "trailer"
    with small.connect() as connection:
        connection.send(begin)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_trailers(connection)


def test_an_upgrade_is_ignored(small: SmallService) -> None:
    with small.connect() as connection:
        for _ in range(2):
            headers = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
            assert connection.ask("GET", "/plain", headers=headers).status == 200
    assert not any("upgrade" in line.lower() for line in small.lines())


def test_too_slow_is_an_error_like_any_other(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(b"POST /size HTTP/1.1\r\nhost: a\r\nx-request-id: slow-1\r\ncontent-length: 2\r\n\r\nx")
        answer = assert_last(connection, 408, "in time")
    assert answer.headers["x-request-id"] == "slow-1"


def test_the_id_of_a_request_that_was_too_slow_is_that_of_its_log_line(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(b"POST /size HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nx")
        request_id = assert_last(connection, 408, "in time").headers["x-request-id"]
    lines = [line for line in small.lines() if request_id in line]
    assert any('"path":"/size"' in line for line in lines)
    assert any("in time" in line for line in lines)


def refused(connection: Connection, headers: bytes) -> Answer:
    return connection.ask("GET", "/plain", headers=headers)


def refused_in_a_task(connection: Connection, headers: bytes) -> Answer:
    return connection.ask("HEAD", "/plain", headers=headers)


def too_slow(connection: Connection, headers: bytes) -> Answer:
    connection.send(b"GET /plain HTTP/1.1\r\nhost: a\r\n" + headers + b"X: y\r\n")
    return connection.answer()


def no_host(connection: Connection, headers: bytes) -> Answer:
    connection.send(b"GET /plain HTTP/1.1\r\n" + headers + b"\r\n")
    return connection.answer()


def not_http(connection: Connection, headers: bytes) -> Answer:
    connection.send(b"GET /plain HTTP/1.1\r\n" + headers + b"X: y\r\nnot a header\r\n\r\n")
    return connection.answer()


def bug(connection: Connection, headers: bytes) -> Answer:
    return connection.ask("GET", "/bug", headers=headers)


@pytest.mark.parametrize("ask", [refused, refused_in_a_task, too_slow, no_host, not_http, bug])
def test_a_page_may_read_why(
    small: SmallService, full: SmallService, ask: Callable[[Connection, bytes], Answer]
) -> None:
    def headers(origin: bytes) -> dict[str, str]:
        service = full if ask in (refused, refused_in_a_task) else small
        if service is small:
            with service.connect() as connection:
                return ask(connection, origin).headers
        with service.one_in_flight(), service.connect() as connection:
            return ask(connection, origin).headers

    allowed = headers(b"Origin: %s\r\n" % PAGE.encode())
    assert allowed["access-control-allow-origin"] == PAGE
    assert allowed["access-control-expose-headers"] == ", ".join(CORS_EXPOSED)
    assert allowed["vary"] == "Origin"
    assert "access-control-allow-origin" not in headers(b"Origin: https://other.example\r\n")
    assert "access-control-expose-headers" not in headers(b"")


@pytest.mark.parametrize("origins", [["*"], [PAGE], ["https://a.example", PAGE], ["https://a.example"]])
async def test_cors_headers_are_those_of_starlette(origins: list[str]) -> None:
    sent: list[tuple[bytes, bytes]] = []

    async def send(message: Message) -> None:
        sent.extend(message.get("headers", ()))

    async def receive() -> Message:
        raise AssertionError

    for origin in (PAGE.encode(), None):
        sent.clear()
        headers = [] if origin is None else [(b"origin", origin)]
        layer = CORSMiddleware(Response(), allow_origins=origins, expose_headers=CORS_EXPOSED)
        await layer({"type": "http", "method": "GET", "headers": headers}, receive, send)

        added = [line for line in sent if re.match(rb"access-control|vary", line[0])]
        assert sorted(CorsHeaders(origins, CORS_EXPOSED).lines(origin)) == sorted(added)


async def test_a_bug_in_a_callback_is_no_fault_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    protocol, transport = connect(Response())
    monkeypatch.setattr(protocol, "_problem_of_head", broken.__get__(protocol))
    protocol.data_received(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")

    assert transport.writes[0].startswith(b"HTTP/1.1 500 ")
    assert transport.is_closed
