"""Streams an export: one call of the private service after the other, each as soon as the client has taken the last.

Between two calls, nothing but the position is kept. So a client that is slow, or gone, occupies a slot here and no
connection and no transaction anywhere.
"""

import asyncio
import logging
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from contract.exports import (
    CURSOR,
    CURSOR_HEADER,
    END_HEADER,
    FORMAT,
    MEDIA_TYPES,
    ROWS_BEFORE,
    ROWS_HEADER,
    ExportFormat,
)
from servicekit.errors import DomainError, NotRecorded, Overloaded
from servicekit.http.accept import accepts_coding
from servicekit.middleware.normalization import IS_HEAD
from servicekit.process import drain
from statistics_api.access.documentation import VARY
from statistics_api.administration.client import call
from statistics_api.administration.relaying import NOT_STORED

# At once, in one process; each has about two pages of 4 MiB in memory.
EXPORTS_MAX = 4
# A failure of what the service needs is waited for; then the export is cut off, and the client goes on later.
REPEAT_SECONDS_MAX = 20.0
REPEAT_PAUSE_SECONDS = 1.0
# A key that was revoked ends the export within this time and that of one page.
AUTHORIZED_SECONDS = 15.0
# What is written at a time: little enough that a slow client always takes something within the stall time-out.
_WRITTEN_BYTES = 64 * 1024
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
# The first level takes a third of the processor time of the usual one, for a tenth more bytes.
_GZIP_LEVEL = 1

_log = logging.getLogger(__name__)


class Slots:
    """How many exports a process serves at once."""

    def __init__(self, exports_max: int = EXPORTS_MAX) -> None:
        self._free = exports_max
        self._exports_max = exports_max

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have one of them during the block. Raises Overloaded."""
        if not self._free:
            raise Overloaded(f"{self._exports_max} exports are running here; try again when one has ended")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class Export(NamedTuple):
    """What a client asked for; `query` has the parameters of the first page, and `authorize` refuses as before it."""

    kind: str
    project_id: int
    as_format: ExportFormat
    query: Mapping[str, str]
    authorize: Callable[[], Awaitable[object]]


class _Page(NamedTuple):
    content: bytes
    cursor: str
    is_end: bool
    # Of this page and of those before.
    rows: str


class ExportResponse(Response):
    """The response with an export. It is refused as any other one before its first page, and cut off after that."""

    def __init__(self, request: Request, export: Export, slots: Slots) -> None:
        self._request = request
        self._export = export
        self._slots = slots
        self._compressor = (
            zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW_BITS) if accepts_coding(request.scope, "gzip") else None
        )
        name = f"{export.kind}.{export.as_format}"
        sent = NOT_STORED | {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Vary": f"Accept, Accept-Encoding, {VARY['Vary']}",
        }
        coding = {} if self._compressor is None else {"Content-Encoding": "gzip"}
        super().__init__(None, 200, sent | coding, media_type=MEDIA_TYPES[export.as_format])
        del self.headers["content-length"]

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._slots.taken():
            first = await self._read(self._export.query)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if IS_HEAD in scope:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            async for content in self._pages(first):
                for start in range(0, len(content), _WRITTEN_BYTES):
                    piece = content[start : start + _WRITTEN_BYTES]
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pages(self, page: _Page) -> AsyncIterator[bytes]:
        authorized_at = time.monotonic()
        while True:
            yield await asyncio.to_thread(self._coded, page)
            if page.is_end:
                return
            if drain.is_draining() or await self._request.is_disconnected():
                raise ClientDisconnect
            try:
                if time.monotonic() - authorized_at > AUTHORIZED_SECONDS:
                    await self._export.authorize()
                    authorized_at = time.monotonic()
                page = await self._read_patiently({CURSOR: page.cursor, ROWS_BEFORE: page.rows})
            except DomainError as error:
                # There is no other way to tell the client: the status is sent. It has the last checkpoint.
                _log.warning("an export of %s is cut off: %s", self._export.kind, error)
                raise ClientDisconnect from error

    async def _read_patiently(self, query: Mapping[str, str]) -> _Page:
        ends = time.monotonic() + REPEAT_SECONDS_MAX
        while True:
            try:
                return await self._read(query)
            except NotRecorded:
                if time.monotonic() > ends or drain.is_draining():
                    raise
            await asyncio.sleep(REPEAT_PAUSE_SECONDS)

    async def _read(self, query: Mapping[str, str]) -> _Page:
        export = self._export
        place = ("exports", str(export.project_id), export.kind)
        answer = await call(self._request, "GET", *place, query={FORMAT: export.as_format, **query})
        headers = answer.headers
        return _Page(answer.content, headers[CURSOR_HEADER], headers[END_HEADER] == "true", headers[ROWS_HEADER])

    def _coded(self, page: _Page) -> bytes:
        if self._compressor is None:
            return page.content
        # With each page, so that a client has its checkpoint at once.
        coded = self._compressor.compress(page.content)
        return coded + self._compressor.flush(zlib.Z_FINISH if page.is_end else zlib.Z_SYNC_FLUSH)
