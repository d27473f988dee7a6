"""`make run`: PostgreSQL and both services on this machine, until Ctrl-C or SIGTERM.

Output of the services goes straight to where this process writes to: no line passes through it.
"""

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import NoReturn

from local.database import NAME, DatabaseError, find, first_api_key, migrate
from local.installation import Installation, InstallationError
from local.postgres import Postgres, PostgresError, wheel_binaries
from local.services import Child, Service, ServiceError, registration_service, statistics_service
from local.settings import Settings, SettingsError, handed_on, read_settings
from local.supervision import Supervised, watch

PORT_SECONDS_MAX = 3.0  # the port of a run that was just killed may still be in use
CHECK_SECONDS = 0.2
MAINTENANCE_SECONDS = 3600
LOCALHOST = "127.0.0.1"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

READY = """
Ready after {seconds:.1f} s. Ctrl-C stops everything; the data stays in {data}.

  dashboard         {public}/dashboard   (log in with the API key below)
  public service    {public}   (documentation: {public}/docs)
  private service   {private}

Try:

  curl -X POST {public}/Log/auth -H 'Content-Type: application/json' \\
       -H 'Idempotency-Key: first-try' -d '{{"userKey":"user-123","deviceType":"iOS"}}'
  curl '{public}/Log/auth/statistics?deviceType=iOS'
  curl '{public}/Log/auth/timeseries?deviceType=iOS&interval=hour'

With an API key, of a project of its own:

  curl {public}/Log/auth/statistics -H 'X-API-Key: {api_key}'

The dashboard takes this key, too: {api_key}
"""


class PortUnusable(Exception):
    """A service could not listen on its port; the message names the setting that changes it."""


EXPECTED = (DatabaseError, InstallationError, PortUnusable, PostgresError, ServiceError, SettingsError)


def main() -> int:
    """Run until a signal; return the exit status, having said in one sentence what went wrong."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _interrupt)
    try:
        _run(read_settings(), time.monotonic())
    except KeyboardInterrupt:
        return 0
    except EXPECTED as error:
        _print_error(str(error))
        return 1


def _run(settings: Settings, begun: float) -> NoReturn:
    installation = Installation(settings.data_dir)
    installation.lock()
    _check_port("STATISTICS_PORT", settings.statistics_port)
    _check_port("REGISTRATION_PORT", settings.registration_port)
    with _server(settings, installation) as (server, server_url):
        admin_url, exists = find(server_url)
        bring_up_to_date = partial(
            migrate,
            admin_url,
            installation.writer,
            installation.reader,
            handed_on() | installation.databases_elsewhere(),
            installation.personal,
        )
        private, public, *jobs = _children(settings, installation, admin_url)
        with _stop_on_exit(public, private, *jobs):
            if not exists:
                _print("Making the database ...")
                bring_up_to_date()
            private.start()
            public.start()
            if exists:
                # Little or nothing to do, most times: it costs no time beside the start of the services, which
                # are not ready before the schema is.
                bring_up_to_date()
            writer = handed_on() | installation.writer.environment(admin_url)
            api_key = installation.api_key(partial(first_api_key, writer), database_was_there=exists)
            private.wait_ready()
            public.wait_ready()
            for each in jobs:
                each.start()
            seconds = time.monotonic() - begun
            addresses = {"public": public.url, "private": private.url}
            _print(READY.format(seconds=seconds, data=installation.folder, api_key=api_key, **addresses))
            watched = [Supervised(each.name, each, _print_error) for each in (private, public, *jobs)]
            if server is not None:
                watched.insert(0, Supervised("PostgreSQL", server, _print_error))
            watch(watched, CHECK_SECONDS)


@contextmanager
def _server(settings: Settings, installation: Installation) -> Iterator[tuple[Postgres | None, str]]:
    """The embedded server, if it is one, and the administrator's URL of the server."""
    if settings.database_url is not None:
        yield None, settings.database_url.get_secret_value()
        return
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]  # meant for another server: PGHOSTADDR would lead every client there
    server = Postgres(installation.postgres_folder, wheel_binaries())
    with _stop_on_exit(server):
        server.start()
        yield server, server.url(NAME)


def _children(settings: Settings, installation: Installation, admin_url: str) -> tuple[Service, Service, Child, Child]:
    environment = handed_on()
    personal_data = installation.databases_elsewhere() | installation.personal_data
    private = registration_service(
        environment | personal_data | installation.account_keys | settings.of_the_private_service(),
        port=settings.registration_port,
        database=installation.writer.environment(admin_url),
        service_token=installation.service_token,
    )
    public = statistics_service(
        environment,
        port=settings.statistics_port,
        database=installation.reader.environment(admin_url),
        service_token=installation.service_token,
        device_api_url=private.url,
        workers=settings.public_workers,
    )
    own = environment | personal_data | installation.writer.environment(admin_url)
    command = [sys.executable, "-m", "device_registration_api"]
    maintenance = Child("maintenance", [*command, "maintain", "--every", str(MAINTENANCE_SECONDS)], own)
    webhooks = Child("webhooks", [*command, "webhooks"], own)
    return private, public, maintenance, webhooks


@contextmanager
def _stop_on_exit(*started: Child | Postgres) -> Iterator[None]:
    try:
        yield
    finally:
        _ignore_signals()  # a second Ctrl-C must not interrupt the shutdown
        for each in started:
            each.stop()


def _check_port(setting: str, port: int) -> None:
    deadline = time.monotonic() + PORT_SECONDS_MAX
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOCALHOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise PortUnusable(f"Port {port} cannot be used ({error.strerror}): set {setting}.") from error
            else:
                return
        if time.monotonic() > deadline:
            raise PortUnusable(f"Port {port} is taken by another program: stop it, or set {setting}.")
        time.sleep(CHECK_SECONDS)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in SIGNALS:
        # A handler that does nothing, because children would inherit SIG_IGN.
        signal.signal(number, lambda _number, _frame: None)


def _print(text: str) -> None:
    print(text, flush=True)


def _print_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
