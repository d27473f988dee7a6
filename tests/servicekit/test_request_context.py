"""The outermost layer: a bug harms one request only, overload is refused early, and nobody writes our log for us."""

import json
import time
from contextlib import ExitStack

import pytest

from tests.servicekit.conftest import SmallService, StartSmall

SHED_ABOVE = 3


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small(IN_FLIGHT_MAX=str(SHED_ABOVE))


@pytest.fixture(scope="module")
def small_text(start_small: StartSmall) -> SmallService:
    return start_small(LOG_FORMAT="text")


@pytest.mark.parametrize("path", ["/bug", "/slow?seconds=x", "/refused", "/away", "/nowhere"])
def test_after_a_failure_the_next_request_on_the_connection_succeeds(small: SmallService, path: str) -> None:
    with small.connect() as connection:
        for _ in range(3):
            assert connection.ask("GET", path).status >= 400
            assert connection.ask("GET", "/plain").json == {"ok": True}


def test_a_bug_is_a_500_that_tells_nothing_and_a_trace_in_the_log(small: SmallService) -> None:
    with small.connect() as connection:
        answer = connection.ask("GET", "/bug")

    assert answer.status == 500
    assert answer.json == {"detail": "Internal Server Error"}
    traces = [line for line in small.lines() if answer.headers["x-request-id"] in line and "ZeroDivisionError" in line]
    assert len(traces) == 1


def test_an_answer_that_breaks_off_half_way_does_not_look_whole(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(b"GET /half HTTP/1.1\r\nhost: test\r\n\r\n")
        received = connection.rest()

    assert received.endswith(b"half of it\r\n"), "neither a last chunk nor a second answer"
    with small.connect() as connection:
        assert connection.ask("GET", "/plain").status == 200


def test_too_many_requests_at_a_time_are_refused_at_once_and_liveness_never(small: SmallService) -> None:
    with ExitStack() as busy, small.connect() as connection:
        for _ in range(SHED_ABOVE):
            busy.enter_context(small.one_in_flight())
        refused = connection.ask("GET", "/plain")
        live = connection.ask("GET", "/livez")
        busy.close()
        afterwards = connection.ask("GET", "/plain")

    assert refused.status == 503
    assert refused.json == {"detail": "too many requests are in flight", "code": "not-recorded"}
    assert refused.headers["retry-after"] == "1"
    assert (live.status, afterwards.status) == (200, 200)


@pytest.mark.parametrize("sent", ["abc-123", "A.b_c:d-E", "x" * 128])
def test_a_request_id_is_taken_over(small: SmallService, sent: str) -> None:
    with small.connect() as connection:
        answer = connection.ask("GET", "/plain", headers=b"X-Request-ID: %s\r\n" % sent.encode())

    assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"x" * 129,
        b"a b",
        b"\xc3\xa9",
        b"a\xff",
        b'"}{',
        b"\x1b[31m",
        b"a\tb",
    ],
)
def test_a_hostile_request_id_is_replaced_or_refused(small: SmallService, sent: bytes) -> None:
    with small.connect() as connection:
        answer = connection.ask("GET", "/plain", headers=b"X-Request-ID: %s\r\n" % sent)

    assert answer.status in (200, 400)
    if answer.status == 200:
        assert len(answer.headers["x-request-id"]) == 36
        assert answer.headers["x-request-id"].encode() != sent


@pytest.mark.parametrize("sent", [b"a\rb", b"a\nEvil: b", b"a\0b"])
def test_a_request_id_that_would_split_the_header_is_not_even_http(small: SmallService, sent: bytes) -> None:
    with small.connect() as connection:
        answer = connection.ask("GET", "/plain", headers=b"X-Request-ID: %s\r\n" % sent)

    assert answer.status == 400
    assert b"evil" not in answer.body.lower()
    assert "evil" not in answer.headers


HOSTILE_PATHS = [
    "/a%0a{%22level%22:%22info%22,%22forged%22:1}",
    "/a%0d%0aforged",
    "/%1b[2J%1b[31mforged",
    "/%00forged",
    "/%e2%80%a8forged",  # LINE SEPARATOR
    "/%c2%85forged",  # NEXT LINE
    "/%ff%fe%f0forged",
    "/%22,%22forged%22:%22",
    "/forged?secret=hunter2",
]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_path_cannot_forge_a_json_line(small: SmallService, path: str) -> None:
    with small.connect() as connection:
        answer = connection.ask("GET", path)
    assert answer.status == 404

    lines = [line for line in small.lines() if "forged" in line]
    (mine,) = [json.loads(line) for line in lines if answer.headers["x-request-id"] in line]
    assert "forged" not in mine
    assert mine["event"] == "request"
    assert mine["status"] == 404
    assert "hunter2" not in small.log.read_text()
    assert b"\x1b" not in small.log.read_bytes()


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_path_cannot_forge_a_readable_line(small_text: SmallService, path: str) -> None:
    with small_text.connect() as connection:
        answer = connection.ask("GET", path)

    (mine,) = [line for line in small_text.lines() if f"id={answer.headers['x-request-id']}" in line]
    assert " GET /" in mine
    assert mine.isascii()
    assert mine.isprintable()
    assert all(" GET /" in line for line in small_text.lines() if "forged" in line)


def test_a_readable_trace_shows_no_local_variables(small_text: SmallService) -> None:
    with small_text.connect() as connection:
        connection.ask("GET", "/bug", headers=b"Authorization: Bearer hunter2\r\n")

    log = "\n".join(small_text.lines())
    assert "ZeroDivisionError" in log
    assert "hunter2" not in log


def test_a_line_says_who_asked_what_and_how_it_went(small: SmallService) -> None:
    with small.connect() as connection:
        connection.ask("POST", "/size", headers=b"X-Request-ID: my-id\r\n", body=b"hunter2")

    (line,) = [json.loads(line) for line in small.lines() if '"my-id"' in line]
    assert line.pop("milliseconds") >= 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "service": "small",
        "event": "request",
        "request_id": "my-id",
        "method": "POST",
        "path": "/size",
        "status": 200,
    }


def test_a_client_that_goes_away_is_one_line_and_no_error(small: SmallService) -> None:
    with small.connect() as connection:
        connection.send(b"POST /size HTTP/1.1\r\nhost: test\r\nx-request-id: gone\r\ncontent-length: 9\r\n\r\nabc")
        time.sleep(0.1)

    time.sleep(0.1)
    (line,) = [json.loads(line) for line in small.lines() if "gone" in line]
    assert (line["status"], line["level"]) == (0, "warning")
