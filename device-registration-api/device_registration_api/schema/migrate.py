"""The whole way from an empty server to a database that the services can use, repeatable at any time."""

from collections.abc import Callable
from contextlib import closing

from psycopg2 import sql

from device_registration_api.maintenance import catalogue, partitions
from device_registration_api.schema import migrations, roles
from device_registration_api.schema.connect import (
    SESSION_LOCK,
    acquire_lock,
    connect,
    connect_when_ready,
    database_name,
)
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from servicekit.database import Connection
from servicekit.process import clock

# An arbitrary number that no other program uses for an advisory lock in database `postgres`.
_ROLE_LOCK = 7_302_000


def migrate(administrator: AdministratorSettings, logins: LoginSettings, say: Callable[[str], None] = print) -> str:
    """Create or update roles, database, schema and the coming weeks; return one line that says what was done.

    A database of a newer release (as after a rollback of the images) keeps its schema; roles and rights are updated.

    Raises:
        CommandError: the server is too old, a login's name is taken, or the database's revision is unknown.
        psycopg2.Error: the server cannot be reached or lacks a right.
    """
    url = administrator.database_url.get_secret_value()
    database = database_name(url)
    with closing(connect_when_ready(url, "postgres", administrator.database_wait_seconds_max, say)) as conn:
        _prepare_server(conn, database, logins)
    with closing(connect(url)) as conn:
        with migrations.schema_transaction(conn) as config:
            roles.grant_database(conn, database, logins)
            before = migrations.current_revision(conn)
            if before is not None and migrations.is_newer(before):
                return (
                    f"warning: database {database!r} is at revision {before}, newer than this release, which ends at "
                    f"{migrations.newest_revision()}: logins and rights are renewed, and the schema stays as it is"
                )
            if before is None:
                migrations.install(conn)
            else:
                migrations.upgrade(conn, config)
        with conn:
            after = migrations.current_revision(conn)
        for table in catalogue.read_fact_tables(conn):
            list(partitions.create_partitions(conn, table, clock.now()))
    if before == after:
        return f"database {database!r} is at revision {after} already"
    return f"database {database!r} is at revision {after} (before: {before or 'empty'})"


def downgrade(administrator: AdministratorSettings) -> str:
    """Take back the newest revision; return one line that says what was done. Raises like `migrate`."""
    url = administrator.database_url.get_secret_value()
    database = database_name(url)
    with closing(connect(url)) as conn:
        with migrations.schema_transaction(conn) as config:
            before = migrations.current_revision(conn)
            migrations.downgrade(conn, config)
        after = migrations.current_revision(conn)
    return f"database {database!r} is at revision {after} (before: {before})"


def current(administrator: AdministratorSettings) -> str:
    """One line: the database's revision and the newest one. Raises like `migrate`."""
    url = administrator.database_url.get_secret_value()
    database = database_name(url)
    with closing(connect(url)) as conn:
        revision = migrations.current_revision(conn)
    return f"database {database!r} is at revision {revision or 'empty'}; the newest is {migrations.newest_revision()}"


def _prepare_server(conn: Connection, database: str, logins: LoginSettings) -> None:
    # CREATE DATABASE cannot run in a transaction. The lock is a session lock: it ends with this connection.
    conn.autocommit = True
    acquire_lock(conn, SESSION_LOCK, _ROLE_LOCK)
    with conn.cursor() as cur:
        with conn:
            roles.ensure_roles(conn, logins)
        cur.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %(name)s)", {"name": database})
        if cur.fetchone() != (True,):
            # template0 accepts no connections (a connection would block the copy), and allows any encoding.
            cur.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(database))
            )
