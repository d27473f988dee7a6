"""HTTP by hand over one connection: nothing is corrected, repeated or reconnected on the way."""

import io
import json
import socket
from http.client import HTTPResponse
from typing import Any, cast

from typing_extensions import override

ANSWER_SECONDS_MAX = 10.0


class Answer:
    """A response that was read to its end."""

    def __init__(self, response: HTTPResponse) -> None:
        response.begin()
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        return json.loads(self.body)


class _SharedReader(io.BufferedReader):
    """What is read ahead belongs to the next response: HTTPResponse closes its file at the end of a body."""

    @override
    def close(self) -> None:
        pass

    def makefile(self, _: str) -> "_SharedReader":
        """What HTTPResponse asks of a socket."""
        return self


class Connection:
    """One TCP connection to a local port."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX)
        self._reader = _SharedReader(socket.SocketIO(self._socket, "r"))

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Just these bytes."""
        self._socket.sendall(data)

    def answer(self, method: str = "GET") -> Answer:
        """The next response; `method` says whether it has a body."""
        return Answer(HTTPResponse(cast("socket.socket", self._reader), method=method))

    def head(self) -> int:
        """The status of the next response, as soon as its head is there; of no use for another one afterwards."""
        response = HTTPResponse(self._socket)
        response.begin()
        return response.status

    def ask(self, method: str, path: str, *, headers: bytes = b"", body: bytes | None = None) -> Answer:
        """Send a whole request and read its response."""
        length = b"" if body is None else b"content-length: %d\r\n" % len(body)
        self.send(b"%s %s HTTP/1.1\r\nhost: test\r\n%s%s\r\n" % (method.encode(), path.encode(), headers, length))
        self.send(body or b"")
        return self.answer(method)

    def receive(self, bytes_max: int) -> bytes:
        """What has come, once anything has."""
        return self._socket.recv(bytes_max)

    def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        return self._reader.read()
