"""A free port for a server that is about to start."""

import socket
from random import SystemRandom

# Below the ports that the system gives to outgoing connections: none of these takes the port before the server does.
_FIRST, _LAST = 20_000, 32_767
_ATTEMPTS_MAX = 100

_random = SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that no process listens on.

    Raises:
        RuntimeError: none was found.
    """
    for _ in range(_ATTEMPTS_MAX):
        port = _random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    message = f"no free port between {_FIRST} and {_LAST}"
    raise RuntimeError(message)
