"""The commands of erasures, for the operator of the installation."""

import argparse
from collections.abc import Callable

from device_registration_api.erasure.verification import verify_erased
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.settings import KeyringSettings

Command = Callable[[argparse.Namespace], bool]


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser], service: str, keys: str) -> None:
    """Add the commands to the private service's command line; the last two name the settings that they read."""
    added = add("verify-erased", _verify_erased, f"look for rows of everybody who was erased (reads {service}, {keys})")
    added.add_argument("--replay", action="store_true", help="erase them all again before, as after a restore")


def _verify_erased(chosen: argparse.Namespace) -> bool:
    return verify_erased(DatabaseSettings(), KeyringSettings(), _print, replay=chosen.replay)


def _print(line: str) -> None:
    print(line, flush=True)
