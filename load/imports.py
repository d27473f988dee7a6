"""How fast `device-registration-api import` is: a million auth events of 90 days, from the old system's table."""

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator

from load.environment import BenchEnvironment
from load.figures import Figure
from local.database import Login, base_environment, migrate

ROWS = 1_000_000
FLOOR = 50_000
_OLD = """
    CREATE TABLE device_registrations (
        id serial PRIMARY KEY, user_key varchar(255) NOT NULL, device_type varchar(50) NOT NULL,
        created_at timestamp DEFAULT CURRENT_TIMESTAMP)
"""
_FILL = f"""
    INSERT INTO device_registrations (user_key, device_type, created_at)
    SELECT 'user-' || n % 50000, (ARRAY['iOS', 'Android', 'TV', 'Watch'])[1 + n % 4],
           timestamp '2024-01-01' + n * interval '90 days' / {ROWS}
      FROM generate_series(1, {ROWS}) AS n
"""  # noqa: S608 - of constants of this file


def imports(environment: BenchEnvironment) -> Iterator[Figure]:
    """The whole command, from its start to its report; then again, when it finds everything stored."""
    environment.execute("postgres", "CREATE DATABASE old_system")
    environment.execute("old_system", _OLD, _FILL, "VACUUM ANALYZE device_registrations")
    writer, reader = (Login(f"imports_{role}", secrets.token_hex(16)) for role in ("writer", "reader"))
    url = environment.server.url("imports")
    # Without the services: they would count the users of what is imported meanwhile.
    migrate(url, writer, reader, base_environment())
    command = [sys.executable, "-m", "device_registration_api", "import", "--from", "device-statistics-api"]
    for what, floor in (("import of new auth events", FLOOR), ("import of stored auth events", None)):
        environment.settle()
        begun = time.monotonic()
        subprocess.run(  # noqa: S603 - this interpreter, and a database that was just made
            [*command, environment.server.url("old_system")],
            env=base_environment() | writer.environment(url) | {"RETENTION_DAYS": "0"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.monotonic() - begun
        detail = f"{ROWS:,} rows of 90 days in {seconds:.1f} s, with the start of the command"
        yield Figure(what, ROWS / seconds, floor, "higher", detail, " rows/s")
