"""The connection parameters of every psycopg2 connection of this product, and the bounds of its sessions."""

from typing import Any, NamedTuple

from psycopg2.extensions import make_dsn

# Sources: libpq's connection parameters; seconds unless the name says otherwise. tcp_user_timeout bounds data that is
# sent and not acknowledged; keepalives notice within 20 seconds a peer that went away without a word.
CONNECTION_PARAMETERS: dict[str, Any] = {
    "client_encoding": "UTF8",  # whatever the environment says: the server does not convert what COPY sends
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 8000,  # milliseconds
}
# A 200 means durable: whatever the server's default is, this session waits for the write-ahead log.
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
    """A libpq connection string with every time-out this product relies on; it holds the password."""
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
