"""The private service's command line, for operators: each command prints a line or a table and exits with 0 or 1."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

import psycopg2
from pydantic import ValidationError

from device_registration_api.access import command_line as access
from device_registration_api.accounts import command_line as accounts
from device_registration_api.accounts import commands as account_commands
from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.citus import command_line as citus
from device_registration_api.erasure import command_line as erasure
from device_registration_api.erasure.upkeep import complete_erasures
from device_registration_api.exports import command_line as exports
from device_registration_api.imports import command_line as imports
from device_registration_api.inbox import command_line as inbox_commands
from device_registration_api.inbox.settings import InboxSettings
from device_registration_api.inbox.state import oldest_waiting
from device_registration_api.maintenance import verify_counts
from device_registration_api.maintenance.command_runs import VERIFY_COUNTS, record_run
from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.maintain import Elsewhere, maintain
from device_registration_api.maintenance.settings import DatabaseSettings, RetentionSettings
from device_registration_api.people import commands as people_commands
from device_registration_api.personal import rotation, upkeep
from device_registration_api.personal.connect import connect_apart
from device_registration_api.personal.erasing import erase_project
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.schema.connect import CommandError
from device_registration_api.schema.schemas import KEYRING, PERSONAL, SCHEMAS, STATISTICS, Schema
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from device_registration_api.webhooks import command_line as webhooks
from device_registration_api.webhooks.secrets import WRAPPED_SECRETS
from servicekit.database.interruption import interruptible
from servicekit.errors import DomainError
from servicekit.process import clock
from servicekit.process.progress import shown_progress

Command = Callable[[argparse.Namespace], bool]
# What of a long command that was interrupted stays.
_REPEATED = {
    "migrate": "each revision is done as a whole or not at all: repeat the command",
    "distribute": "the steps that are done stay: repeat the command",
    "rotate-keys": "the keys that are wrapped again stay so: repeat the command",
    "verify-counts": "it has changed nothing: repeat the command",
    "import": "what is stored stays: the same command goes on where this one stopped",
    "export": "the files that are whole stay: the same command goes on behind them",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        with interruptible():
            return 0 if _reporting_errors(chosen.name, lambda: _is_done_and_printed(chosen)) else 1
    except KeyboardInterrupt:
        repeated = _REPEATED.get(chosen.name, "what is done stays")
        print(f"{chosen.name}: interrupted; {repeated}", file=sys.stderr, flush=True)
        return 128 + signal.SIGINT


def _is_done_and_printed(chosen: argparse.Namespace) -> bool:
    is_good = bool(chosen.command(chosen))
    sys.stdout.flush()
    return is_good


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="device-registration-api", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(name: str, command: Command, explanation: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=explanation, description=explanation)
        added.set_defaults(command=command)
        return added

    administrator = "DATABASE_URL"
    wait = "DATABASE_WAIT_SECONDS_MAX"
    logins = "WRITER_DB_USER, WRITER_DB_PASSWORD, READER_DB_USER, READER_DB_PASSWORD"
    personal = "PERSONAL_DB_USER, PERSONAL_DB_PASSWORD, PERSONAL_DATABASE_URL, KEYRING_DATABASE_URL"
    inbox = "INBOX_DB_USER, INBOX_DB_PASSWORD, INBOX_DATABASE_URL"
    keys = "PERSONAL_DB_USER, PERSONAL_DB_PASSWORD, PERSONAL_KEKS, KEYRING_DATABASE_URL"
    service = "DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD"
    add(
        "migrate",
        _migrate,
        f"create or update databases, roles, schemas, partitions (reads {administrator}, {wait}, {logins}, {personal}, "
        f"{inbox})",
    )
    for added in (
        add(
            "downgrade",
            _downgrade,
            f"undo the newest revision and delete the data that needs it (reads {administrator})",
        ),
        add("current", _current, f"print the revision of the database (reads {administrator})"),
    ):
        added.add_argument(
            "--database",
            choices=[each.name for each in SCHEMAS],
            default=STATISTICS.name,
            help="which of the databases",
        )
    citus.add_commands(add, administrator)
    add("rotate-keys", _rotate_keys, f"wrap people's keys under the current KEK (reads {service}, {keys})")
    add("verify-counts", _verify_counts, f"compare every count with its facts (reads {service})")
    added = add(
        "maintain",
        _maintain,
        f"create partitions, retire old ones, delete old rows (reads {service}, RETENTION_DAYS, {inbox})",
    )
    added.add_argument("--every", type=_seconds, metavar="SECONDS", help="repeat until SIGTERM, with this pause")
    inbox_commands.add_commands(add, inbox)
    access.add_commands(add, service)
    accounts.add_commands(add, service)
    exports.add_commands(add, service)
    imports.add_commands(add, service)
    webhooks.add_commands(add, service, "PERSONAL_KEKS, WEBHOOK_ALLOWED_NETWORKS")
    erasure.add_commands(add, service, f"{keys}, PERSONAL_DATABASE_URL", ", ".join(AccountSettings.names()))
    return parser


def _migrate(chosen: argparse.Namespace) -> bool:
    from device_registration_api.schema import migrate  # noqa: PLC0415 - only these three commands need Alembic

    with _ended_by_sigterm():
        administrator, logins = AdministratorSettings(), LoginSettings()
        with shown_progress(chosen.name) as progress:
            done = migrate.migrate(administrator, logins, progress.above(_print), progress)
        _print(done)
    return True


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block: without a handler, the first process of a container ignores SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _downgrade(chosen: argparse.Namespace) -> bool:
    from device_registration_api.schema import migrate  # noqa: PLC0415 - only these three commands need Alembic

    print(migrate.downgrade(AdministratorSettings(), _schema(chosen)))
    return True


def _schema(chosen: argparse.Namespace) -> Schema:
    [schema] = [each for each in SCHEMAS if each.name == chosen.database]
    return schema


def _current(chosen: argparse.Namespace) -> bool:
    from device_registration_api.schema import migrate  # noqa: PLC0415 - only these three commands need Alembic

    print(migrate.current(AdministratorSettings(), _schema(chosen)))
    return True


def _maintain(chosen: argparse.Namespace) -> bool:
    database, retention_days = DatabaseSettings(), RetentionSettings().retention_days
    settings, inbox = KeyringSettings(), InboxSettings()
    stop = threading.Event()

    def one_round() -> bool:
        with shown_progress(chosen.name) as progress:
            ok = maintain(
                database,
                retention_days,
                progress.above(_print),
                stopping=stop.is_set,
                elsewhere=Elsewhere(partial(_erase_people, database, settings), partial(oldest_waiting, inbox)),
                progress=progress,
            )
        if settings.is_complete():
            with (
                closing(connect_apart(PERSONAL, database, settings, statement_seconds_max=60)) as personal,
                closing(connect_apart(KEYRING, database, settings, statement_seconds_max=60)) as keyring,
            ):
                upkeep.keep_up(personal, keyring, settings.keks().current, clock.now(), _print)
                with personal:
                    account_commands.delete_old_keys(personal, clock.now())
                    people_commands.delete_old_keys(personal, clock.now())
        return complete_erasures(database, settings, _print, stop.is_set) and ok

    if chosen.every is None:
        return one_round()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        # A failed round has reported its error; the next one may reach the database again.
        _reporting_errors(chosen.name, one_round)
        stop.wait(chosen.every)
    return True


def _erase_people(database: DatabaseSettings, settings: KeyringSettings, project_id: int) -> bool:
    """Erase the people of a deleted project; False: they are not all gone."""
    if not settings.is_complete():
        return False
    try:
        with (
            closing(connect_apart(PERSONAL, database, settings, statement_seconds_max=60)) as personal,
            closing(connect_apart(KEYRING, database, settings, statement_seconds_max=60)) as keyring,
        ):
            erase_project(personal, keyring, project_id)
    except psycopg2.Error as error:
        _print(f"deleted projects: {_first_line(error)}")
        return False
    return True


def _rotate_keys(_: argparse.Namespace) -> bool:
    settings, database = KeyringSettings(), DatabaseSettings()
    with (
        closing(connect_apart(KEYRING, database, settings, statement_seconds_max=60)) as keyring,
        closing(connect(database, statement_seconds_max=60)) as conn,
    ):
        return rotation.rotate_keys(keyring, Keeper(settings.keks()), _print, [(conn, WRAPPED_SECRETS)])


def _verify_counts(chosen: argparse.Namespace) -> bool:
    settings = DatabaseSettings()
    connected = partial(connect, settings, statement_seconds_max=verify_counts.STATEMENT_SECONDS_MAX)
    with closing(connected()) as conn, shown_progress(chosen.name) as progress:
        verdict = verify_counts.verify_counts(conn, connected, progress)
    print(verify_counts.printed(verdict.counts))
    for drift in verdict.drifts:
        print(f"drift: {drift}")
    if not verdict.drifts:
        print(
            f"no drift in {', '.join(verdict.tables)}: facts + retired = each rollup, "
            f"and minutes = quarter hours of the last {verify_counts.DAYS_COMPARED} days"
        )
    # On another connection: that of the comparison may not write.
    with closing(connect(settings, statement_seconds_max=60)) as conn:
        record_run(conn, VERIFY_COUNTS, len(verdict.drifts))
    return not verdict.drifts


def _reporting_errors(name: str, work: Callable[[], bool]) -> bool:
    """Run a command; an error that an operator can correct is printed as one sentence instead of a traceback."""
    try:
        return work()
    except (CommandError, DomainError) as error:
        reason = str(error)
    except ValidationError as error:
        reason = _unusable_settings(error)
    except psycopg2.Error as error:
        reason = _first_line(error)
    except OSError as error:
        # Most likely of what it prints, into a file on a full disk.
        reason = ": ".join(filter(None, [error.filename, error.strerror or str(error)]))
        _give_up_output()
    print(f"{name}: {reason}", file=sys.stderr, flush=True)
    return False


def _give_up_output() -> None:
    """Let Python not try again, at its end, to write what could not be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unusable_settings(error: ValidationError) -> str:
    """Names every setting that is missing or wrong, and none of their values."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    missing = [str(each["loc"][0]).upper() for each in found if each["type"] == "missing"]
    wrong = [
        ": ".join([*(str(part).upper() for part in each["loc"]), each["msg"].removeprefix("Value error, ")])
        for each in found
    ]
    return f"set {', '.join(missing)} in the environment" if missing else "; ".join(wrong)


def _first_line(error: BaseException) -> str:
    # The server's own sentence names the host, the role or the missing right, never a password.
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError("at least 1")
    return seconds


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
