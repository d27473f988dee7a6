"""Bodies that are no event: each is refused for its own reason, and the connection stays good for the next request."""

import gzip
import json
import socket
from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest

from tests.auth_events.payloads import REGISTERED, event
from tests.database import facts_of
from tests.servers import Product

EVENT = json.dumps(event("u")).encode()
KIB = 1024

NOT_JSON = {
    "empty": b"",
    "blank": b"   ",
    "cut": EVENT[:-1],
    "trailing": EVENT + b"}",
    "two": EVENT + EVENT,
    "single-quotes": b"{'userKey':'u','deviceType':'iOS'}",
    "trailing-comma": b'{"userKey":"u","deviceType":"iOS",}',
    "comment": b'{"userKey":"u","deviceType":"iOS"} // really',
    "no-utf-8": b'{"userKey":"\xff\xfe","deviceType":"iOS"}',
    "overlong-utf-8": b'{"userKey":"\xc0\xaf","deviceType":"iOS"}',
    "utf-8-surrogate": b'{"userKey":"\xed\xa0\x80","deviceType":"iOS"}',
    "latin-1": '{"userKey":"é","deviceType":"iOS"}'.encode("latin-1"),
    "utf-16": EVENT.decode().encode("utf-16"),
    "utf-16-no-bom": EVENT.decode().encode("utf-16-le"),
    "utf-32": EVENT.decode().encode("utf-32"),
    "raw-nul": b'{"userKey":"a\x00b","deviceType":"iOS"}',
    "raw-newline": b'{"userKey":"a\nb","deviceType":"iOS"}',
    "nan": b'{"userKey":"u","deviceType":"iOS","x":NaN}',
    "infinity": b'{"userKey":"u","deviceType":"iOS","x":-Infinity}',
    "30000-deep": b"[" * 30_000,
    "form": b"userKey=u&deviceType=iOS",
}
# What is read must be a text; these are refused as any other wrong value is, with the name of the field.
UNREADABLE = {
    "nul": rb'{"userKey":"a\u0000b","deviceType":"iOS"}',
    "lone-high-surrogate": rb'{"userKey":"\ud800","deviceType":"iOS"}',
    "lone-low-surrogate": rb'{"userKey":"\udc00x","deviceType":"iOS"}',
    "zero-width": '{"userKey":"\u200b\ufeff","deviceType":"iOS"}'.encode(),
    "huge-number": b'{"userKey":' + b"7" * 5_000 + b',"deviceType":"iOS"}',
    "deep": b'{"userKey":' + b"[" * 5_000 + b"]" * 5_000 + b',"deviceType":"iOS"}',
    "twice": rb'{"userKey":"u","userKey":"\ud800","deviceType":"iOS"}',
}
JSON_BUT_NO_OBJECT = {
    "null": b"null",
    "number": b"5",
    "string": b'"iOS"',
    "array": b"[" + EVENT + b"]",
    "true": b"true",
}
STRANGE_BUT_GOOD = {
    "utf-8-bom": b"\xef\xbb\xbf" + EVENT,
    "tiny-double": b'{"userKey":"u","deviceType":"iOS","x":1e-400}',
    "escapes": b'{"user\\u004bey":"\\u0075","deviceType":"i\\u004fS"}',
    "surrogate-pair": b'{"userKey":"\\ud83e\\udd89","deviceType":"iOS"}',
    "escaped-backslash": b'{"userKey":"a\\\\u0000b","deviceType":"iOS"}',
    "white-space": b' \r\n\t{ "userKey" : "u" , "deviceType" : "iOS" }\n',
    "last-of-two-wins": b'{"userKey":"","userKey":"u","deviceType":"iOS"}',
    "nul-in-a-key": rb'{"userKey":"u","deviceType":"iOS","a\u0000":1}',
    "surrogate-in-a-key": rb'{"userKey":"u","deviceType":"iOS","\ud800":1}',
} | {
    f"unread-{name}": b'{"userKey":"u","x":' + value + b',"deviceType":"iOS"}'
    for name, value in {
        "nul": rb'"\u0000"',
        "lone-surrogate": rb'"\udc00x"',
        "beyond-64-bits": b"9223372036854775808",
        "below-64-bits": b"-9223372036854775809",
        "60000-digits": b"7" * 60_000,
        "infinite-exponent": b"-1e999",
        "infinite-digits": b"9" * 400 + b".0",
        "21-deep": b"[" * 21 + b"]" * 21,
        "30000-deep": b"[" * 30_000 + b"]" * 30_000,
        "10000-objects-deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "everything": rb'[{"\ud800":[1e999,"\u0000",' + b"7" * 5_000 + b"," + b"[" * 300 + b"]" * 300 + b"]}]",
    }.items()
}


