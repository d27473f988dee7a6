"""`make verify-counts`: runs the private service's own check on the database of a running `make run`."""

import subprocess
import sys
from pathlib import Path

from psycopg2.extensions import make_dsn

from local.database import NAME, DatabaseError, base_environment, find
from local.installation import Installation
from local.settings import Settings, SettingsError, read_settings
from local.stale_server import lock_file

COMMAND = [sys.executable, "-m", "device_registration_api", "verify-counts"]


def main() -> int:
    """Run the check; return its exit status, which is 1 when a count has drifted."""
    try:
        settings = read_settings()
        installation = Installation(settings.data_dir)
        login = installation.writer.environment(_database_url(settings, installation))
    except (DatabaseError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return subprocess.run(COMMAND, env=base_environment() | login, check=False).returncode  # noqa: S603 - our own list


def _database_url(settings: Settings, installation: Installation) -> str:
    if settings.database_url is not None:
        return find(settings.database_url.get_secret_value())[0]
    lock = lock_file(Path(installation.postgres_folder, "pgdata"))
    try:
        port, socket_folder = lock[3], lock[4]
    except IndexError:
        message = f"PostgreSQL does not run on DATA_DIR {installation.folder}: start it with `make run` first."
        raise DatabaseError(message) from None
    return make_dsn(host=socket_folder, port=port, dbname=NAME)


if __name__ == "__main__":
    sys.exit(main())
