"""Compressed bodies: gzip is decoded within the limits of any body, everything else is refused with the reason."""

import asyncio
import gzip
import json
import random
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from servicekit.errors import Invalid
from servicekit.middleware.body_limits import BODY_BYTES_MAX
from servicekit.middleware.content_encoding import gunzip
from tests.processor_time import least_seconds
from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.raw_http import Answer
from tests.servicekit.small_service import LARGE_BYTES_MAX

TURN_SECONDS_MAX = 0.05
BATCH_BYTES_MAX = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small()


def post(small: SmallService, path: str, body: bytes, *codings: str) -> Answer:
    lines = "".join(["Content-Type: application/json\r\n", *(f"Content-Encoding: {each}\r\n" for each in codings)])
    with small.connect() as connection:
        answer = connection.ask("POST", path, headers=lines.encode(), body=body)
        assert connection.ask("GET", "/plain").status == 200, "the connection is good for the next request"
        return answer


@pytest.mark.parametrize(
    "codings", [["gzip"], ["GZIP"], ["x-gzip"], ["identity, gzip"], ["gzip", "identity"], [" gzip ,"]]
)
def test_gzip_is_decoded(small: SmallService, codings: list[str]) -> None:
    body = json.dumps({"a": [1, 2.5, "é"]}).encode()
    assert post(small, "/json", gzip.compress(body), *codings).json == {"a": [1, 2.5, "é"]}
    assert post(small, "/things/a/batch", gzip.compress(body), *codings).json["bytes"] == len(body)
    assert post(small, "/framework", gzip.compress(b"[1,2]"), *codings).json == {"items": 2}


@pytest.mark.parametrize("codings", [[], [""], ["identity"], ["Identity", "identity"]])
def test_a_body_that_is_not_compressed_is_taken_as_it_is(small: SmallService, codings: list[str]) -> None:
    assert post(small, "/json", b'{"a":1}', *codings).json == {"a": 1}


@pytest.mark.parametrize(
    "codings", [["br"], ["deflate"], ["zstd"], ["compress"], ["gzip, br"], ["gzip", "gzip"], ["gzip;q=1"], ["utf-8"]]
)
def test_another_coding_is_415_and_says_which_is_taken(small: SmallService, codings: list[str]) -> None:
    for path in ("/json", "/large", "/framework"):
        answer = post(small, path, gzip.compress(b"{}"), *codings)
        assert answer.status == 415
        assert answer.headers["accept-encoding"] == "gzip"
        assert answer.json["detail"] == "Content-Encoding must be gzip, once, or identity"


GOOD = gzip.compress(b'{"a":1}')
BROKEN = {
    "plain text": (b'{"a":1}', "Content-Encoding says gzip, and the body is something else"),
    "zlib": (zlib.compress(b'{"a":1}'), "Content-Encoding says gzip, and the body is something else"),
    "the checksum is wrong": (GOOD[:-8] + b"1234" + GOOD[-4:], "the gzip data are damaged"),
    "the length is wrong": (GOOD[:-4] + b"1234", "the gzip data are damaged"),
    "the data are wrong": (GOOD[:10] + b"\xff" * 9 + GOOD[19:], "the gzip data are damaged"),
    "cut in the header": (GOOD[:5], "the gzip data end too early"),
    "cut in the data": (GOOD[:-9], "the gzip data end too early"),
    "cut in the checksum": (GOOD[:-1], "the gzip data end too early"),
    "something behind it": (GOOD + b'{"a":2}', "something follows the end of the gzip data"),
    "zeros behind it": (GOOD + b"\0\0", "something follows the end of the gzip data"),
    "half a member behind it": (GOOD + GOOD[:9], "the gzip data end too early"),
    "countless members": (gzip.compress(b"", mtime=0) * 1_001 + GOOD, "more than 1000 gzip members"),
}


