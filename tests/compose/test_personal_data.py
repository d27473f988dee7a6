"""From the public service's own container, with its own login: no way to personal data."""

import pytest

from tests.compose.stack import DATABASE, Stack

CONNECT = """
import os, psycopg2, sys
login = {name: os.environ[f"DB_{name.upper()}"] for name in ("host", "port", "user", "password")}
psycopg2.connect(dbname=sys.argv[1], **login).close()
"""


def entered(stack: Stack, database: str) -> tuple[int, str]:
    """The exit status of an attempt, and its complaint."""
    attempt = stack.try_compose("exec", "-T", "statistics-api", "python", "-c", CONNECT, database)
    return attempt.returncode, attempt.stderr.decode()


@pytest.mark.parametrize("name", ["personal", "keyring"])
def test_the_public_service_cannot_connect(stack: Stack, name: str) -> None:
    assert stack.sql("SELECT current_database()", f"{DATABASE}_{name}") == [[f"{DATABASE}_{name}"]]
    assert entered(stack, DATABASE) == (0, "")
    status, complaint = entered(stack, f"{DATABASE}_{name}")
    assert status == 1
    assert "permission denied for database" in complaint
