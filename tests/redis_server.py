"""A Redis server as a child process: with a password, and without a disk."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.database import base_environment
from local.services import Child

PASSWORD = "redis-password-of-the-tests"  # noqa: S105
ANSWER_SECONDS_MAX = 10.0

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="NOT CHECKED: RATE LIMITS THAT PROCESSES SHARE, BECAUSE redis-server IS NOT INSTALLED (.ci/run installs it)",
)


class Redis(Child):
    """A server that can be killed, paused and started again on its port."""

    def __init__(self, folder: Path, port: int) -> None:
        options = {"port": str(port), "bind": "127.0.0.1", "requirepass": PASSWORD, "save": "", "appendonly": "no"}
        command = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
        super().__init__("redis-server", command, base_environment(), cwd=folder, log=folder / "redis.log")
        self.port = port

    def url(self, password: str = PASSWORD) -> str:
        """The setting REDIS_URL."""
        return f"redis://:{password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Return when it answers."""
        super().start()
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while True:
            try:
                self.ask("PING")
            except OSError:
                assert self.pid is not None, "redis-server has ended"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)
            else:
                return

    def ask(self, command: str) -> str:
        """The reply to one command, which takes one line."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS_MAX) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\n{command}\r\n".encode())
            with connection.makefile("r", encoding="utf-8", newline="\r\n") as replies:
                assert replies.readline() == "+OK\r\n"
                return replies.readline().strip()


@contextmanager
def redis_server(folder: Path, port: int) -> Iterator[Redis]:
    """A server that is stopped at the end."""
    server = Redis(folder, port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
