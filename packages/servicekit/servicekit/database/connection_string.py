"""Where to connect, under which login, and how long each wait may take."""

from typing import Any

from psycopg2.extensions import make_dsn

# Sources: libpq's connection parameters, PostgreSQL's client settings; seconds unless the name says otherwise.
# tcp_user_timeout bounds data that is sent and not acknowledged, keepalives a peer that went away in silence.
_CONNECT = {
    "client_encoding": "UTF8",  # whatever the environment says: what COPY is given, nobody converts
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 8000,  # milliseconds
}
_SESSION_MILLISECONDS = {
    "statement_timeout": 2000,
    "lock_timeout": 500,
    "idle_in_transaction_session_timeout": 5000,
}
# A 200 means durable: whatever the server's default is, this session waits for the write-ahead log.
_SESSION = "-c synchronous_commit=on " + " ".join(f"-c {k}={v}" for k, v in _SESSION_MILLISECONDS.items())


def dsn(*, host: str, port: int, name: str, user: str, password: str, application: str) -> str:
    """A libpq connection string with every time-out this product relies on."""
    parameters: dict[str, Any] = _CONNECT | {"options": _SESSION}
    made: str = make_dsn(
        host=host,
        port=port,
        dbname=name,
        user=user,
        password=password,
        application_name=application,
        **parameters,
    )
    return made
