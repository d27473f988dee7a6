"""The commands for projects and API keys: each prints a line or a table."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import TypeAlias

from pydantic import TypeAdapter, ValidationError

from contract.access import LIFE_DEFAULT, OVERLAP_DEFAULT, OVERLAP_MAX, ApiKeyDraft, Scope
from contract.projects import ProjectChange, ProjectDraft, ProjectRole
from contract.text import Instant
from device_registration_api.access import keys, members, projects
from device_registration_api.access.settings import AccessSettings
from device_registration_api.accounts.accounts import Accounts
from device_registration_api.accounts.command_line import report
from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.settings import DatabaseSettings
from servicekit.database import Connection
from servicekit.http.bodies import validated
from servicekit.process import clock

Command: TypeAlias = Callable[[argparse.Namespace], bool]
# Adds a command to a parser: its name, its function and its explanation.
Add: TypeAlias = Callable[[str, Command, str], argparse.ArgumentParser]

_STATEMENT_SECONDS_MAX = 10
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


def add_commands(add: Add, service: str) -> None:
    """Add every command; `service` names the settings of the private service's login."""
    added = add("create-project", _create_project, f"create a project and print its key (reads {service})")
    added.add_argument("project_name", metavar="NAME")
    added.add_argument("--timezone", default="UTC", help="an IANA time zone; default: UTC")
    for name, is_active, explanation in (
        ("activate-project", True, "accept the API keys of a project again"),
        ("deactivate-project", False, "refuse the API keys of a project within 30 s, until it is activated"),
    ):
        added = add(name, _activate_project, f"{explanation} (reads {service})")
        added.add_argument("project_key", metavar="PROJECT-KEY")
        added.set_defaults(is_active=is_active)
    reads = f"(reads {service}, {', '.join(AccountSettings.names())})"
    added = add("add-owner", _add_owner, f"make an account an owner of a project {reads}")
    added.add_argument("project_key", metavar="PROJECT-KEY")
    added.add_argument("email", metavar="EMAIL")
    added = add("create-key", _create_key, f"create an API key and print it, once (reads {service}, API_KEYS_MAX)")
    added.add_argument("project_key", metavar="PROJECT-KEY")
    added.add_argument("key_name", metavar="NAME")
    added.add_argument(
        "--scopes", type=_scopes, required=True, metavar="SCOPE,...", help=f"of {', '.join(Scope)}, with commas"
    )
    life = added.add_mutually_exclusive_group()
    life.add_argument("--expires-at", type=_instant, metavar="TIME", help=f"default: in {LIFE_DEFAULT.days} days")
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
        default=OVERLAP_DEFAULT,
        dest="overlap",
        metavar="SECONDS",
        help="how long the old key stays valid; default: a day",
    )


@contextmanager
def _transaction() -> Iterator[Connection]:
    with closing(connect(DatabaseSettings(), statement_seconds_max=_STATEMENT_SECONDS_MAX)) as conn, conn:
        yield conn


def _create_project(chosen: argparse.Namespace) -> bool:
    draft = validated(ProjectDraft, {"name": chosen.project_name, "timezone": chosen.timezone})
    with _transaction() as conn:
        created = projects.create_project(conn, draft)
    _print(created.project_key)
    return True


def _activate_project(chosen: argparse.Namespace) -> bool:
    change = ProjectChange(is_active=chosen.is_active)
    with _transaction() as conn:
        projects.change_project(conn, chosen.project_key, change, None)
    _print(f"project {chosen.project_key} is {'active' if chosen.is_active else 'inactive'}")
    return True


def _add_owner(chosen: argparse.Namespace) -> bool:
    async def add(accounts: Accounts, ends: float) -> str:
        account_id = await accounts.find(chosen.email, ends)
        with _transaction() as conn:
            members.add_member(conn, chosen.project_key, account_id, ProjectRole.OWNER, None)
        return f"{chosen.email} is an owner of project {chosen.project_key}"

    return report(add)


def _create_key(chosen: argparse.Namespace) -> bool:
    fields = {"name": chosen.key_name, "scopes": chosen.scopes}
    if chosen.expires_at is not None or chosen.never_expires:
        fields["expires_at"] = chosen.expires_at
    draft = validated(ApiKeyDraft, fields)
    active_max = AccessSettings().api_keys_max
    with _transaction() as conn:
        created = keys.create_key(conn, chosen.project_key, draft, active_max=active_max)
    _print(str(created.key))
    return True


def _list_keys(chosen: argparse.Namespace) -> bool:
    with _transaction() as conn:
        stored = keys.list_keys(conn, chosen.project_key)
    now = clock.now()
    for each in stored:
        ends = "never" if each.expires_at is None else each.expires_at.isoformat(timespec="seconds")
        _print(f"{each.key_id}  {each.state(now):<7}  {','.join(each.scopes)}  expires {ends}  {each.name}")
    return True


def _revoke_key(chosen: argparse.Namespace) -> bool:
    with _transaction() as conn:
        keys.revoke_key(conn, chosen.project_key, chosen.key_id)
    _print(f"key {chosen.key_id} is revoked")
    return True


def _rotate_key(chosen: argparse.Namespace) -> bool:
    active_max = AccessSettings().api_keys_max
    with _transaction() as conn:
        created = keys.rotate_key(
            conn, chosen.project_key, chosen.key_id, overlap=chosen.overlap, active_max=active_max
        )
    _print(str(created.key))
    return True


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
    if not 0 <= seconds <= OVERLAP_MAX.total_seconds():
        raise argparse.ArgumentTypeError(f"0 to {OVERLAP_MAX.total_seconds():.0f}")
    return timedelta(seconds=seconds)


def _print(line: str) -> None:
    print(line, flush=True)
