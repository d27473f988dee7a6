"""What the tests of the schema do to databases: run the real command, dump, look."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from device_registration_api.schema import migrations, roles
from device_registration_api.schema.connect import connect, database_name
from device_registration_api.schema.schemas import STATISTICS, Schema
from device_registration_api.schema.settings import LoginSettings
from local.database import base_environment
from servicekit.database import Connection
from tests.servers import finished_command

LOGINS = {
    "WRITER_DB_USER": "schema_writer",
    "WRITER_DB_PASSWORD": "clear-text-of-the-writer",
    "READER_DB_USER": "schema_reader",
    "READER_DB_PASSWORD": "clear-text-of-the-reader",
}
PERSONAL_LOGIN = {"PERSONAL_DB_USER": "schema_personal", "PERSONAL_DB_PASSWORD": "clear-text-of-the-third"}
INBOX_LOGIN = {"INBOX_DB_USER": "schema_inbox", "INBOX_DB_PASSWORD": "clear-text-of-the-inbox"}
LOGIN_SETTINGS = LoginSettings.model_validate(
    {name.lower(): value for name, value in (LOGINS | PERSONAL_LOGIN | INBOX_LOGIN).items()}
)


def start(command: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "device_registration_api", command],
        env={**base_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(command: str, environment: Mapping[str, str], *options: str) -> tuple[int, str]:
    """Exit code and everything that was printed, without the second that a process of its own needs to start."""
    ended = finished_command(environment, command, *options)
    return ended.returncode, ended.stdout + ended.stderr


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The same of a process; a traceback is never an answer to an operator."""
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode, out + err


def migrate(url: str, logins: Mapping[str, str] = LOGINS) -> str:
    code, printed = run("migrate", {"DATABASE_URL": url, **logins})
    assert code == 0, printed
    return printed


def upgrade_to(url: str, revision: str, schema: Schema = STATISTICS) -> None:
    """As the release of that revision did it, but for the partitions."""
    with closing(connect(url, "postgres")) as conn, conn:
        roles.ensure_roles(conn, roles.logins_of(schema, LOGIN_SETTINGS))
    with closing(connect(url)) as conn, migrations.schema_transaction(conn, schema) as config:
        roles.grant_database(conn, database_name(url), roles.logins_of(schema, LOGIN_SETTINGS))
        migrations.upgrade(conn, config, revision)


def downgrade_to(url: str, revision: str) -> None:
    while f"is at revision {revision};" not in run("current", {"DATABASE_URL": url})[1]:
        assert run("downgrade", {"DATABASE_URL": url})[0] == 0


@contextmanager
def session(url: str, **changes: str) -> Iterator[Connection]:
    """A connection that commits each statement; `changes` replace parts of the URL."""
    with closing(psycopg2.connect(make_dsn(url, **changes))) as conn:
        conn.autocommit = True
        yield conn


def rows(url: str, statement: str, **changes: str) -> list[tuple[Any, ...]]:
    with session(url, **changes) as conn, conn.cursor() as cur:
        cur.execute(statement)
        return cur.fetchall() if cur.description else []


def dump(binaries: Path, url: str) -> list[str]:
    """The schema as pg_dump writes it, without the lines that are random."""
    target = parse_dsn(url)
    password = target.pop("password")
    outcome = subprocess.run(
        [binaries / "pg_dump", "--schema-only", make_dsn(**target)],
        env={**base_environment(), "PGPASSWORD": password},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in outcome.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
