"""The commands of erasures, for the operator of the installation."""

import argparse
from collections.abc import Callable
from contextlib import closing

from device_registration_api.accounts.accounts import Accounts
from device_registration_api.accounts.command_line import report
from device_registration_api.erasure.job import Erasures
from device_registration_api.erasure.verification import verify_erased
from device_registration_api.maintenance.arguments import instant
from device_registration_api.maintenance.connect import connect, pool
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.maintenance.wrong_events import WrongEvents, count_wrong_events, delete_wrong_events
from device_registration_api.personal.erasing import new_eraser
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.schema.connect import CommandError
from servicekit.process.progress import shown_progress

_STATEMENT_SECONDS_MAX = 600

Command = Callable[[argparse.Namespace], bool]


def add_commands(
    add: Callable[[str, Command, str], argparse.ArgumentParser], service: str, keys: str, accounts: str
) -> None:
    """Add the commands to the private service's command line; the last three name the settings that they read."""
    added = add("verify-erased", _verify_erased, f"look for rows of everybody who was erased (reads {service}, {keys})")
    added.add_argument("--replay", action="store_true", help="erase them all again before, as after a restore")

    added = add(
        "delete-events",
        _delete_events,
        f"delete events that were sent by mistake, and keep every figure (reads {service})",
    )
    added.add_argument("kind", metavar="KIND", help="auth_events, store_events, ...")
    added.add_argument("project_key", metavar="PROJECT-KEY")
    added.add_argument("--type", metavar="TYPE", help="a device type, or a type of store events")
    added.add_argument("--from", dest="starts", type=instant, metavar="TIME", help="that happened then or later")
    added.add_argument("--to", dest="ends", type=instant, metavar="TIME", help="that happened earlier")
    added.add_argument("--yes", action="store_true", help="delete them; without it, they are counted only")

    added = add("erase-account", _erase_account, f"erase an account from all databases (reads {service}, {accounts})")
    added.add_argument("email", metavar="EMAIL")


def _erase_account(chosen: argparse.Namespace) -> bool:
    database = DatabaseSettings()
    eraser = new_eraser(KeyringSettings(), database, "accounts")
    if eraser is None:
        raise CommandError("set PERSONAL_DB_USER, PERSONAL_DB_PASSWORD and PERSONAL_KEKS in the environment")
    first = pool(database, statement_seconds_max=_STATEMENT_SECONDS_MAX)

    async def erase(accounts: Accounts, ends: float) -> str:
        with shown_progress("erase-account"):
            account = await accounts.find_any(chosen.email, ends)
            erasure = await Erasures(first, eraser).erase_account(account, ends)
        return f"the account is erased, and its tokens end within 30 s; receipt {erasure.receipt}"

    try:
        return report(erase)
    finally:
        first.close()
        eraser.close()


def _delete_events(chosen: argparse.Namespace) -> bool:
    wrong = WrongEvents(chosen.kind, chosen.project_key, chosen.type, chosen.starts, chosen.ends)
    with closing(connect(DatabaseSettings(), statement_seconds_max=_STATEMENT_SECONDS_MAX)) as conn:
        found = count_wrong_events(conn, wrong)
        if not chosen.yes:
            _print(f"{found} events would be deleted, and stay counted; repeat with --yes")
            return True
        with shown_progress("delete-events") as progress:
            progress.expect(found)
            deleted = delete_wrong_events(conn, wrong, progress=progress)
        _print(f"{deleted} events were deleted; they stay counted")
        left = count_wrong_events(conn, wrong)
    if left:
        # Their users are not counted yet, and whoever counts them comes no farther for now.
        _print(f"{left} are left, because a transaction is open that is older than they; repeat this when it has ended")
    return not left


def _verify_erased(chosen: argparse.Namespace) -> bool:
    with shown_progress("verify-erased") as progress:
        report = progress.above(_print)
        return verify_erased(DatabaseSettings(), KeyringSettings(), report, replay=chosen.replay, progress=progress)


def _print(line: str) -> None:
    print(line, flush=True)