@pytest.mark.parametrize(("body", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_is_not_gzip_is_422_and_says_why(small: SmallService, body: bytes, why: str) -> None:
    for path in ("/json", "/large", "/framework"):
        answer = post(small, path, body, "gzip")
        assert answer.status == 422
        assert [(each["loc"], each["msg"]) for each in answer.json["detail"]] == [(["body"], why)]


def test_several_members_are_one_body(small: SmallService) -> None:
    assert post(
        small, "/json", gzip.compress(b"[1,") + gzip.compress(b"", mtime=0) + gzip.compress(b"2]"), "gzip"
    ).json == [
        1,
        2,
    ]


@pytest.mark.parametrize("body", [b"", gzip.compress(b"", mtime=0)])
def test_nothing_is_an_empty_body(small: SmallService, body: bytes) -> None:
    assert post(small, "/size", body, "gzip").json == {"bytes": 0}
    assert post(small, "/json", body, "gzip").status == 422


@pytest.mark.parametrize(("path", "bytes_max"), [("/size", BODY_BYTES_MAX), ("/large", LARGE_BYTES_MAX)])
def test_the_limit_holds_for_what_a_body_becomes(small: SmallService, path: str, bytes_max: int) -> None:
    assert post(small, path, gzip.compress(bytes(bytes_max)), "gzip").json == {"bytes": bytes_max}
    for size in (bytes_max + 1, 100 * bytes_max):
        refused = post(small, path, gzip.compress(bytes(size)), "gzip")
        assert (refused.status, refused.json) == (413, {"detail": f"The body is larger than {bytes_max} bytes"})


def test_the_limit_holds_for_what_arrives(small: SmallService) -> None:
    useless = (
        gzip.compress(b"", mtime=0)[:10] + b"\x00\x00\x00\xff\xff" * BODY_BYTES_MAX
    )  # empty blocks: nothing comes of them
    assert post(small, "/size", useless, "gzip").status == 413
    with small.connect() as connection:
        connection.send(
            b"POST /size HTTP/1.1\r\nhost: test\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(useless), useless))
        assert connection.answer().status == 413


def test_a_framework_that_reads_the_body_does_not_make_its_own_error_of_it(small: SmallService) -> None:
    assert post(small, "/framework", gzip.compress(b" " * (BODY_BYTES_MAX + 1)), "gzip").status == 413
    with small.connect() as connection:
        connection.send(b"POST /framework HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (BODY_BYTES_MAX + 1, b" " * (BODY_BYTES_MAX + 1)))
        assert connection.answer().status == 413


def test_what_a_body_becomes_counts_as_in_flight(start_small: StartSmall) -> None:
    small = start_small(IN_FLIGHT_BODY_BYTES_MAX=str(LARGE_BYTES_MAX // 2))
    assert post(small, "/large", gzip.compress(bytes(LARGE_BYTES_MAX // 2)), "gzip").status == 200
    refused = post(small, "/large", gzip.compress(bytes(LARGE_BYTES_MAX // 2 + 1)), "gzip")
    assert (refused.status, refused.json["code"]) == (503, "not-recorded")
    assert post(small, "/large", gzip.compress(bytes(LARGE_BYTES_MAX // 2)), "gzip").status == 200, "given back"


class Sender:
    """A client that sends `body` in pieces, and what has been made of it so far."""

    def __init__(self, body: bytes, cuts: Sequence[int] = ()) -> None:
        edges = [0, *sorted(cuts), len(body)]
        self._parts = [body[start:end] for start, end in pairwise(edges)]
        self.taken = 0

    async def receive(self) -> Message:
        part = self._parts[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": part, "more_body": self.taken < len(self._parts)}

    async def read(self, bytes_max: int = BATCH_BYTES_MAX) -> bytes:
        """The decoded body; a longer one as far as it was asked for."""
        receive = gunzip(self.receive)
        read = b""
        while len(read) <= bytes_max:
            message = await receive()
            read += message["body"]
            if not message["more_body"]:
                break
        return read


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.data())
def test_any_body_arrives_whole_however_it_is_cut(members: list[bytes], data: st.DataObject) -> None:
    body = b"".join(map(gzip.compress, members))
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=5))
    assert asyncio.run(Sender(body, cuts).read()) == b"".join(members)


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=1, max_size=100), st.data())
def test_no_shortened_body_is_taken(content: bytes, data: st.DataObject) -> None:
    body = gzip.compress(content)
    end = data.draw(st.integers(1, len(body) - 1))
    with pytest.raises(Invalid, match="end too early"):
        asyncio.run(Sender(body[:end]).read())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_decoded_or_refused_and_nothing_else(body: bytes, looks_right: bool) -> None:
    if looks_right:
        body = GOOD[:10] + body
    try:
        decoded = asyncio.run(Sender(body).read())
    except Invalid:
        return
    assert decoded == (gzip.decompress(body) if body else b"")


async def test_a_bomb_is_not_inflated_beyond_the_limit() -> None:
    bomb = gzip.compress(bytes(1 << 30), 1)
    sender = Sender(bomb, range(0, len(bomb), 64 * 1024))
    begun = time.perf_counter()
    read = await sender.read(BODY_BYTES_MAX)

    assert BODY_BYTES_MAX < len(read) <= BODY_BYTES_MAX + 64 * 1024
    assert sender.taken <= 2, "what comes behind is not even asked for"
    assert time.perf_counter() - begun < 1


SLOW_BODIES = {
    "zeros": gzip.compress(bytes(BATCH_BYTES_MAX)),
    "noise": gzip.compress(random.Random(1).randbytes(BATCH_BYTES_MAX - 4096)),  # noqa: S311 - not a secret
    "lines": gzip.compress(b"".join(b'{"userKey":"user-%d","deviceType":"iOS"}\n' % n for n in range(90_000))),
    "empty blocks": gzip.compress(b"", mtime=0)[:10] + b"\x00\x00\x00\xff\xff" * 800_000,
    "small members": gzip.compress(b"x") * 900,
}


@pytest.mark.parametrize("body", SLOW_BODIES.values(), ids=SLOW_BODIES.keys())
def test_others_have_their_turn_meanwhile(body: bytes) -> None:
    seconds_max = TURN_SECONDS_MAX / 10
    assert 0 < least_seconds(lambda: asyncio.run(_longest_turn(body)), enough=seconds_max) < seconds_max


async def _longest_turn(body: bytes) -> float:
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()  # of this process alone: other work on the machine does not count
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    with suppress(Invalid):
        await Sender(body).read()
    await asyncio.sleep(0)
    looking.cancel()
    return longest
