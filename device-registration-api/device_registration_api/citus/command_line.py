"""The command for a database on several nodes."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

from device_registration_api.citus.state import Node
from device_registration_api.schema.settings import AdministratorSettings

Command: TypeAlias = Callable[[argparse.Namespace], bool]
Add: TypeAlias = Callable[[str, Command, str], argparse.ArgumentParser]

SHARDS_DEFAULT = 4
SHARDS_MAX = 64
_PORT_DEFAULT = 5432
_PORT_MAX = 65535


def add_commands(add: Add, administrator: str) -> None:
    """Add the command; `administrator` names the setting of the administrator's URL."""
    added = add(
        "distribute",
        _distribute,
        f"put facts and identities on the workers of a Citus cluster; says its plan first (reads {administrator})",
    )
    added.add_argument("--dry-run", action="store_true", help="say it, and do nothing")
    added.add_argument(
        "--worker", type=_node, action="append", default=[], metavar="HOST:PORT", help="add this one; may be repeated"
    )
    added.add_argument(
        "--coordinator", type=_node, metavar="HOST:PORT", help="how workers reach this server; default: as the URL"
    )
    added.add_argument(
        "--shards",
        type=_shards,
        default=SHARDS_DEFAULT,
        metavar="N",
        help="of each table that is not distributed yet; default: %(default)s",
    )


def _distribute(chosen: argparse.Namespace) -> bool:
    from device_registration_api.citus.distribute import distribute  # noqa: PLC0415 - it needs Alembic

    distribute(
        AdministratorSettings().database_url.get_secret_value(),
        lambda line: print(line, flush=True),
        coordinator=chosen.coordinator,
        new_workers=chosen.worker,
        shards=chosen.shards,
        dry_run=chosen.dry_run,
    )
    return True


def _node(text: str) -> Node:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(_PORT_DEFAULT))
    if not host or not port.isdecimal() or not 1 <= int(port) <= _PORT_MAX:
        raise argparse.ArgumentTypeError("HOST or HOST:PORT")
    return Node(host, int(port))


def _shards(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= SHARDS_MAX:
        message = f"a number from 1 to {SHARDS_MAX}"
        raise argparse.ArgumentTypeError(message)
    return int(text)
