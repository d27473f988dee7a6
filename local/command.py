"""`python -m local.command COMMAND ...`: a command of the private service, on the databases of a running `make run`."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from psycopg2.extensions import make_dsn

from local.database import NAME, DatabaseError, find
from local.installation import Installation
from local.settings import Settings, SettingsError, handed_on, read_settings
from local.stale_server import lock_file

PROGRAM = [sys.executable, "-m", "device_registration_api"]


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status, which is 1 when it fails or finds something."""
    try:
        settings = read_settings()
        installation = Installation(settings.data_dir)
        admin_url = _database_url(settings, installation)
        environment = {
            **_handed_on(settings),
            **installation.databases_elsewhere(),
            **installation.writer.environment(admin_url),
            **installation.personal_data,
            **installation.account_keys,
        }
    except (DatabaseError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    # Ctrl-C goes to both: the command ends, and says what stays. A handler is not inherited, unlike SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([*PROGRAM, *arguments], env=environment, check=False).returncode  # noqa: S603 - no shell
    finally:
        signal.signal(signal.SIGINT, before)


def _handed_on(settings: Settings) -> dict[str, str]:
    # libpq's variables are meant for another server than the embedded one: PGHOSTADDR would lead there.
    embedded = settings.database_url is None
    return {name: value for name, value in handed_on().items() if not (embedded and name.startswith("PG"))}


def _database_url(settings: Settings, installation: Installation) -> str:
    if settings.database_url is not None and installation.folder.is_dir():
        return find(settings.database_url.get_secret_value())[0]
    lock = lock_file(Path(installation.postgres_folder, "pgdata"))
    try:
        port, socket_folder = lock[3], lock[4]
    except IndexError:
        message = f"PostgreSQL does not run on DATA_DIR {installation.folder}: start it with `make run` first."
        raise DatabaseError(message) from None
    return make_dsn(host=socket_folder, port=port, dbname=NAME)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
