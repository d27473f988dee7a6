"""Posts one batch over http.client and reads what the answer means."""

import gzip
import http.client
import json
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from device_statistics_track.backlog import Answer, Batch, Verdict
from device_statistics_track.settings import Settings

# For connecting, and for each wait for bytes.
TIMEOUT_SECONDS = 10.0
# The answer as a whole.
ANSWER_SECONDS_MAX = 30.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024
_READ_BYTES = 64 * 1024
# One level already makes the JSON of requests ten times smaller, in a third of the time of level 6.
_GZIP_LEVEL = 1

_RETRY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_UNWANTED = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.GONE,
}


class Transport:
    """Sends batches to one receiver over a kept connection. It follows no redirect: that would carry the key away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: http.client.HTTPConnection | None = None

    def post(self, batch: Batch) -> Answer:
        """Return the receiver's answer; a failure of the connection is one of them."""
        body = gzip.compress(batch.body, _GZIP_LEVEL)
        kept = self._connection is not None
        try:
            try:
                return self._exchange(batch, body)
            except (ConnectionError, http.client.BadStatusLine):
                if not kept:
                    raise
                # A kept connection may have ended since the last batch. The same ids make a repeat harmless.
                self._close()
                return self._exchange(batch, body)
        except (OSError, http.client.HTTPException) as error:
            # http.client reads a port, a chunk's size and a content length with errors of these two kinds only.
            self._close()
            return Answer(Verdict.RETRY, type(error).__name__)

    def _exchange(self, batch: Batch, body: bytes) -> Answer:
        connection = self._connected()
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
            "Accept": "application/json",
            "User-Agent": "device-statistics-track",
            "X-API-Key": self._settings.api_key,
            "Idempotency-Key": batch.id,
        }
        if batch.dropped:
            headers["X-Dropped-Events"] = str(batch.dropped)
        connection.request("POST", self._settings.path, body, headers)
        response = connection.getresponse()
        content = _read(response)
        if response.will_close:
            self._close()
        return _answer_of(response, content, len(batch.lines))

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            settings = self._settings
            kind = http.client.HTTPSConnection if settings.scheme == "https" else http.client.HTTPConnection
            connection = kind(settings.host, settings.port, timeout=TIMEOUT_SECONDS)
            connection.connect()
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _read(response: http.client.HTTPResponse) -> bytes:
    """Read the whole answer.

    Raises:
        TimeoutError, http.client.HTTPException: it takes too long, is too large, or ends too early.
    """
    end = time.monotonic() + ANSWER_SECONDS_MAX
    content = bytearray()
    while block := response.read1(_READ_BYTES):
        content += block
        if len(content) > ANSWER_BYTES_MAX:
            raise http.client.HTTPException("the answer is too large")
        if time.monotonic() > end:
            raise TimeoutError("the answer took too long")
    if not response.isclosed():
        response.read()  # marks the answer as read, or raises when it is shorter than its Content-Length
    return bytes(content)


def _answer_of(response: http.client.HTTPResponse, content: bytes, count: int) -> Answer:
    status = response.status
    reason = f"status {status}"
    if status == HTTPStatus.OK:
        rejected = _rejected_items(content, count)
        if rejected is None:
            return Answer(Verdict.RETRY, "an answer that is not a batch's")
        return Answer(Verdict.ACCEPTED, rejected=rejected)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRY or status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer(Verdict.RETRY, reason, _retry_after_seconds(response.getheader("Retry-After")))
    if status in _UNWANTED or status < HTTPStatus.BAD_REQUEST:
        return Answer(Verdict.UNWANTED, reason)
    return Answer(Verdict.REFUSED, reason)


def _rejected_items(content: bytes, count: int) -> int | None:
    """Return how many items were refused; None when this is not the answer to a batch of that size."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    numbers = [answer.get(name) for name in ("registered", "duplicate", "rejected")]
    counts = [number for number in numbers if isinstance(number, int) and number >= 0]
    return counts[2] if len(counts) == len(numbers) and sum(counts) == count else None


def _retry_after_seconds(value: str | None) -> float:
    """Read Retry-After, which is seconds or a date; 0 when it is absent or unreadable."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=timezone.utc)
    return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())
