"""Decodes gzip bodies while they arrive, and refuses any other content coding."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from servicekit.errors import Invalid, UnsupportedMediaType
from servicekit.http.headers import headers

ACCEPT_ENCODING = ("gzip",)
# x-gzip is another name of gzip (RFC 9110, section 8.4.1.3).
_GZIP = frozenset({"gzip", "x-gzip"})
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS  # with gzip's header and checksum
_INPUT_BYTES_MAX = 16 * 1024
_OUTPUT_BYTES_MAX = 64 * 1024
# The decoder yields to the event loop after this many bytes, compressed and decoded ones together.
_BYTES_BETWEEN_TURNS = 64 * 1024
# Files of several gzip members are in use (bgzip, `cat a.gz b.gz`); a body of nothing but empty ones is an attack.
_MEMBERS_MAX = 1_000


def is_gzip(scope: Scope) -> bool:
    """Whether the body is compressed.

    Raises:
        UnsupportedMediaType: it is compressed with anything else than gzip, or twice.
    """
    lines = headers(scope, b"content-encoding")
    codings = [coding for line in lines for each in line.split(",") if (coding := each.strip().lower())]
    applied = [coding for coding in codings if coding != "identity"]
    if applied and (len(applied) > 1 or applied[0] not in _GZIP):
        raise UnsupportedMediaType("Content-Encoding must be gzip, once, or identity", ACCEPT_ENCODING)
    return bool(applied)


def gunzip(receive: Receive) -> Receive:
    """Return a `receive` that decodes the body in pieces of at most 64 KiB, each of them only on demand.

    So a caller that counts the pieces and stops at a limit has at most one piece too many in memory, however strongly
    the body is compressed. The returned function raises Invalid for a body that is not gzip.
    """
    pieces = _decoded(receive)
    is_over = False

    async def receive_decoded() -> Message:
        nonlocal is_over
        if is_over:
            return await receive()  # what comes after the body: that the client has gone away
        piece = await anext(pieces, None)
        is_over = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": not is_over}

    return receive_decoded


async def _decoded(receive: Receive) -> AsyncIterator[bytes]:
    gzip = _Gzip()
    done = 0
    async for chunk in _chunks(receive):
        for start in range(0, len(chunk), _INPUT_BYTES_MAX):
            gzip.feed(chunk[start : start + _INPUT_BYTES_MAX])
            while not gzip.is_hungry:
                piece = gzip.read()
                done += len(piece)
                if piece:
                    yield piece
                if done >= _BYTES_BETWEEN_TURNS:
                    await asyncio.sleep(0)
                    done = 0
            done += _INPUT_BYTES_MAX
    gzip.end()


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        if body := message.get("body", b""):
            yield body


class _Gzip:
    """Decodes gzip members, one after the other."""

    def __init__(self) -> None:
        self._input = b""
        self._members = 0
        self._member: zlib._Decompress | None = None  # None before the first member and after each
        self._is_output_full = False

    @property
    def is_hungry(self) -> bool:
        """Whether all input is decoded and read."""
        return not self._input and not self._is_output_full

    def feed(self, data: bytes) -> None:
        """Take more of the compressed body, after everything before it was read."""
        self._input = data

    def read(self) -> bytes:
        """Return at most `_OUTPUT_BYTES_MAX` of the decoded body.

        Raises:
            Invalid: this is not gzip.
        """
        if self._member is None:
            self._members += 1
            if self._members > _MEMBERS_MAX:
                raise Invalid.single(f"more than {_MEMBERS_MAX} gzip members")
            self._member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        try:
            piece = self._member.decompress(self._input, _OUTPUT_BYTES_MAX)
        except zlib.error as error:
            raise self._invalid(error) from None
        self._is_output_full = len(piece) == _OUTPUT_BYTES_MAX
        if self._member.eof:
            self._input = self._member.unused_data
            self._member, self._is_output_full = None, False
        else:
            self._input = self._member.unconsumed_tail
        return piece

    def end(self) -> None:
        """Check that the body ends with the end of a member.

        Raises:
            Invalid: the body ends inside a member.
        """
        if self._member is not None:
            raise Invalid.single("the gzip data end too early")

    def _invalid(self, error: zlib.error) -> Invalid:
        if "header" in str(error) and self._members > 1:
            return Invalid.single("something follows the end of the gzip data")
        if "header" in str(error):
            return Invalid.single("Content-Encoding says gzip, and the body is something else")
        return Invalid.single("the gzip data are damaged")
