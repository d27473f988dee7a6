"""What an operator reads when migrate cannot work: one sentence, exit code 1, no password."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from psycopg2.extensions import make_dsn

from tests.schema.schema_steps import LOGINS, run

# Against a server that is not there, the command would wait for ten minutes.
AT_ONCE = {"DATABASE_WAIT_SECONDS_MAX": "0"}


def refusal(environment: dict[str, str], command: str = "migrate") -> str:
    code, printed = run(command, {**AT_ONCE, **environment})
    assert (code, len(printed.splitlines())) == (1, 1), printed
    assert "wrong-password" not in printed
    assert not [value for name, value in LOGINS.items() if name.endswith("PASSWORD") and value in printed]
    return printed


def test_an_unreachable_server_is_one_sentence() -> None:
    url = "postgresql://postgres:wrong-password@127.0.0.1:1/any"
    assert "Connection refused" in refusal({"DATABASE_URL": url, **LOGINS})
    assert "Connection refused" in refusal({"DATABASE_URL": url}, "current")


def test_a_wrong_password_is_one_sentence(fresh_database: str) -> None:
    url = make_dsn(fresh_database, password="wrong-password")  # noqa: S106 - a test's
    assert "password authentication failed" in refusal({"DATABASE_URL": url, **LOGINS})


def test_missing_settings_are_named_together() -> None:
    assert "DATABASE_URL" in refusal(LOGINS)
    printed = refusal({"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/any", "WRITER_DB_USER": "w"})
    assert "set WRITER_DB_PASSWORD, READER_DB_USER, READER_DB_PASSWORD in the environment" in printed
    # Empty is what a shell or Compose makes of a variable that nobody has set.
    assert "set READER_DB_PASSWORD" in refusal(
        {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/any", **LOGINS, "READER_DB_PASSWORD": ""}
    )


def test_one_login_for_both_services_is_refused(fresh_database: str) -> None:
    printed = refusal({"DATABASE_URL": fresh_database, **LOGINS, "READER_DB_USER": LOGINS["WRITER_DB_USER"]})
    assert "must differ" in printed


EXAMPLE = "change-me-administrator"
SOMEWHERE = "postgresql://postgres@127.0.0.1:1/any"


@pytest.mark.parametrize(
    ("example", "named"),
    [
        ({"PGPASSWORD": EXAMPLE}, "PGPASSWORD (in Compose: POSTGRES_PASSWORD)"),
        ({"DATABASE_URL": f"postgresql://postgres:{EXAMPLE}@127.0.0.1:1/any"}, "DATABASE_URL's password"),
        # What stands in the URL is used, and the variable is not.
        ({"DATABASE_URL": f"{SOMEWHERE}?password={EXAMPLE}", "PGPASSWORD": "own"}, "DATABASE_URL's password"),
        ({"WRITER_DB_PASSWORD": "change-me-writer"}, "WRITER_DB_PASSWORD"),
        ({"READER_DB_PASSWORD": "change-me-reader"}, "READER_DB_PASSWORD"),
    ],
)
def test_production_refuses_the_example_passwords_before_it_connects(example: dict[str, str], named: str) -> None:
    environment = {"DATABASE_URL": SOMEWHERE, "PGPASSWORD": "own", **LOGINS, **example}

    printed = refusal({**environment, "ENVIRONMENT": "production"})

    assert printed == f"migrate: {named} still has its example value; set a secret of your own\n"
    assert "Connection refused" in refusal(environment), "on a laptop they are good enough"


def test_production_takes_passwords_of_ones_own() -> None:
    environment = {"DATABASE_URL": SOMEWHERE, "PGPASSWORD": "own", **LOGINS, "ENVIRONMENT": "production"}
    assert "Connection refused" in refusal(environment)
    unused = {"DATABASE_URL": SOMEWHERE.replace("@", ":own@"), "PGPASSWORD": EXAMPLE}
    assert "Connection refused" in refusal({**environment, **unused})


@pytest.mark.parametrize(
    "url", ["mysql://root:wrong-password@localhost/x", "postgresql://postgres:wrong-password@host"]
)
def test_a_url_that_names_no_database_is_refused_without_its_password(url: str) -> None:
    assert "DATABASE_URL" in refusal({"DATABASE_URL": url, **LOGINS})


@pytest.fixture
def older_server() -> Iterator[int]:
    """The port of something that greets every client the way PostgreSQL 15.7 does, and answers nothing else."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!I", len(body) + 4) + body

    parameters = {
        "server_version": "15.7",
        "client_encoding": "UTF8",
        "DateStyle": "ISO, MDY",
        "standard_conforming_strings": "on",
        "integer_datetimes": "on",
    }
    greeting = message(b"R", struct.pack("!I", 0))
    for name, value in parameters.items():
        greeting += message(b"S", f"{name}\0{value}\0".encode())
    greeting += message(b"K", struct.pack("!II", 1, 1)) + message(b"Z", b"I")

    def greet(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # the listener is closed: the test is over
                return
            with client:
                (length,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
                if client.recv(length - 4, socket.MSG_WAITALL)[:4] == struct.pack("!I", 3 << 16):
                    client.sendall(greeting)
                    client.recv(1)  # whatever it asks, or its good-bye

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("command", ["migrate", "downgrade", "current"])
def test_a_server_older_than_16_is_refused_before_anything_is_asked(older_server: int, command: str) -> None:
    url = f"postgresql://postgres@127.0.0.1:{older_server}/any?sslmode=disable&gssencmode=disable"
    assert "PostgreSQL 16 or newer is needed, and this server is 15.7" in refusal(
        {"DATABASE_URL": url, **LOGINS}, command
    )