@pytest.fixture
def one_connection(product: Product) -> Iterator[httpx2.Client]:
    """A client that holds exactly one connection, and would fail rather than open another."""
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
    with httpx2.Client(base_url=product.public_url, limits=limits, timeout=20, trust_env=False) as client:
        yield client


def local_port(answer: httpx2.Response) -> int:
    """Which connection of ours an answer came by."""
    port: int = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
    return port


def assert_the_connection_is_good(client: httpx2.Client, hostile: httpx2.Response) -> None:
    plain = client.post("/Log/auth", content=EVENT, headers={"Content-Type": "application/json"})
    assert (plain.status_code, plain.json()) == (200, REGISTERED)
    assert local_port(plain) == local_port(hostile)


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_strict_json_is_422_and_the_next_request_succeeds(
    one_connection: httpx2.Client, body: bytes
) -> None:
    for path in ("/Log/auth", "/Log/auth/batch"):
        answer = one_connection.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, answer.text
        [problem] = answer.json()["detail"]
        assert (problem["type"], problem["loc"]) == ("json_invalid", ["body"])
        assert_the_connection_is_good(one_connection, answer)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_read_must_be_a_text(one_connection: httpx2.Client, body: bytes) -> None:
    answer = one_connection.post("/Log/auth", content=body)
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "userKey"]]
    assert_the_connection_is_good(one_connection, answer)


@pytest.mark.parametrize("body", JSON_BUT_NO_OBJECT.values(), ids=JSON_BUT_NO_OBJECT.keys())
def test_json_that_is_no_object_is_422(one_connection: httpx2.Client, body: bytes) -> None:
    answer = one_connection.post("/Log/auth", content=body)
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body"]]
    assert_the_connection_is_good(one_connection, answer)


@pytest.mark.parametrize("body", STRANGE_BUT_GOOD.values(), ids=STRANGE_BUT_GOOD.keys())
def test_what_is_strange_but_good_json_is_taken(
    one_connection: httpx2.Client, private: httpx2.Client, body: bytes
) -> None:
    for client, path in ((one_connection, "/Log/auth"), (private, "/Device/register")):
        answer = client.post(path, content=body, headers={"Idempotency-Key": str(uuid4())})
        assert (answer.status_code, answer.json()) == (200, REGISTERED)


@pytest.mark.parametrize(
    "content_type", [None, b"text/plain", b"application/x-www-form-urlencoded", b"nonsense", "é".encode()]
)
def test_the_content_type_does_not_matter_for_one_event(
    one_connection: httpx2.Client, content_type: bytes | None
) -> None:
    headers = {} if content_type is None else {b"Content-Type": content_type}
    assert one_connection.post("/Log/auth", content=EVENT, headers=headers).json() == REGISTERED


