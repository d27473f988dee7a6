"""The servers and services that tests are run against, all of them real; `conftest.py` makes fixtures of them."""

import io
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias
from unittest.mock import patch

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from device_registration_api.__main__ import main
from local.database import Login, base_environment
from local.services import REGISTRATION_API, STATISTICS_API, Service

# Login roles belong to a server, not to a database: one pair for every clone of the template.
WRITER = Login("test_writer", "writer-password-of-the-tests")
READER = Login("test_reader", "reader-password-of-the-tests")


class Server(Protocol):
    """A running PostgreSQL server, as its administrator knows it."""

    @property
    def binaries(self) -> Path:
        """The folder of `psql` and `pg_dump`."""

    @property
    def host(self) -> str:
        """What a client gives as DB_HOST."""

    @property
    def port(self) -> int:
        """What a client gives as DB_PORT."""

    def url(self, database: str = "postgres") -> str:
        """The administrator's connection URL for one database."""


@dataclass(frozen=True)
class Cluster:
    """A running PostgreSQL server that belongs to this test process alone."""

    server: Server

    @property
    def binaries(self) -> Path:
        return self.server.binaries

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    def admin_url(self, dbname: str = "postgres") -> str:
        return self.server.url(dbname)

    def complete_template(self, name: str) -> None:
        """Do what a migrated database needs besides before it is copied: nothing, on a single server."""

    def execute(self, statement: sql.Composed) -> None:
        """Run one statement of an administrator outside any transaction."""
        with closing(psycopg2.connect(self.admin_url())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    @contextmanager
    def new_database(self, template: str = "template0") -> Iterator[str]:
        """The name of a new database, dropped afterwards whoever is still connected."""
        name = f"test_{secrets.token_hex(6)}"
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
        self.execute(sql.SQL("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {template}").format(**names))
        try:
            yield name
        finally:
            self.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))

    @contextmanager
    def connections_refused(self, database: "MigratedDatabase") -> Iterator[None]:
        """Nobody is connected to this database meanwhile, and nobody can be."""
        name = parse_dsn(database.admin_url)["dbname"]
        allow = "ALTER DATABASE {name} ALLOW_CONNECTIONS {is_allowed}"
        names = {"name": sql.Identifier(name), "of": sql.Literal(name)}
        self.execute(sql.SQL(allow).format(is_allowed=sql.SQL("false"), **names))
        try:
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {of}"
            self.execute(sql.SQL(end).format(**names))
            yield
        finally:
            self.execute(sql.SQL(allow).format(is_allowed=sql.SQL("true"), **names))


@dataclass(frozen=True)
class MigratedDatabase:
    """A database with the product's schema: how its administrator and the two services reach it."""

    admin_url: str

    @property
    def writer_env(self) -> dict[str, str]:
        return WRITER.environment(self.admin_url)

    @property
    def reader_env(self) -> dict[str, str]:
        return READER.environment(self.admin_url)


@dataclass(frozen=True)
class Programs:
    """What is started as the two services, when it is not their main.py: modules for `python -m`.

    `schema` is what their database has beside the product's own: statements of its owner.
    """

    public: str | None = None
    private: str | None = None
    schema: str = ""

    def install(self, database: MigratedDatabase) -> None:
        """Make the database what the private service needs."""
        if self.schema:
            with closing(psycopg2.connect(database.admin_url)) as connection, connection, connection.cursor() as cursor:
                cursor.execute(f"SET ROLE stats_owner; {self.schema}")
            # As `migrate` does it after a revision: the partitions of each table of the catalogue.
            run_command(database.writer_env, "maintain")

    def choose(self, service: Service) -> Service:
        """The service, which will run its module."""
        module = {STATISTICS_API: self.public, REGISTRATION_API: self.private}[service.name]
        if module is not None:
            service.run_module(module)
        return service


DELIVERED = Programs()


@dataclass
class Product:
    """Both services as real processes, with a database of their own."""

    database: MigratedDatabase
    service_token: str
    publics: list[Service] = field(default_factory=list)
    privates: list[Service] = field(default_factory=list)

    @property
    def public(self) -> Service:
        return self.publics[0]

    @property
    def private(self) -> Service:
        return self.privates[0]

    @property
    def public_url(self) -> str:
        return self.public.url

    @property
    def private_url(self) -> str:
        return self.private.url


class StartProduct(Protocol):
    """Starts services on free ports, with a database of their own, and waits until they are ready.

    `publics` and `privates` are instances of each service; `env` is added to the environment of all of them and wins.
    With `metrics`, each answers scrapes on the port METRICS_PORT of its environment.
    """

    def __call__(
        self,
        public_workers: int = 1,
        publics: int = 1,
        privates: int = 1,
        env: Mapping[str, str] | None = None,
        programs: Programs = DELIVERED,
        metrics: bool = False,
    ) -> Product: ...


Finished: TypeAlias = "subprocess.CompletedProcess[str]"


def finished_process(env: Mapping[str, str], *arguments: str) -> Finished:
    """Run one of the private service's operator commands to its end, as an operator does: a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "device_registration_api", *arguments],
        env=base_environment() | dict(env),
        capture_output=True,
        text=True,
        check=False,
    )


def finished_command(env: Mapping[str, str], *arguments: str) -> Finished:
    """The same without the second of imports that a process of its own begins with.

    Not from a thread with a running event loop.
    """
    output, errors = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, base_environment() | dict(env), clear=True),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        try:
            status = main(arguments)
        except SystemExit as refused:  # by the parser of the arguments
            status = int(refused.code or 0)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def run_command(env: Mapping[str, str], *arguments: str) -> str:
    """The same for a command that must succeed; what it printed."""
    finished = finished_command(env, *arguments)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout
