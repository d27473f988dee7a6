"""Group roles, login roles and the rights on a database. Roles are cluster-wide: the caller holds the lock.

Every table right belongs to a group that cannot log in (`init.sql`, grants). The right to connect belongs to a
login and one database, so that two installations on one server do not see each other.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class
from psycopg2.extensions import encrypt_password
from pydantic import SecretStr

from device_registration_api.schema.connect import CommandError
from device_registration_api.schema.public_rights import restrict_functions, restrict_server_databases
from device_registration_api.schema.schemas import INBOX, STATISTICS, Schema
from device_registration_api.schema.settings import LoginSettings
from servicekit.database import Connection

OWNER = "stats_owner"
READER = "stats_reader"
WRITER = "registration_writer"
PERSONAL_WRITER = "personal_writer"
# Made on the server of the inbox alone.
INBOX_WRITER = "inbox_writer"
GROUPS = (OWNER, READER, WRITER, PERSONAL_WRITER)

# The reader's share of max_connections; tests/deploy checks that the rest is enough for the private service and the
# Jobs.
READER_CONNECTION_SHARE_MAX = 0.75
# The limit of one session; a reader's results are sums over rollups, of 10,000 points at most.
READER_TEMP_FILES_MAX = "256MB"


class Login(NamedTuple):
    """One login of this installation, and the group whose rights it has."""

    name: str
    password: SecretStr
    group: str


def logins_of(schema: Schema, settings: LoginSettings) -> list[Login]:
    """Return the logins that may connect to the database of a schema."""
    if schema is STATISTICS:
        return [
            Login(settings.writer_db_user, settings.writer_db_password, WRITER),
            Login(settings.reader_db_user, settings.reader_db_password, READER),
        ]
    if schema is INBOX:
        if settings.inbox_db_user is None or settings.inbox_db_password is None:
            return []
        return [Login(settings.inbox_db_user, settings.inbox_db_password, INBOX_WRITER)]
    if settings.personal_db_user is None or settings.personal_db_password is None:
        return []
    return [Login(settings.personal_db_user, settings.personal_db_password, PERSONAL_WRITER)]


def ensure_roles(conn: Connection, logins: Sequence[Login]) -> None:
    """Create the groups and these logins if they do not exist; set the passwords of the logins.

    Logins of an earlier run stay as they are: while passwords rotate, two names are in use. The caller owns the
    transaction. Raises CommandError when a login's name belongs to an administrator or a group.
    """
    with conn.cursor() as cur:
        for group in dict.fromkeys((*GROUPS, *(login.group for login in logins))):
            if not _exists(cur, group):
                cur.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(group)))
        _grant_owner_membership(cur)
        for login in logins:
            _ensure_login(cur, login.name, login.password.get_secret_value(), login.group)
            if login.group == READER:
                _limit_reader(cur, login.name)
        restrict_server_databases(cur)


def grant_database(conn: Connection, database: str, logins: Iterable[Login]) -> None:
    """Close one database to all roles but its owner and these logins. The caller owns the transaction."""
    names = [sql.Identifier(login.name) for login in logins]
    with conn.cursor() as cur:
        cur.execute(
            sql.SQL("""
                -- The groups, too: 0.1.0 gave one of them TEMPORARY, a restore drill CONNECT.
                REVOKE ALL ON DATABASE {database} FROM PUBLIC, {groups};
                GRANT CONNECT ON DATABASE {database} TO {logins};
                -- For the schemas stats and maintenance.
                GRANT CREATE ON DATABASE {database} TO {owner};
                REVOKE CREATE ON SCHEMA public FROM PUBLIC;
                GRANT USAGE, CREATE ON SCHEMA public TO {owner};
            """).format(
                database=sql.Identifier(database),
                logins=sql.SQL(", ").join(names),
                groups=sql.SQL(", ").join(map(sql.Identifier, (READER, WRITER, PERSONAL_WRITER))),
                owner=sql.Identifier(OWNER),
            )
        )
        restrict_functions(cur)


def act_as_owner(conn: Connection) -> None:
    """Switch to the owners' group for the rest of this transaction, so that it owns the new objects."""
    with conn.cursor() as cur:
        cur.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))


def _exists(cur: Cursor, role: str) -> bool:
    cur.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s)", {"role": role})
    return cur.fetchone() == (True,)


def _grant_owner_membership(cur: Cursor) -> None:
    # A role that creates another one and is no superuser may administer it, but needs this grant to act as it.
    cur.execute(
        "SELECT pg_has_role(%(owner)s, 'SET') AND pg_has_role(%(owner)s, 'USAGE')",
        {"owner": OWNER},
    )
    if cur.fetchone() != (True,):
        cur.execute(sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE").format(sql.Identifier(OWNER)))


def _ensure_login(cur: Cursor, name: str, password: str, group: str) -> None:
    if name in (*GROUPS, INBOX_WRITER):
        raise CommandError(f"{name!r} is the name of a group of rights; choose another login name")
    if _administers(cur, name):
        raise CommandError(f"{name!r} is an administrator's role; a service needs a login of its own")
    role = sql.Identifier(name)
    # The server, its log and its activity view get a SCRAM verifier: the password itself never leaves this process.
    verifier = sql.Literal(encrypt_password(password, name, cur.connection, "scram-sha-256"))
    make = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}" if _exists(cur, name) else "CREATE ROLE {} LOGIN PASSWORD {}")
    cur.execute(make.format(role, verifier))
    cur.execute(
        "SELECT EXISTS (SELECT FROM pg_auth_members WHERE member = %(name)s::regrole AND roleid = %(group)s::regrole)",
        {"name": role.as_string(cur), "group": group},
    )
    if cur.fetchone() != (True,):
        cur.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), role))


def _limit_reader(cur: Cursor, name: str) -> None:
    """Limit the connections and the disk space for sorting of the public service's login."""
    cur.execute("SELECT current_setting('max_connections')::int")
    [(admitted,)] = cur.fetchall()
    limit = max(1, int(admitted * READER_CONNECTION_SHARE_MAX))
    role = sql.Identifier(name)
    cur.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(role, sql.Literal(limit)))
    # Only a superuser may set this; some managed servers grant the right to their administrators.
    cur.execute("SELECT has_parameter_privilege('temp_file_limit', 'SET')")
    if cur.fetchone() == (True,):
        cur.execute(sql.SQL("ALTER ROLE {} SET temp_file_limit = {}").format(role, sql.Literal(READER_TEMP_FILES_MAX)))


def _administers(cur: Cursor, name: str) -> bool:
    cur.execute(
        """
        SELECT EXISTS (SELECT FROM pg_roles
                        WHERE rolname = %(name)s
                          AND (rolsuper OR rolcreaterole OR rolname IN (CURRENT_USER, SESSION_USER)))
        """,
        {"name": name},
    )
    return cur.fetchone() == (True,)
