"""The private service's command line, for operators: each command prints a line or a table and exits with 0 or 1."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

import psycopg2
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import DBAPIError

from contract.access import Scope
from contract.text import Instant
from device_registration_api.access import keys
from device_registration_api.access.projects import create_project
from device_registration_api.access.settings import AccessSettings
from device_registration_api.accounts import command_line
from device_registration_api.accounts import commands as account_commands
from device_registration_api.maintenance import verify_counts
from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.maintain import maintain
from device_registration_api.maintenance.settings import DatabaseSettings, RetentionSettings
from device_registration_api.personal import rotation, upkeep
from device_registration_api.personal.connect import connect_apart
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.schema import migrate
from device_registration_api.schema.connect import CommandError
from device_registration_api.schema.schemas import KEYRING, PERSONAL, SCHEMAS, STATISTICS, Schema
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from servicekit.database import Connection
from servicekit.process import clock

Command = Callable[[argparse.Namespace], bool]

_ACCESS_SECONDS_MAX = 10
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    chosen = _parser().parse_args(arguments)
    return 0 if _reporting_errors(chosen.name, lambda: bool(chosen.command(chosen))) else 1


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
    keys = "PERSONAL_DB_USER, PERSONAL_DB_PASSWORD, PERSONAL_KEKS, KEYRING_DATABASE_URL"
    service = "DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD"
    add(
        "migrate",
        _migrate,
        f"create or update databases, roles, schemas, partitions (reads {administrator}, {wait}, {logins}, {personal})",
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
            "--database", choices=[each.name for each in SCHEMAS], default=STATISTICS.name, help="one of the three"
        )
    add("rotate-keys", _rotate_keys, f"wrap people's keys under the current KEK (reads {service}, {keys})")
    add("verify-counts", _verify_counts, f"compare every count with its facts (reads {service})")
    added = add(
        "maintain", _maintain, f"create partitions, retire old ones, delete old rows (reads {service}, RETENTION_DAYS)"
    )
    added.add_argument("--every", type=_seconds, metavar="SECONDS", help="repeat until SIGTERM, with this pause")
    _add_access(add, service)
    command_line.add_commands(add, service)
    return parser


def _add_access(add: Callable[[str, Command, str], argparse.ArgumentParser], service: str) -> None:
    added = add("create-project", _create_project, f"create a project and print its key (reads {service})")
    added.add_argument("project_name", metavar="NAME")
    added.add_argument("--timezone", default="UTC", help="an IANA time zone; default: UTC")
    added = add("create-key", _create_key, f"create an API key and print it, once (reads {service}, API_KEYS_MAX)")
    added.add_argument("project_key", metavar="PROJECT-KEY")
    added.add_argument("key_name", metavar="NAME")
    added.add_argument(
        "--scopes", type=_scopes, required=True, metavar="SCOPE,...", help=f"of {', '.join(Scope)}, with commas"
    )
    life = added.add_mutually_exclusive_group()
    life.add_argument("--expires-at", type=_instant, metavar="TIME", help=f"default: in {keys.LIFE_DEFAULT.days} days")
    life.add_argument("--never-expires", action="store_true")
    added = add("list-keys", _list_keys, f"print the API keys of a project, without their secrets (reads {service})")
    added.add_argument("project_key", metavar="PROJECT-KEY")
    added = add("revoke-key", _revoke_key, f"end an API key within 30 s (reads {service})")
    added.add_argument("project_key", metavar="PROJECT-KEY")
    added.add_argument("key_id", metavar="KEY-ID")
    added = add(
        "rotate-key", _rotate_key, f"create the successor of an API key and print it (reads {service}, API_KEYS_MAX)"
    )
    added.add_argument("project_key", metavar="PROJECT-KEY")
    added.add_argument("key_id", metavar="KEY-ID")
    added.add_argument(
        "--overlap-seconds",
        type=_overlap,
        default=keys.OVERLAP_DEFAULT,
        dest="overlap",
        metavar="SECONDS",
        help="how long the old key stays valid; default: a day",
    )


def _migrate(_: argparse.Namespace) -> bool:
    with _ended_by_sigterm():
        _print(migrate.migrate(AdministratorSettings(), LoginSettings(), _print))
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
    print(migrate.downgrade(AdministratorSettings(), _schema(chosen)))
    return True


def _schema(chosen: argparse.Namespace) -> Schema:
    [schema] = [each for each in SCHEMAS if each.name == chosen.database]
    return schema


def _current(chosen: argparse.Namespace) -> bool:
    print(migrate.current(AdministratorSettings(), _schema(chosen)))
    return True


def _maintain(chosen: argparse.Namespace) -> bool:
    database, retention_days = DatabaseSettings(), RetentionSettings().retention_days
    settings = KeyringSettings()
    stop = threading.Event()

    def one_round() -> bool:
        ok = maintain(database, retention_days, _print, stopping=stop.is_set)
        if settings.is_complete():
            with (
                closing(connect_apart(PERSONAL, database, settings, statement_seconds_max=60)) as personal,
                closing(connect_apart(KEYRING, database, settings, statement_seconds_max=60)) as keyring,
            ):
                upkeep.keep_up(personal, keyring, settings.keks().current, clock.now(), _print)
                with personal:
                    account_commands.delete_old_keys(personal, clock.now())
        return ok

    if chosen.every is None:
        return one_round()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        # A failed round has reported its error; the next one may reach the database again.
        _reporting_errors(chosen.name, one_round)
        stop.wait(chosen.every)
    return True


def _rotate_keys(_: argparse.Namespace) -> bool:
    settings = KeyringSettings()
    with closing(connect_apart(KEYRING, DatabaseSettings(), settings, statement_seconds_max=60)) as conn:
        return rotation.rotate_keys(conn, Keeper(settings.keks()), _print)


def _verify_counts(_: argparse.Namespace) -> bool:
    settings = DatabaseSettings()
    with closing(connect(settings, statement_seconds_max=verify_counts.STATEMENT_SECONDS_MAX)) as conn:
        verdict = verify_counts.verify_counts(conn)
    print(verify_counts.printed(verdict.counts))
    for drift in verdict.drifts:
        print(f"drift: {drift}")
    if not verdict.drifts:
        print(
            f"no drift in {', '.join(verdict.tables)}: facts + retired = each rollup, "
            f"and minutes = quarter hours of the last {verify_counts.DAYS_COMPARED} days"
        )
    return not verdict.drifts


@contextmanager
def _access() -> Iterator[Connection]:
    with closing(connect(DatabaseSettings(), statement_seconds_max=_ACCESS_SECONDS_MAX)) as conn:
        yield conn


def _create_project(chosen: argparse.Namespace) -> bool:
    with _access() as conn:
        _print(create_project(conn, chosen.project_name, chosen.timezone).project_key)
    return True


def _create_key(chosen: argparse.Namespace) -> bool:
    expires_at = chosen.expires_at
    if expires_at is None and not chosen.never_expires:
        expires_at = clock.now() + keys.LIFE_DEFAULT
    active_max = AccessSettings().api_keys_max
    with _access() as conn:
        _print(
            keys.create_key(
                conn,
                chosen.project_key,
                chosen.key_name,
                chosen.scopes,
                expires_at=expires_at,
                active_max=active_max,
            )
        )
    return True


def _list_keys(chosen: argparse.Namespace) -> bool:
    with _access() as conn:
        stored = keys.list_keys(conn, chosen.project_key)
    now = clock.now()
    for each in stored:
        ends = "never" if each.expires_at is None else each.expires_at.isoformat(timespec="seconds")
        _print(f"{each.key_id}  {each.state(now):<7}  {','.join(each.scopes)}  expires {ends}  {each.name}")
    return True


def _revoke_key(chosen: argparse.Namespace) -> bool:
    with _access() as conn:
        keys.revoke_key(conn, chosen.project_key, chosen.key_id)
    _print(f"key {chosen.key_id} is revoked")
    return True


def _rotate_key(chosen: argparse.Namespace) -> bool:
    active_max = AccessSettings().api_keys_max
    with _access() as conn:
        _print(keys.rotate_key(conn, chosen.project_key, chosen.key_id, overlap=chosen.overlap, active_max=active_max))
    return True


def _reporting_errors(name: str, work: Callable[[], bool]) -> bool:
    """Run a command; an error that an operator can correct is printed as one sentence instead of a traceback."""
    try:
        return work()
    except CommandError as error:
        reason = str(error)
    except ValidationError as error:
        reason = _unusable_settings(error)
    except DBAPIError as error:
        reason = _first_line(error.orig or error)
    except psycopg2.Error as error:
        reason = _first_line(error)
    print(f"{name}: {reason}", file=sys.stderr, flush=True)
    return False


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


def _scopes(text: str) -> list[Scope]:
    try:
        return sorted({Scope(each.strip()) for each in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"scopes are {', '.join(Scope)}") from None


def _instant(text: str) -> datetime:
    try:
        return _INSTANT.validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _overlap(text: str) -> timedelta:
    seconds = float(text)
    if not 0 <= seconds <= keys.OVERLAP_MAX.total_seconds():
        raise argparse.ArgumentTypeError(f"0 to {keys.OVERLAP_MAX.total_seconds():.0f}")
    return timedelta(seconds=seconds)


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
