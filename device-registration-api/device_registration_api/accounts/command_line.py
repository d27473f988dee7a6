"""The commands of accounts, for the operator of the installation."""

import argparse
import asyncio
import getpass
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from contract.accounts import RegistrationAttempt
from device_registration_api.accounts.accounts import Accounts, new_accounts
from device_registration_api.accounts.settings import AccountSettings
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.pools import new_personal_data
from device_registration_api.schema.connect import CommandError
from servicekit.errors import DomainError
from servicekit.http.error_responses import invalid

Command = Callable[[argparse.Namespace], bool]
Result = TypeVar("Result")

_SECONDS_MAX = 20.0


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser], service: str) -> None:
    """Add the commands to the private service's command line; `service` names the settings of its database."""
    reads = f"(reads {service}, {', '.join(AccountSettings.names())})"
    added = add("create-operator", _create_operator, f"create an operator, or make an account an operator {reads}")
    added.add_argument("email", metavar="EMAIL")
    added.add_argument("--full-name", metavar="NAME")
    added.add_argument(
        "--password-file", type=Path, metavar="FILE", help="its first line is the password; default: asked twice"
    )
    for name, command, what in (
        ("deactivate-account", _deactivate, "stop an account within 30 s"),
        ("activate-account", _activate, "let a stopped account log in again"),
    ):
        add(name, command, f"{what} {reads}").add_argument("email", metavar="EMAIL")


def _create_operator(chosen: argparse.Namespace) -> bool:
    async def create(accounts: Accounts, ends: float) -> str:
        if await accounts.make_operator(chosen.email, ends):
            return f"{chosen.email} has an account, which is an operator's now; its password has not changed"
        registration = _registration(chosen)
        # A person may have typed for a while.
        await accounts.register(registration, time.monotonic() + _SECONDS_MAX, is_operator=True)
        return f"{chosen.email} is an operator"

    return report(create)


def _deactivate(chosen: argparse.Namespace) -> bool:
    return _set_active(chosen.email, is_active=False)


def _activate(chosen: argparse.Namespace) -> bool:
    return _set_active(chosen.email, is_active=True)


def _set_active(email: str, *, is_active: bool) -> bool:
    async def change(accounts: Accounts, ends: float) -> str:
        if not await accounts.set_active(email, ends, is_active=is_active):
            raise CommandError(f"no account has the e-mail address {email}")
        return f"{email} is {'active' if is_active else 'inactive; its tokens end within 30 s'}"

    return report(change)


def report(work: Callable[[Accounts, float], Awaitable[str]]) -> bool:
    """Print the line that `work` returns for the accounts of the installation. Raises CommandError."""
    settings = AccountSettings()
    data = new_personal_data(settings, DatabaseSettings(), "accounts")
    accounts = new_accounts(settings, data)
    if accounts is None or data is None:
        raise CommandError(f"set {', '.join(settings.missing())} in the environment")

    async def run() -> str:
        try:
            return await work(accounts, time.monotonic() + _SECONDS_MAX)
        finally:
            accounts.close()
            data.close()

    try:
        line = asyncio.run(run())
    except DomainError as error:
        raise CommandError("; ".join(field.msg for field in error.fields) or str(error)) from error
    print(line, flush=True)
    return True


def _registration(chosen: argparse.Namespace) -> RegistrationAttempt:
    try:
        return RegistrationAttempt(
            email=chosen.email, password=ask_password(chosen.password_file), full_name=chosen.full_name
        )
    except ValidationError as error:
        # Without the input: it is a password.
        raise CommandError(str(invalid(error))) from None


def ask_password(file: Path | None) -> str:
    """Return the first line of the file, or what is typed twice. Raises CommandError."""
    if file is not None:
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file} cannot be read") from error
        return lines[0] if lines else ""
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise CommandError("the two passwords are different")
    return password
