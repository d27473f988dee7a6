"""What is measured on: one PostgreSQL server, and both services on databases of it, as `make run` starts them."""

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from contract.access import new_key
from load.fills import execute
from load.write_loads import DEVICE, DEVICE_NUMBER, STORE_USER
from local.database import Login, base_environment, migrate
from local.ports import free_port
from local.postgres import Postgres
from local.services import Service, registration_service, statistics_service

_STORE_KEY = """
    INSERT INTO api_key (project_id, key_id, name, scopes, digest, created_at, rate_limit)
    SELECT project_id, %(key_id)s, 'bench', '{ingest,read,manage}', %(digest)s, now(), %(rate_limit)s
      FROM project WHERE project_key = %(project_key)s;
    INSERT INTO project_person (project_id, person_id)
    SELECT project_id, %(user)s FROM project WHERE project_key = %(project_key)s
        ON CONFLICT DO NOTHING;
    INSERT INTO device (project_id, device_number, device_id)
    SELECT project_id, %(device_number)s, %(device)s FROM project WHERE project_key = %(project_key)s
        ON CONFLICT DO NOTHING;
"""
_PROJECT = "INSERT INTO project (name, project_key) VALUES ('other', 'other')"


@dataclass
class Product:
    """Both services, ready."""

    name: str
    public: Service
    private: Service
    # An API key of the default project.
    key: str

    def restart_public(self, workers: int) -> None:
        """The public service again, with another number of workers."""
        self.public.env["WORKERS"] = str(workers)
        self.public.restart()


class BenchEnvironment:
    """One server for everything that is compared."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self.server = server
        self._folder = folder

    def database(self, name: str) -> tuple[str, Login, Login]:
        """Make a database of the newest schema; the administrator's URL, the writer's login and the reader's."""
        writer, reader = (Login(f"{name}_{role}", secrets.token_hex(16)) for role in ("writer", "reader"))
        url = self.server.url(name)
        migrate(url, writer, reader, base_environment())
        return url, writer, reader

    @contextmanager
    def product(self, name: str, *, metrics: bool = False) -> Iterator[Product]:
        """A product on a database of its own. It logs every request, as it does for its users, to a file.

        With `metrics`, each service answers scrapes on the port METRICS_PORT of its environment.
        """
        url, writer, reader = self.database(name)
        token = secrets.token_hex(24)
        private = registration_service(
            base_environment(),
            port=free_port(),
            database=writer.environment(url),
            service_token=token,
            log=self._folder / f"{name}-private.log",
        )
        public = statistics_service(
            base_environment(),
            port=free_port(),
            database=reader.environment(url),
            service_token=token,
            device_api_url=private.url,
            log=self._folder / f"{name}-public.log",
        )
        for service in (private, public) if metrics else ():
            service.env["METRICS_PORT"] = str(free_port())
        try:
            for service in (private, public):
                service.start()
                service.wait_ready()
            yield Product(name, public, private, self._new_key(name, "default"))
        finally:
            public.stop()
            private.stop()

    def key_of_another_project(self, product: Product, rate_limit: str) -> str:
        """Make another project, and return a key of it with this limit."""
        self.execute(product.name, _PROJECT)
        return self._new_key(product.name, "other", rate_limit)

    def _new_key(self, database: str, project_key: str, rate_limit: str | None = None) -> str:
        key = new_key()
        with closing(psycopg2.connect(self.server.url(database))) as connection, connection, connection.cursor() as cur:
            named = {"key_id": key.key_id, "digest": key.digest, "rate_limit": rate_limit}
            sends = {"user": STORE_USER, "device": DEVICE, "device_number": DEVICE_NUMBER}
            cur.execute(_STORE_KEY, {**named, **sends, "project_key": project_key})
        return key.text

    def execute(self, database: str, *statements: str) -> list[tuple[object, ...]]:
        """Run an administrator's statements; the rows of the last one, if it returns any."""
        return execute(self.server.url(database), *statements)

    def settle(self) -> None:
        """Write the data of the last measurement to disk, so that it does not slow down the next measurement."""
        self.execute("postgres", "CHECKPOINT")


def wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when the process accepts connections.

    Raises:
        RuntimeError: it ended before.
    """
    while process.poll() is None:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    message = f"{process.args!r} ended with status {process.returncode} before it listened"
    raise RuntimeError(message)
