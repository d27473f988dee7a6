"""The product's database on some server: found, migrated, and described to the services."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

NAME = "device_statistics"
OLDEST_SERVER_VERSION = 16
CONNECT_SECONDS_MAX = 5

# What the services cannot be told by DB_* variables, libpq reads from these.
_LIBPQ_VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
}


class DatabaseError(Exception):
    """The database cannot be used; the message is one sentence for its operator."""


@dataclass(frozen=True)
class Login:
    """A role that a service logs in with."""

    user: str
    password: str

    def environment(self, admin_url: str) -> dict[str, str]:
        """The variables by which a service reaches the administrator's database as this role."""
        target = parse_dsn(admin_url)
        variables = {
            "DB_HOST": target.get("host", "localhost"),
            "DB_PORT": target.get("port", "5432"),
            "DB_NAME": target.get("dbname", NAME),
            "DB_USER": self.user,
            "DB_PASSWORD": self.password,
        }
        return variables | {_LIBPQ_VARIABLES[key]: target[key] for key in _LIBPQ_VARIABLES.keys() & target.keys()}


def personal_environment(login: Login) -> dict[str, str]:
    """Return the variables by which `migrate`, the private service and its commands know the login of personal data."""
    return {"PERSONAL_DB_USER": login.user, "PERSONAL_DB_PASSWORD": login.password}


def find(server_url: str) -> tuple[str, bool]:
    """The administrator's URL of the product's database, and whether that database exists yet.

    A URL that names a database means that one; one that names `postgres`, or none, means NAME. Raises
    DatabaseError when the server cannot be reached, refuses the login, or is too old.
    """
    try:
        named = parse_dsn(server_url).get("dbname", "postgres")
    except psycopg2.ProgrammingError:
        # Without the cause: the driver's message repeats the URL, and with it the password.
        raise DatabaseError("DATABASE_URL is not a connection URL (postgresql://user:password@host/name).") from None
    name = NAME if named == "postgres" else named
    try:
        bounded = make_dsn(server_url, dbname="postgres", connect_timeout=CONNECT_SECONDS_MAX)
        with closing(psycopg2.connect(bounded)) as connection, connection.cursor() as cursor:
            version = connection.server_version // 10000
            if version < OLDEST_SERVER_VERSION:
                raise DatabaseError(
                    f"The server at DATABASE_URL is PostgreSQL {version}; {OLDEST_SERVER_VERSION} or newer is needed."
                )
            cursor.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %(name)s)", {"name": name})
            exists = cursor.fetchone() == (True,)
    except psycopg2.Error as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DatabaseError(f"The server at DATABASE_URL cannot be used: {reason}.") from error
    return make_dsn(server_url, dbname=name), exists


def migrate(
    admin_url: str, writer: Login, reader: Login, env: Mapping[str, str], personal: Login | None = None
) -> None:
    """Bring schemas and roles up to date with the private service's own command.

    Without a login for personal data, its databases are left out. Raises DatabaseError when it fails, with the last
    line it printed.
    """
    environment = {
        **env,
        "DATABASE_URL": admin_url,
        "WRITER_DB_USER": writer.user,
        "WRITER_DB_PASSWORD": writer.password,
        "READER_DB_USER": reader.user,
        "READER_DB_PASSWORD": reader.password,
    }
    if personal is not None:
        environment |= personal_environment(personal)
    _run_command(environment, "The database could not be migrated", "migrate")


def first_api_key(env: Mapping[str, str]) -> str:
    """Make a project and a key of it, which may do everything and never expires; return the key.

    Raises DatabaseError when a command fails, with the last line it printed.
    """
    failure = "The first API key could not be made"
    project = _run_command(env, failure, "create-project", "first")
    return _run_command(
        env, failure, "create-key", project, "first", "--scopes", "ingest,read,manage", "--never-expires"
    )


def _run_command(env: Mapping[str, str], failure: str, *arguments: str) -> str:
    """Run a command of the private service, and return what it printed."""
    outcome = subprocess.run(  # noqa: S603 - an argument list of our own, no shell
        [sys.executable, "-m", "device_registration_api", *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if outcome.returncode != 0:
        lines = (outcome.stdout + outcome.stderr).strip().splitlines()
        reason = lines[-1].removeprefix(f"{arguments[0]}: ").rstrip(".") if lines else f"status {outcome.returncode}"
        raise DatabaseError(f"{failure}: {reason}.")
    return outcome.stdout.strip()


def base_environment() -> dict[str, str]:
    """What a child needs of this process's environment and nothing that configures it."""
    # The last one is set by `make coverage` alone, so that child processes are measured, too.
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "COVERAGE_PROCESS_CONFIG")
    return {name: os.environ[name] for name in kept if name in os.environ}
