"""The command line for operators: `device-registration-api migrate | downgrade | current`."""

import argparse
import sys
from collections.abc import Sequence

import psycopg2
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from device_registration_api.schema.connect import Refused
from device_registration_api.schema.migrate import current, downgrade, migrate
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code, having printed one readable line or table."""
    chosen = _parser().parse_args(arguments)
    try:
        return _run(chosen)
    except Refused as error:
        reason = str(error)
    except ValidationError as error:
        reason = _unusable_settings(error)
    except DBAPIError as error:
        reason = _database_reason(error.orig or error)
    except psycopg2.Error as error:
        reason = _database_reason(error)
    print(f"{chosen.command}: {reason}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="device-registration-api", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="make or renew roles, database, schema and the coming weeks")
    commands.add_parser("downgrade", help="take back the newest revision, with the data only it can hold")
    commands.add_parser("current", help="print the revision of the database")
    return parser


def _run(chosen: argparse.Namespace) -> int:
    administrator = AdministratorSettings()
    match chosen.command:
        case "migrate":
            print(migrate(administrator, LoginSettings()))
        case "downgrade":
            print(downgrade(administrator))
        case "current":
            print(current(administrator))
    return 0


def _unusable_settings(error: ValidationError) -> str:
    """One sentence that names every setting and none of its values."""
    found = error.errors(include_url=False, include_input=False)
    missing = [str(each["loc"][0]).upper() for each in found if each["type"] == "missing"]
    others = [
        ": ".join((*(str(part).upper() for part in each["loc"]), each["msg"]))
        for each in found
        if each["type"] != "missing"
    ]
    return "; ".join([*([f"set {', '.join(missing)}"] if missing else []), *others])


def _database_reason(error: BaseException) -> str:
    """The server's own first line: it names the host, the role or the missing right, never a password."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
