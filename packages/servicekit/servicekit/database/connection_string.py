"""The connection parameters of every psycopg2 connection of this product, and the bounds of its sessions."""

from typing import Any, NamedTuple

from psycopg2.extensions import make_dsn

# libpq's connection parameters, in seconds unless a comment says otherwise. tcp_user_timeout bounds the time for which
# sent data may stay unacknowledged. Keepalives detect within 20 seconds a peer that vanished without closing.
CONNECTION_PARAMETERS: dict[str, Any] = {
    "client_encoding": "UTF8",  # PGCLIENTENCODING must not apply: COPY data is sent as UTF-8 and never converted
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 8000,  # milliseconds
}
# A response of 200 promises durability: each session waits for the write-ahead log, whatever the server's default is.
_SESSION = "-c synchronous_commit=on -c timezone=UTC"


class SessionTimeouts(NamedTuple):
    """How long the server lets a session run one statement, wait for one lock, and stay idle in a transaction."""

    statement_seconds: float
    lock_seconds: float
    idle_in_transaction_seconds: float


SERVICE_TIMEOUTS = SessionTimeouts(statement_seconds=2, lock_seconds=0.5, idle_in_transaction_seconds=5)


def dsn(
    *,
    host: str,
    port: int,
    name: str,
    user: str,
    password: str,
    application: str,
    timeouts: SessionTimeouts = SERVICE_TIMEOUTS,
) -> str:
    """Return a libpq connection string with every time-out that this product relies on. It contains the password."""
    made: str = make_dsn(
        host=host,
        port=port,
        dbname=name,
        user=user,
        password=password,
        application_name=application,
        options=_options(timeouts),
        **CONNECTION_PARAMETERS,
    )
    return made


def _options(timeouts: SessionTimeouts) -> str:
    milliseconds = {
        "statement_timeout": timeouts.statement_seconds,
        "lock_timeout": timeouts.lock_seconds,
        "idle_in_transaction_session_timeout": timeouts.idle_in_transaction_seconds,
    }
    return " ".join([_SESSION, *(f"-c {name}={seconds * 1000:.0f}" for name, seconds in milliseconds.items())])
