"""The command that evaluates rules and sends deliveries."""

import argparse
import signal
import threading
from collections.abc import Callable

from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.webhooks import job
from device_registration_api.webhooks.settings import WebhookSettings

Command = Callable[[argparse.Namespace], bool]


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser], service: str, own: str) -> None:
    """Add the command to the private service's command line; the last two name the settings that it reads."""
    added = add(
        "webhooks", _webhooks, f"evaluate the rules of webhooks and send, until SIGTERM (reads {service}, {own})"
    )
    added.add_argument("--once", action="store_true", help="evaluate and attempt what is due now, then end")


def _webhooks(chosen: argparse.Namespace) -> bool:
    database, keyring = DatabaseSettings(), KeyringSettings()
    allowed = WebhookSettings().webhook_allowed_networks
    if chosen.once:
        keeper = Keeper(keyring.keks())
        with job.new_job(database, keeper, allowed, _print) as once:
            changes, attempts = once.evaluate(), once.finish()
        _print(f"{changes} rules changed, {attempts} attempts")
        return True
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if keyring.personal_keks is None:
        # As without personal data: an installation where something else would restart this process again and again.
        _print("PERSONAL_KEKS is not set, so no webhook can be made, and there is nothing to send")
        stop.wait()
        return True
    job.run(database, Keeper(keyring.keks()), allowed, _print, pause=stop.wait, stopping=stop.is_set)
    return True


def _print(line: str) -> None:
    print(line, flush=True)
