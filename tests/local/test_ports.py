"""Free ports: a process that gets one keeps it, also while its server is stopped."""

import socket
from contextlib import closing

import pytest

from local.ports import FreePorts, free_port


def only(port: int) -> FreePorts:
    """What another process chooses from, if no other port is free."""
    return FreePorts(port, port)


def test_nobody_else_gets_a_port_before_its_server_listens_nor_after() -> None:
    port = free_port()
    with pytest.raises(RuntimeError, match="no free port"):
        only(port).choose()
    with socket.create_server(("127.0.0.1", port)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
        with pytest.raises(RuntimeError, match="no free port"):
            only(port).choose()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with pytest.raises(RuntimeError, match="no free port"):
        only(port).choose()


def test_a_port_is_given_back_after_some_others_and_at_the_end() -> None:
    with closing(FreePorts(20_000, 32_767, kept_max=2)) as ports:
        first, second, _ = [ports.choose() for _ in range(3)]
        with closing(only(first)) as others:
            assert others.choose() == first
        with pytest.raises(RuntimeError, match="no free port"):
            only(second).choose()
    with closing(only(second)) as others:
        assert others.choose() == second
