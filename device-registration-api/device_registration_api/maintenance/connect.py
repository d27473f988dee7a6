"""One connection for one command, with the service's login and bounds that fit long statements."""

import psycopg2

from device_registration_api.maintenance.settings import DatabaseSettings
from servicekit.database import Connection


def connect(settings: DatabaseSettings, *, statement_seconds_max: int) -> Connection:
    """Connect as the private service. Raises psycopg2.OperationalError when the server cannot be reached."""
    return psycopg2.connect(
        host=settings.db_host,
        port=settings.db_port,
        dbname=settings.db_name,
        user=settings.db_user,
        password=settings.db_password.get_secret_value(),
        application_name="maintenance",
        # A peer that goes away in silence is noticed in seconds, however long a statement may run.
        connect_timeout=2,
        keepalives=1,
        keepalives_idle=10,
        keepalives_interval=3,
        keepalives_count=3,
        tcp_user_timeout=8000,
        options=(
            f"-c statement_timeout={statement_seconds_max}s -c lock_timeout=2s -c timezone=UTC "
            "-c idle_in_transaction_session_timeout=10s -c synchronous_commit=on"
        ),
    )
