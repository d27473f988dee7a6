"""One line a request: JSON for machines, readable text on a terminal. Whoever counts requests is told of them here.

The lines are formatted here and not by the logging library, because this runs for every request. Requests are gathered,
and their lines are written together, at most `WRITE_SECONDS` late. A killed process loses the lines of that time.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO, TypeAlias

from pydantic_core import to_json

WRITE_SECONDS = 0.01
_LEVEL_BY_CLASS = {2: "info", 3: "info", 4: "info", 5: "error"}


# When it was answered (seconds since the epoch), method, path, its route, status, seconds, request id, further fields.
_Request: TypeAlias = tuple[float, str, str, str, int, float, str, dict[str, object]]
# Its method, route and status.
_COUNTED_TOGETHER = itemgetter(1, 3, 4)
# Is told of requests that have these in common: method, route ("" if no route has the path), status. Then the seconds
# of each.
Observer: TypeAlias = Callable[[str, str, int, list[float]], None]


class RequestLog:
    """Writes the request log. It never logs bodies, query strings, headers or addresses; JSON escapes the path."""

    def __init__(
        self, service: str, *, as_json: bool, stream: BinaryIO | None = None, observe: Observer = lambda *_: None
    ) -> None:
        self._observe = observe
        self._service = service
        self._format = self._json if as_json else self._text
        self._stream = stream or sys.stdout.buffer
        self._requests: list[_Request] = []

    def write(
        self,
        method: str,
        path: str,
        route: str,
        status: int,
        seconds: float,
        request_id: str,
        fields: dict[str, object],
    ) -> None:
        """Log one request; `status` 0 means that the client disconnected before the answer.

        The method and the id have no character that JSON escapes: the parser and RequestContextMiddleware ensure this.
        """
        if not self._requests:
            asyncio.get_running_loop().call_later(WRITE_SECONDS, self.flush)
        self._requests.append((time.time(), method, path, route, status, seconds, request_id, fields))

    def flush(self) -> None:
        """Write the lines of the gathered requests, after they were counted: a full pipe may keep the lines waiting."""
        requests, self._requests = self._requests, []
        # Under load many requests in a row have these in common.
        for (method, route, status), group in groupby(requests, key=_COUNTED_TOGETHER):
            self._observe(method, route, status, [request[5] for request in group])
        self._stream.write("".join(map(self._format, requests)).encode())
        self._stream.flush()

    def _json(self, request: _Request) -> str:
        at, method, path, _, status, seconds, request_id, fields = request
        extra = f",{_encoded(fields)[1:-1]}" if fields else ""
        return (
            f'{{"time":"{_utc(at)}","level":"{_LEVEL_BY_CLASS.get(status // 100, "warning")}",'
            f'"service":"{self._service}","event":"request","request_id":"{request_id}","method":"{method}",'
            f'"path":{_encoded_path(path)},"status":{status},"milliseconds":{seconds * 1000:.2f}{extra}}}\n'
        )

    def _text(self, request: _Request) -> str:
        at, method, path, _, status, seconds, request_id, fields = request
        # ascii() leaves no control character that could forge a line or move the cursor.
        extra = "".join(f" {key}={value!a}" for key, value in fields.items())
        return (
            f"{_utc(at)} {self._service:<24} {method} {ascii(path)[1:-1]} {status} {seconds * 1000:.1f} ms"
            f" id={request_id}{extra}\n"
        )


def _utc(at: float) -> str:
    second = int(at)
    return f"{_utc_second(second)}.{int((at - second) * 1_000_000):06d}Z"


@lru_cache(maxsize=4)
def _utc_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=256)
def _encoded_path(path: str) -> str:
    return _encoded(path)


def _encoded(value: object) -> str:
    # No other control characters and line separators than those that JSON escapes anyway.
    return to_json(value, ensure_ascii=True).decode()
