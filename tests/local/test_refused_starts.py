"""Where `make run` cannot work it says why in one sentence, and leaves nothing behind."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from local.ports import free_port
from tests.local.launcher import StartLauncher

Refused = Callable[..., str]


@pytest.fixture
def taken_port() -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield str(server.getsockname()[1])


@pytest.mark.parametrize("setting", ["STATISTICS_PORT", "REGISTRATION_PORT"])
def test_a_taken_port_is_named_with_the_setting_that_changes_it(
    refused: Refused, taken_port: str, setting: str
) -> None:
    sentence = refused(env={setting: taken_port})

    assert taken_port in sentence
    assert setting in sentence


def test_a_setting_that_makes_no_sense_is_named(refused: Refused) -> None:
    assert "PUBLIC_WORKERS" in refused(env={"PUBLIC_WORKERS": "many"})
    assert "REGISTRATION_PORT" in refused(env={"STATISTICS_PORT": "9000", "REGISTRATION_PORT": "9000"})


def test_a_data_folder_that_cannot_be_made_is_named(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "DATA_DIR" in refused(tmp_path / "file" / "data")


def test_a_second_run_on_the_same_data_is_refused(launch: StartLauncher, refused: Refused) -> None:
    run = launch().wait_ready()

    sentence = refused(run.data)

    assert "DATA_DIR" in sentence
    assert run.process.poll() is None


def test_an_unreachable_database_is_named_without_its_password(refused: Refused) -> None:
    sentence = refused(env={"DATABASE_URL": f"postgresql://admin:hidden-word@127.0.0.1:{free_port()}/x"})

    assert "DATABASE_URL" in sentence
    assert "hidden-word" not in sentence


def test_a_database_url_that_is_none_is_not_repeated(refused: Refused) -> None:
    sentence = refused(env={"DATABASE_URL": "postgresql://admin:hidden-word@[/x"})

    assert "DATABASE_URL" in sentence
    assert "hidden-word" not in sentence


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


@pytest.fixture
def server_of_version_15() -> Iterator[int]:
    """As much of an old server as a client sees before its first statement."""
    welcome = message(b"R", struct.pack("!I", 0))
    for name, value in ((b"server_version", b"15.9"), (b"client_encoding", b"UTF8"), (b"DateStyle", b"ISO, MDY")):
        welcome += message(b"S", name + b"\0" + value + b"\0")
    welcome += message(b"K", struct.pack("!II", 1, 1)) + message(b"Z", b"I")

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):  # the listener is closed at the end of the test
            while True:
                client, _ = listener.accept()
                with client:
                    while True:
                        request = client.recv(8192)
                        # Requests for encryption are eight bytes long; the answer is no.
                        client.sendall(b"N" if len(request) == 8 else welcome)
                        if len(request) != 8:
                            break
                    client.recv(8192)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def test_a_server_that_is_too_old_is_refused(refused: Refused, server_of_version_15: int) -> None:
    sentence = refused(env={"DATABASE_URL": f"postgresql://admin:x@127.0.0.1:{server_of_version_15}/x"})

    assert "PostgreSQL 15" in sentence
    assert "16 or newer" in sentence
