"""A Citus cluster that somebody else runs, in place of the server that the tests start themselves.

`make test-citus CITUS_URL=…` sets it. Each test database is made on every node, and copied node by node: what Citus
knows of a database is in the database itself.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from local.postgres import wheel_binaries
from tests.servers import Cluster, run_command

COORDINATOR = "CITUS_URL"
# Shell commands that end a worker at once, and start it again; without both, no worker is lost.
KILL_WORKER, START_WORKER = "CITUS_KILL_WORKER", "CITUS_START_WORKER"

UNUSED_SECONDS_MAX = 20.0

_WORKERS = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 AND isactive ORDER BY nodeid"
# Of a database that is copied: a copy has neither.
_SETTINGS = """
    SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
     WHERE datname = %(name)s AND setrole = 0
"""


@dataclass(frozen=True)
class Coordinator:
    """The server that an administrator's URL names."""

    url_given: str

    @property
    def binaries(self) -> Path:
        """The client programs."""
        return wheel_binaries()

    @property
    def host(self) -> str:
        return str(parse_dsn(self.url_given)["host"])

    @property
    def port(self) -> int:
        return int(parse_dsn(self.url_given).get("port", "5432"))

    def url(self, database: str = "postgres") -> str:
        return str(make_dsn(self.url_given, dbname=database))


class CitusCluster(Cluster):
    """The nodes of CITUS_URL: a database of a coordinator with workers, whose administrator may log in on each."""

    @cached_property
    def workers(self) -> list[tuple[str, int]]:
        """The host and port of each worker."""
        given = os.environ[COORDINATOR]
        with closing(psycopg2.connect(given)) as connection, connection.cursor() as cursor:
            cursor.execute(_WORKERS)
            return cursor.fetchall()

    def node_urls(self, database: str = "postgres") -> list[str]:
        """The administrator's URL of a database on each node, the coordinator first."""
        first = self.admin_url(database)
        return [first, *(make_dsn(first, host=host, port=port) for host, port in self.workers)]

    @contextmanager
    def new_database(self, template: str = "template0") -> Iterator[str]:
        """As that of a single server, on every node that has the template: the coordinator alone has personal data."""
        name = f"test_{secrets.token_hex(6)}"
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
        try:
            for url in self.node_urls():
                if _has_database(url, template):
                    _when_unused(
                        url, sql.SQL("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {template}").format(**names)
                    )
            self._copy_settings(template, name)
            if template == "template0":
                for url in self.node_urls(name):
                    _execute(url, sql.SQL("CREATE EXTENSION citus"))
            yield name
        finally:
            for url in self.node_urls():
                _when_unused(url, sql.SQL("DROP DATABASE IF EXISTS {name} WITH (FORCE)").format(**names))

    def complete_template(self, name: str) -> None:
        """Distribute what was migrated, and let nobody connect to it, so that it can be copied at any time."""
        run_command({"DATABASE_URL": self.admin_url(name)}, "distribute", *self.worker_arguments())
        for url in self.node_urls():
            _execute(url, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
            _execute(
                url,
                sql.SQL("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = {}").format(
                    sql.Literal(name)
                ),
            )

    def worker_arguments(self) -> list[str]:
        """The arguments of `distribute` that name the workers."""
        return [argument for host, port in self.workers for argument in ("--worker", f"{host}:{port}")]

    def _copy_settings(self, template: str, name: str) -> None:
        with closing(psycopg2.connect(self.admin_url())) as connection, connection.cursor() as cursor:
            cursor.execute(_SETTINGS, {"name": template})
            settings = [each.partition("=") for (each,) in cursor.fetchall()]
        for setting, _, value in settings:
            _execute(
                self.admin_url(),
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(name), sql.Identifier(*setting.split(".")), sql.Literal(value)
                ),
            )


def cluster_of_environment() -> CitusCluster | None:
    """The cluster that CITUS_URL names; None: tests start a server themselves."""
    url = os.environ.get(COORDINATOR)
    return CitusCluster(Coordinator(url)) if url else None


def forget_commits(url: str) -> None:
    """Let a coordinator look now which commits have arrived everywhere. It looks every few seconds, and until then
    followers and exports stay before them. Nothing on one server.
    """
    if os.environ.get(COORDINATOR):
        _execute(url, sql.SQL("SELECT recover_prepared_transactions()"))


def can_lose_a_worker() -> bool:
    """Whether somebody has said how."""
    return bool(os.environ.get(KILL_WORKER) and os.environ.get(START_WORKER))


def kill_worker() -> None:
    """End one worker at once, as a power cut does."""
    subprocess.run(os.environ[KILL_WORKER], shell=True, check=True)  # noqa: S602 - the operator's own command


def start_worker() -> None:
    """Start it again."""
    subprocess.run(os.environ[START_WORKER], shell=True, check=True)  # noqa: S602 - the operator's own command


def _has_database(url: str, name: str) -> bool:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %(name)s", {"name": name})
        return cursor.rowcount == 1


def _when_unused(url: str, statement: sql.Composable) -> None:
    """Run it as soon as the last session of a database has ended: Citus has one of its own in each."""
    deadline = time.monotonic() + UNUSED_SECONDS_MAX
    while True:
        try:
            _execute(url, statement)
        except psycopg2.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _execute(url: str, statement: sql.Composable) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def main() -> int:
    """Whether CITUS_URL names a coordinator that has workers, as an exit status; what is not so is printed."""
    cluster = cluster_of_environment()
    try:
        found = [] if cluster is None else cluster.workers
    except (psycopg2.Error, KeyError) as error:
        print(f"CITUS_URL: {str(error).strip()}", file=sys.stderr)
        return 1
    if not can_lose_a_worker():
        print(f"NOT CHECKED: A WORKER THAT IS LOST, because {KILL_WORKER} and {START_WORKER} are not set.")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
