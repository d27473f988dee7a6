"""The whole way from an empty server to databases that the services can use, repeatable at any time."""

from collections.abc import Callable
from contextlib import closing

from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from device_registration_api.citus.commands import copy_roles
from device_registration_api.citus.state import workers
from device_registration_api.exports.numbering import number_restored
from device_registration_api.maintenance import catalogue, partitions
from device_registration_api.schema import migrations, roles
from device_registration_api.schema.connect import (
    SESSION_LOCK,
    CommandError,
    acquire_lock,
    connect,
    connect_when_ready,
    database_name,
)
from device_registration_api.schema.schemas import INBOX, KEYRING, PERSONAL, SCHEMAS, STATISTICS, Schema, named_beside
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from servicekit.database import Connection
from servicekit.process import clock
from servicekit.process.progress import NOT_SHOWN, Progress

# An arbitrary number that no other program uses for an advisory lock in database `postgres`.
_ROLE_LOCK = 7_302_000


def migrate(
    administrator: AdministratorSettings,
    logins: LoginSettings,
    say: Callable[[str], None] = print,
    progress: Progress = NOT_SHOWN,
) -> str:
    """Create or update roles, databases, schemas and the coming weeks; return lines that say what was done.

    A database of a newer release (as after a rollback of the images) keeps its schema; roles and rights are updated.
    Without a login for personal data, its databases are neither made nor changed; without INBOX_DATABASE_URL, neither
    is that of the inbox.

    Raises:
        CommandError: the server is too old, a login's name is taken, or the database's revision is unknown.
        psycopg2.Error: the server cannot be reached or lacks a right.
    """
    allowed = {schema: found for schema in SCHEMAS if (found := roles.logins_of(schema, logins))}
    if administrator.inbox_database_url is None:
        allowed.pop(INBOX, None)
    elif INBOX not in allowed:
        raise CommandError("INBOX_DATABASE_URL is set: set INBOX_DB_USER and INBOX_DB_PASSWORD, too")
    _check_places([url_of(schema, administrator) for schema in allowed])
    lines = [_migrate_schema(schema, administrator, found, say, progress) for schema, found in allowed.items()]
    if PERSONAL not in allowed:
        lines.append("PERSONAL_DB_PASSWORD is not set: the databases of personal data are left out")
    return "\n".join(lines)


def downgrade(administrator: AdministratorSettings, schema: Schema = STATISTICS) -> str:
    """Take back the newest revision of one schema; return one line that says what was done. Raises like `migrate`."""
    url = url_of(schema, administrator)
    with closing(connect(url)) as conn:
        with migrations.schema_transaction(conn, schema) as config:
            before = migrations.current_revision(conn)
            migrations.downgrade(conn, config)
        after = migrations.current_revision(conn)
    return f"database {database_name(url)!r} is at revision {after} (before: {before})"


def current(administrator: AdministratorSettings, schema: Schema = STATISTICS) -> str:
    """One line: the revision of one schema's database and the newest one. Raises like `migrate`."""
    url = url_of(schema, administrator)
    with closing(connect(url)) as conn:
        revision = migrations.current_revision(conn)
    newest = migrations.newest_revision(schema)
    return f"database {database_name(url)!r} is at revision {revision or 'empty'}; the newest is {newest}"


def url_of(schema: Schema, administrator: AdministratorSettings) -> str:
    """Return the administrator's URL of a schema's database: its own, or else a name beside the first database.

    Raises CommandError when a URL is invalid or names no database, or there is none for the inbox.
    """
    first = administrator.database_url.get_secret_value()
    own = {
        PERSONAL.name: administrator.personal_database_url,
        KEYRING.name: administrator.keyring_database_url,
        INBOX.name: administrator.inbox_database_url,
    }
    if (url := own.get(schema.name)) is not None:
        return url.get_secret_value()
    if schema is STATISTICS:
        return first
    if schema is INBOX:
        raise CommandError("set INBOX_DATABASE_URL in the environment: without it there is no inbox")
    return make_dsn(first, dbname=named_beside(database_name(first), schema))


def _check_places(urls: list[str]) -> None:
    """Raise CommandError when two schemas would share a database."""
    places = {(database_name(url), parse_dsn(url).get("host"), parse_dsn(url).get("port")) for url in urls}
    if len(places) < len(urls):
        raise CommandError(
            "DATABASE_URL, PERSONAL_DATABASE_URL and KEYRING_DATABASE_URL must name three databases, and "
            "INBOX_DATABASE_URL another one"
        )


def _migrate_schema(
    schema: Schema,
    administrator: AdministratorSettings,
    logins: list[roles.Login],
    say: Callable[[str], None],
    progress: Progress,
) -> str:
    progress.doing(f"database of {schema.name}")
    url = url_of(schema, administrator)
    database = database_name(url)
    with closing(connect_when_ready(url, "postgres", administrator.database_wait_seconds_max, say)) as conn:
        _prepare_server(conn, database, logins)
    with closing(connect(url)) as conn:
        with conn:
            if workers(conn):
                # The roles were made in another database, from which Citus copies none.
                copy_roles(conn)
        with migrations.schema_transaction(conn, schema) as config:
            roles.grant_database(conn, database, logins)
            before = migrations.current_revision(conn)
            if before is not None and migrations.is_newer(schema, before):
                return (
                    f"warning: database {database!r} is at revision {before}, newer than this release, which ends at "
                    f"{migrations.newest_revision(schema)}: logins and rights are renewed, the schema stays as it is"
                )
            if before is None:
                migrations.install(conn, schema)
            else:
                migrations.upgrade(conn, config, progress=progress)
                if schema is STATISTICS:
                    progress.doing("events of another server")
                    roles.act_as_owner(conn)
                    numbered = number_restored(conn, catalogue.read_fact_tables(conn))
                    if numbered:
                        say(f"{numbered} events were restored from another server, and come first in exports now")
        with conn:
            after = migrations.current_revision(conn)
        if schema is STATISTICS:
            for table in catalogue.read_fact_tables(conn):
                progress.doing(f"weeks of {table.fact}")
                list(partitions.create_partitions(conn, table, clock.now()))
    if before == after:
        return f"database {database!r} is at revision {after} already"
    return f"database {database!r} is at revision {after} (before: {before or 'empty'})"


def _prepare_server(conn: Connection, database: str, logins: list[roles.Login]) -> None:
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
