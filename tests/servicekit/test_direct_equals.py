"""Whatever a client sends, in whatever pieces: with and without direct routes the answers are the same."""

import asyncio
import io
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servicekit.protocol.application import ServedApplication
from tests.servicekit import small_direct
from tests.servicekit.in_process import connect
from tests.servicekit.small_service import LIFESPAN_STATE, build

SETTLE_SECONDS_MAX = 5.0
SEEN_EACH_WAY_MIN = 30
BODIES = [b'{"how":"%s"}' % how for how in (b"", b"at once", b"slow", b"away", b"reused", b"bug", b"unreadable")]
ODD_BODIES = [b"", b"{", b"[]", b"null", b'{"how":1}', b'{"how":"a","how":"slow"}', b'{"how":"a","b":[]}', b"\xff"]
HEADERS = [b"connection: keep-alive", b'if-none-match: "1"', b'if-none-match: "2"', b"if-none-match: \xff",
           b"x-request-id: mine", b"x-request-id: not one", b"x-other: 1", b"x-another: 1"]  # fmt: skip
ODD_HEADERS = [b"connection: close", b"content-encoding: identity", b"origin: https://page.example", b"host: another",
               b"expect: 100-continue"]  # fmt: skip
TARGETS = [b"/direct", b"/direct/of/a", b"/direct/of/*", b"/direct/count", b"/direct/count?how=slow",
           b"/direct/count?how=away", b"/direct/count?how=bug", b"/direct/often/count", b"/direct/often/count?how=slow",
           b"/direct/often/count?how=bug"]  # fmt: skip
ODD_TARGETS = [b"/direct/", b"/direct?a=b", b"/direct/count?", b"/direct/count?how=%61", b"/direct/count?other=1",
               b"/direct/count?how=a&how=b", b"/direct%2Fcount", b"//direct", b"/plain", b"http://test/direct",
               b"/direct/of/", b"/direct/of/a/", b"/direct/of/%61", b"/direct/of/\xc3\xa9",
               b"/direct/of/a/b", b"/direct/often/count/", b"/direct/often/count?", b"/direct/often/count?how=away",
               b"/direct/seldom/count"]  # fmt: skip


def mostly(usual: list[bytes], odd: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.integers(0, 15).flatmap(lambda number: st.sampled_from(odd if number == 9 else usual))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    target = draw(mostly(TARGETS, ODD_TARGETS))
    own = b"GET" if b"count" in target else b"POST"
    method = draw(mostly([own], [b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT"]))
    version = draw(mostly([b"1.1"], [b"1.0"]))
    headers = draw(mostly([b"host: test"], [b"", b"host: a b"]))
    for header in draw(st.lists(mostly(HEADERS, ODD_HEADERS), max_size=2)):
        headers += b"\r\n" + header
    body = b""
    if method in (b"POST", b"PUT") or draw(st.integers(0, 9)) == 0:
        body = draw(mostly(BODIES, ODD_BODIES))
        if draw(st.integers(0, 9)) == 0:
            headers += b"\r\ntransfer-encoding: chunked"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        else:
            headers += b"\r\ncontent-length: %d" % len(body)
    return b"%s %s HTTP/%s\r\n%s\r\n\r\n%s" % (method, target, version, headers.strip(), body)


class Seen(NamedTuple):
    """What a client and the log's reader see, but for what differs from one second to the next."""

    written: bytes
    is_closed: bool
    lines: list[dict[str, Any]]


def without_what_differs(written: bytes) -> tuple[bytes, int]:
    """With headers in order of their names; without dates, the server's own ids and the mark of the direct lane."""
    kept = []
    for answer in re.split(rb"(?=HTTP/1\.1 \d{3} )", written):
        head, end, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        differing = (b"date: ", b"x-request-id: 0", b"x-direct: ")
        kept += [status, *sorted(line for line in lines if not line.startswith(differing)), end, body]
    return b"\r\n".join(kept), written.count(b"\r\nx-direct: ")


async def see(app: ServedApplication, log: io.BytesIO, pieces: list[bytes]) -> tuple[Seen, int]:
    log.seek(0)
    log.truncate()
    protocol, transport = connect(app, state=LIFESPAN_STATE)
    for piece in pieces:
        if not transport.is_closing():
            protocol.data_received(piece)
            await asyncio.sleep(0)
    async with asyncio.timeout(SETTLE_SECONDS_MAX):
        while protocol.tasks or protocol._request_in_flight() is not None:  # noqa: SLF001 - nobody else knows
            await asyncio.sleep(0)
            if transport.is_closing():
                break
        is_closed = transport.is_closing()
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)
    app.log.flush()
    written, direct = without_what_differs(b"".join(transport.writes))
    kept = ("method", "path", "status", "level", "event")
    lines: list[Mapping[str, Any]] = [json.loads(line) for line in log.getvalue().splitlines()]
    return Seen(written, is_closed, [{name: line[name] for name in kept} for line in lines]), direct


@pytest.fixture
def two_ways(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ServedApplication, io.BytesIO]]:
    monkeypatch.setattr(small_direct, "SLOW_SECONDS", 0)
    logs = [io.BytesIO(), io.BytesIO()]
    return [(build(directly=way, log=log), log) for way, log in zip((True, False), logs, strict=True)]


@settings(max_examples=400, deadline=None)
@given(whole=st.lists(requests(), min_size=1, max_size=3), cuts=st.lists(st.integers(0, 600), max_size=4))
def both_ways(
    two_ways: list[tuple[ServedApplication, io.BytesIO]], taken: list[int], whole: list[bytes], cuts: list[int]
) -> None:
    everything = b"".join(whole)
    edges = [0, *sorted(each for each in cuts if each < len(everything)), len(everything)]
    pieces = [everything[begin:end] for begin, end in itertools.pairwise(edges) if begin < end]

    async def run() -> tuple[tuple[Seen, int], tuple[Seen, int]]:
        (direct, direct_log), (long, long_log) = two_ways
        return await see(direct, direct_log, pieces), await see(long, long_log, pieces)

    (directly, count), (the_long_way, none) = asyncio.run(run())
    assert directly == the_long_way
    assert none == 0
    taken[0] += count
    taken[1] += directly.written.count(b"HTTP/1.1 ")


def test_both_ways_answer_the_same(two_ways: list[tuple[ServedApplication, io.BytesIO]]) -> None:
    taken = [0, 0]
    both_ways(two_ways, taken)
    direct, answers = taken
    # Else this would show nothing. Their share is another one in each run, and a tenth in some.
    assert min(direct, answers - direct) >= SEEN_EACH_WAY_MIN
