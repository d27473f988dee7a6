"""Answers input that is not HTTP, and requests that a server must refuse (RFC 9112), with the product's own errors."""

import logging
import re
from http import HTTPStatus

import httptools
from typing_extensions import override

from servicekit.errors import BadRequest, DomainError, Internal
from servicekit.protocol.direct import DirectProtocol
from servicekit.protocol.error_answers import ErrorAnswer

# The limit for the request line and all headers of a request, and for the bytes between a body and the next request.
HEAD_BYTES_MAX = 64 * 1024


class HeadTooLarge(DomainError):
    """The request has more bytes before its body than the server accepts."""

    code = "head-too-large"
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


_log = logging.getLogger(__name__)
_NO_HOST = ErrorAnswer(BadRequest("HTTP/1.1 requires a Host header"))
_MANY_HOSTS = ErrorAnswer(BadRequest("there is more than one Host header"))
_MALFORMED_HOST = ErrorAnswer(BadRequest("the Host header must be a host name or an address, with or without a port"))
_MALFORMED_TARGET = ErrorAnswer(BadRequest("the request target is not a valid URL, or is longer than 65,535 bytes"))
_TOO_LARGE = ErrorAnswer(HeadTooLarge(f"the request line and headers are larger than {HEAD_BYTES_MAX} bytes"))
_BUG = ErrorAnswer(Internal("Internal Server Error"))
# RFC 3986, section 3.2.2, without user information; empty where the target has no host.
_HOST = re.compile(rb"(\[[0-9A-Za-z:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")


class StrictHttpProtocol(DirectProtocol):
    """Answers a malformed request and closes its connection, and bounds the size of a head.

    uvicorn answers in plain text, accepts HTTP/1.1 without a Host header or with two, and stores headers of any size.
    """

    _valid_host: bytes | None = None
    _is_head_complete = False
    _read_bytes = 0
    # The bytes of the read that began this request, and of the later reads that brought neither the end of its head nor
    # a part of its body.
    _begin_bytes = _pending_bytes = 0

    @override
    def data_received(self, data: bytes) -> None:
        """As uvicorn's, without web sockets."""
        self._read_bytes = len(data)
        self._pending_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._answer_parser_error(error)
        except httptools.HttpParserUpgrade:
            pass  # no other protocol is spoken here, and the request was served in this one
        if self._pending_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._end_with_error(_TOO_LARGE)

    @override
    def on_message_begin(self) -> None:
        self._is_head_complete = False
        self._begin_bytes, self._pending_bytes = self._read_bytes, 0
        super().on_message_begin()

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer must not be mistaken for a header (RFC 9110, section 6.5.1).
        if not self._is_head_complete:
            self.headers.append((name.lower(), value))

    @override
    def on_headers_complete(self) -> None:
        self._is_head_complete = True
        if not self.url.startswith(b"/"):
            self.url = _with_path(self.url)
        self._header_map = dict(self.headers)
        self.expect_100_continue = self._header_map.get(b"expect", b"").lower() == b"100-continue"
        problem = self._problem_of_head()
        self._pending_bytes = 0
        if problem is None:
            super().on_headers_complete()
            return
        # The error is sent in a task, because the requests before it are answered first.
        app, self.app = self.app, self._error_app(problem)
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    @override
    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        super().on_body(body)

    def _problem_of_head(self) -> ErrorAnswer | None:
        host = self._header_map.get(b"host")
        if len(self._header_map) != len(self.headers) and [name for name, _ in self.headers].count(b"host") > 1:
            return _MANY_HOSTS
        if host is None:
            if self.parser.get_http_version() == "1.1":
                return _NO_HOST
        elif host != self._valid_host:
            if not _HOST.fullmatch(host):
                return _MALFORMED_HOST
            self._valid_host = host
        if self._begin_bytes + self._pending_bytes > HEAD_BYTES_MAX:  # requests before it may be counted
            head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if head_bytes > HEAD_BYTES_MAX:
                return _TOO_LARGE
        return None

    def _answer_parser_error(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if not isinstance(error, httptools.HttpParserCallbackError):
            self._end_with_error(ErrorAnswer(BadRequest(f"this is not HTTP: {error}")))
        elif isinstance(cause, httptools.HttpParserInvalidURLError | UnicodeDecodeError):
            self._end_with_error(_MALFORMED_TARGET)
        else:
            _log.error("a callback of the parser failed", exc_info=cause)
            self._end_with_error(_BUG)


def _with_path(target: bytes) -> bytes:
    """An absolute URL without a path means the path `/` (RFC 9112, section 3.2.1), which uvicorn needs to be there."""
    url = httptools.parse_url(target)
    return target if url.path else b"/" + (b"?" + url.query if url.query else b"")
