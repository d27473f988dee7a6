"""One line a request: JSON for machines, readable text on a terminal.

Written by hand and not by the logging library, because this runs for every request. Lines are written at most
`WRITE_SECONDS` late, many in one system call; a killed process loses those few.
"""

import asyncio
import sys
from datetime import UTC, datetime
from typing import BinaryIO

from pydantic_core import to_json

WRITE_SECONDS = 0.01
_LEVEL_BY_CLASS = {2: "info", 3: "info", 4: "info", 5: "error"}


class RequestLog:
    """Never logs bodies, query strings, headers or addresses; JSON escapes whatever a path contains."""

    def __init__(self, service: str, *, as_json: bool, stream: BinaryIO | None = None) -> None:
        self._service = service
        self._format = self._json if as_json else self._text
        self._stream = stream or sys.stdout.buffer
        self._lines: list[bytes] = []

    def write(
        self, method: str, path: str, status: int, seconds: float, request_id: str, fields: dict[str, object]
    ) -> None:
        """Log one request; `status` 0 means that the client went away before an answer."""
        if not self._lines:
            asyncio.get_running_loop().call_later(WRITE_SECONDS, self.flush)
        self._lines.append(self._format(method, path, status, seconds, request_id, fields))

    def flush(self) -> None:
        """Write what has gathered."""
        lines, self._lines = self._lines, []
        self._stream.write(b"".join(lines))
        self._stream.flush()

    def _json(
        self, method: str, path: str, status: int, seconds: float, request_id: str, fields: dict[str, object]
    ) -> bytes:
        return (
            to_json(
                {
                    "time": datetime.now(UTC),
                    "level": _LEVEL_BY_CLASS.get(status // 100, "warning"),
                    "service": self._service,
                    "event": "request",
                    "request_id": request_id,
                    "method": method,
                    "path": path,
                    "status": status,
                    "milliseconds": round(seconds * 1000, 2),
                    **fields,
                },
                ensure_ascii=True,  # no other control characters and line separators than those JSON escapes anyway
            )
            + b"\n"
        )

    def _text(
        self, method: str, path: str, status: int, seconds: float, request_id: str, fields: dict[str, object]
    ) -> bytes:
        # ascii() leaves no control character that could forge a line or move the cursor.
        extra = "".join(f" {key}={value!a}" for key, value in fields.items())
        line = (
            f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {self._service:<24} {method} {ascii(path)[1:-1]} {status}"
            f" {seconds * 1000:.1f} ms id={request_id}{extra}\n"
        )
        return line.encode()