def padded(size: int) -> bytes:
    """An event of exactly `size` bytes."""
    body = b'{"userKey":"u","deviceType":"iOS","padding":""}'
    return body.replace(b'""', b'"' + b"p" * (size - len(body)) + b'"')


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("path", ["/Log/auth", "/Log/auth/batch"])
def test_a_body_of_the_limit_is_read_and_one_byte_more_is_413(
    one_connection: httpx2.Client, path: str, chunked: bool
) -> None:
    limit = 64 * KIB if path == "/Log/auth" else 4 * KIB * KIB

    def send(size: int) -> httpx2.Response:
        body = padded(size) if path == "/Log/auth" else b"[" + padded(size - 2) + b"]"
        assert len(body) == size
        return one_connection.post(path, content=iter([body[: size // 2], body[size // 2 :]]) if chunked else body)

    assert send(limit).status_code == 200
    answer = send(limit + 1)
    assert (answer.status_code, answer.json()) == (413, {"detail": f"The body is larger than {limit} bytes"})
    plain = one_connection.post("/Log/auth", content=EVENT)
    assert plain.json() == REGISTERED


def test_a_declared_length_beyond_the_limit_is_refused_before_the_body_is_sent(product: Product) -> None:
    with socket.create_connection(("127.0.0.1", product.public.port), timeout=5) as connection:
        connection.sendall(b"POST /Log/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


LINES = {"Content-Type": "application/x-ndjson"}


def test_a_compressed_body_is_recorded_by_every_route(
    public: httpx2.Client, private: httpx2.Client, product: Product
) -> None:
    compressed = {"Content-Encoding": "gzip"}
    one = json.dumps(event("compressed")).encode()
    for client, path in ((public, "/Log/auth"), (private, "/Device/register")):
        answer = client.post(path, content=gzip.compress(one), headers=compressed)
        assert (answer.status_code, answer.json()) == (200, REGISTERED)
    for body, headers in ((b"[%s,%s,%s]" % (one, one, one), {}), (b"\n".join([one] * 3), LINES)):
        answer = public.post("/Log/auth/batch", content=gzip.compress(body), headers=compressed | headers)
        assert answer.json() == {"registered": 3, "duplicate": 0, "rejected": 0, "results": []}
    assert facts_of(product.database, "compressed") == 8


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("br", EVENT, 415),
        ("gzip, gzip", gzip.compress(gzip.compress(EVENT)), 415),
        ("gzip", EVENT, 422),
        ("gzip", gzip.compress(EVENT)[:-1], 422),
        ("gzip", gzip.compress(EVENT) + EVENT, 422),
        ("gzip", gzip.compress(bytes(100 * 1024 * 1024)), 413),
    ],
    ids=["br", "twice", "not gzip", "cut", "more behind it", "a bomb"],
)
def test_a_compressed_body_that_cannot_be_decoded_is_refused_as_a_whole(
    one_connection: httpx2.Client, coding: str, body: bytes, status: int
) -> None:
    for path, headers in (("/Log/auth", {}), ("/Log/auth/batch", {}), ("/Log/auth/batch", LINES)):
        answer = one_connection.post(path, content=body, headers={"Content-Encoding": coding, **headers})
        assert answer.status_code == status
        assert (answer.headers.get("accept-encoding") == "gzip") == (status == 415)
        assert_the_connection_is_good(one_connection, answer)


@pytest.mark.parametrize("key", ["k", "k" * 255, "with space and ~!\"#$%&'()*+,-./:;<=>?@[]^_`{|}"])
def test_an_idempotency_key_of_printable_ascii_is_taken(one_connection: httpx2.Client, key: str) -> None:
    answer = one_connection.post("/Log/auth", content=EVENT, headers={"Idempotency-Key": key})
    assert answer.json() == REGISTERED


@pytest.mark.parametrize("path", ["/Log/auth", "/Log/auth/batch"])
@pytest.mark.parametrize("key", [b"", b"k" * 256, "ключ".encode(), b"\xff", b"tab\there"], ids=repr)
def test_any_other_idempotency_key_is_422_and_names_the_header(
    one_connection: httpx2.Client, path: str, key: bytes
) -> None:
    answer = one_connection.post(path, content=EVENT, headers={b"Idempotency-Key": key})
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["header", "Idempotency-Key"]
    assert problem["msg"] == "must be 1 to 255 printable ASCII characters"
    assert_the_connection_is_good(one_connection, answer)


@pytest.mark.parametrize("path", ["/Log/auth", "/Log/auth/batch", "/Device/register"])
def test_two_different_idempotency_keys_are_422_and_the_same_one_twice_is_one(
    public: httpx2.Client, private: httpx2.Client, product: Product, path: str
) -> None:
    client = private if path.startswith("/Device") else public
    marker = f"two-keys-{uuid4()}"
    body: object = [event(marker)] if path.endswith("batch") else event(marker)
    for keys in (["a", "b"], ["a", "a", "b"], ["a", ""]):
        answer = client.post(path, json=body, headers=[("Idempotency-Key", key) for key in keys])
        assert answer.status_code == 422
        assert [(each["loc"], each["msg"]) for each in answer.json()["detail"]] == [
            (["header", "Idempotency-Key"], "must be given once")
        ]
    assert facts_of(product.database, marker) == 0
    for keys in ([marker, marker], [marker]):
        client.post(path, json=body, headers=[("Idempotency-Key", key) for key in keys]).raise_for_status()
    assert facts_of(product.database, marker) == 1


def test_a_request_that_is_no_http_does_not_disturb_the_service(
    product: Product, one_connection: httpx2.Client
) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"POST /Log/auth HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", product.public.port), timeout=5) as connection:
            connection.sendall(garbage)
            assert connection.recv(4096)[:12] in (b"", b"HTTP/1.1 400")
    assert one_connection.post("/Log/auth", content=EVENT).json() == REGISTERED
