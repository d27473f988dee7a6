"""A free port for a server that is about to start."""

import socket
from collections import deque
from random import SystemRandom

_ATTEMPTS_MAX = 100


class FreePorts:
    """Chooses ports of 127.0.0.1, and keeps the newest of them for this process.

    Two processes that choose at the same time might choose the same port, and so might one that chooses while a server
    of the other is stopped; each would then take the other's server for its own. A port is kept by a socket that is
    bound and does not listen: clients are refused, and a server with SO_REUSEADDR can listen.
    """

    def __init__(self, first: int, last: int, *, kept_max: int = 64) -> None:
        self._first, self._last, self._kept_max = first, last, kept_max
        self._kept: deque[socket.socket] = deque()
        self._random = SystemRandom()

    def choose(self) -> int:
        """Return a port that no process listens on or keeps.

        Raises:
            RuntimeError: none was found.
        """
        for _ in range(_ATTEMPTS_MAX):
            keeper = socket.socket()
            try:
                # Without SO_REUSEADDR: it is refused also where another process keeps the port.
                keeper.bind(("127.0.0.1", self._random.randint(self._first, self._last)))
            except OSError:
                keeper.close()
                continue
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._kept.append(keeper)
            if len(self._kept) > self._kept_max:
                self._kept.popleft().close()
            port: int = keeper.getsockname()[1]
            return port
        message = f"no free port between {self._first} and {self._last}"
        raise RuntimeError(message)

    def close(self) -> None:
        """Give every port back."""
        while self._kept:
            self._kept.pop().close()


# Below the ports that the system gives to outgoing connections: none of these takes the port before the server does.
_ports = FreePorts(20_000, 32_767)


def free_port() -> int:
    """Return a port of 127.0.0.1 that no process listens on, and that no other process gets from here for a while."""
    return _ports.choose()
