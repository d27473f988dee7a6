"""A relay in front of PostgreSQL that breaks the connection around COMMIT, where an outcome becomes unknown."""

import selectors
import socket
import threading
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

COMMIT = b"COMMIT\0"  # the end of the protocol's Query message
COPY_DONE = b"c\0\0\0\4"  # the message after which a string with a COPY in it is committed


class Loss(Enum):
    """What gets lost with the connection."""

    REPLY = auto()  # committed, and nobody is told
    REQUEST = auto()  # the server never hears of it, and rolls back


class CommitRelay:
    """Listens on a local port; breaks the connection at each of the first `losses` COMMITs, in one of two ways.

    `commit` is how the message ends that lets the server commit.
    """

    def __init__(self, server_socket: Path, loss: Loss, losses: int, commit: bytes = COMMIT) -> None:
        self._server_socket = server_socket
        self._loss = loss
        self._commit = commit
        self._left = losses
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.commits = 0
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as ready:
            server.connect(str(self._server_socket))
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # both are sockets
                    if not data:
                        return
                    if key.fileobj is client and data.endswith(self._commit) and self._loses():
                        if self._loss is Loss.REPLY:
                            server.sendall(data)
                            server.recv(65536)  # the reply: by now it is committed
                        return
                    key.data.sendall(data)

    def _loses(self) -> bool:
        with self._lock:
            self.commits += 1
            self._left -= 1
            return self._left >= 0
