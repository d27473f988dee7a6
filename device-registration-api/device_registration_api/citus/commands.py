"""Runs statements on the nodes of a cluster, and gives them the roles and the rights of the coordinator.

Citus copies a role or a right when another object needs it, and no REVOKE at all. So what the product needs is set
here, on each worker, each time.
"""

from typing import NamedTuple

from psycopg2 import sql

from device_registration_api.schema.connect import CommandError
from device_registration_api.schema.roles import GROUPS, OWNER
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

# The groups, and the logins that have the rights of one.
ROLES = """
    SELECT r.rolname, r.rolcanlogin, r.rolpassword,
           coalesce((SELECT array_agg(g.rolname::text ORDER BY g.rolname)
                       FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid
                      WHERE m.member = r.oid AND g.rolname = ANY (%(groups)s)), '{}') AS groups
      FROM pg_authid AS r
     WHERE NOT r.rolsuper
       AND (r.rolname = ANY (%(groups)s)
            OR EXISTS (SELECT FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid
                        WHERE m.member = r.oid AND g.rolname = ANY (%(groups)s)))
     -- Groups first, because a login becomes a member of one.
     ORDER BY r.rolname <> ALL (%(groups)s), r.rolname
"""
CONNECTING = """
    SELECT rolname FROM pg_roles WHERE NOT rolsuper AND rolcanlogin
       AND rolname <> %(owner)s AND has_database_privilege(oid, current_database(), 'CONNECT')
"""
ON_WORKERS = sql.SQL("SELECT nodename, nodeport, success, result FROM run_command_on_workers({command}, false)")
ON_ALL_NODES = sql.SQL("""
    SELECT nodename, nodeport, success, result
      FROM run_command_on_all_nodes({command}, false) AS ran JOIN pg_dist_node USING (nodeid)
""")


class Result(NamedTuple):
    """What one node answered: one value, or the error."""

    host: str
    port: int
    success: bool
    value: str


class _Role(NamedTuple):
    name: str
    can_login: bool
    password: str | None
    groups: list[str]


def on_workers(conn: Connection, command: str) -> list[Result]:
    """Run one statement on each worker. Raises CommandError when a worker refuses it."""
    return _checked(fetch_all(conn, ON_WORKERS.format(command=sql.Literal(command)), {}, Result))


def on_all_nodes(conn: Connection, command: str) -> list[Result]:
    """Run one statement on each node, the coordinator too. Raises CommandError when a node refuses it."""
    return _checked(fetch_all(conn, ON_ALL_NODES.format(command=sql.Literal(command)), {}, Result))


def copy_roles(conn: Connection) -> None:
    """Give each worker the groups and the logins of the coordinator, with their passwords.

    The administrator is a superuser: nobody else may read the verifiers of passwords.
    """
    for role in fetch_all(conn, ROLES, {"groups": list(GROUPS)}, _Role):
        on_workers(conn, _role_statement(conn, role))


def copy_rights(conn: Connection) -> None:
    """Close the database on the workers to all but its logins, and the functions of maintenance to everybody."""
    [database] = fetch_all(conn, "SELECT current_database()", {}, str)
    logins = [OWNER, *fetch_all(conn, CONNECTING, {"owner": OWNER}, str)]
    names = {"database": sql.Identifier(database), "logins": sql.SQL(", ").join(map(sql.Identifier, logins))}
    on_workers(
        conn,
        _there_alone(
            conn,
            sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names),
            sql.SQL("GRANT CONNECT ON DATABASE {database} TO {logins}").format(**names),
            sql.SQL("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA maintenance, stats FROM PUBLIC"),
        ),
    )


def _role_statement(conn: Connection, role: _Role) -> str:
    name = sql.Identifier(role.name)
    attributes = sql.SQL("LOGIN PASSWORD {}" if role.can_login else "NOLOGIN PASSWORD {}").format(
        sql.Literal(role.password)
    )
    return _there_alone(
        conn,
        sql.SQL("IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {}) THEN CREATE ROLE {}; END IF").format(
            sql.Literal(role.name), name
        ),
        sql.SQL("ALTER ROLE {} {}").format(name, attributes),
        *(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), name) for group in role.groups),
    )


def _there_alone(conn: Connection, *statements: sql.Composable) -> str:
    """Return one statement for a worker that runs these, and does not pass them on: a worker may not."""
    body = sql.SQL("BEGIN PERFORM set_config('citus.enable_ddl_propagation', 'off', true); {}; END").format(
        sql.SQL("; ").join(statements)
    )
    text: str = sql.SQL("DO {}").format(sql.Literal(body.as_string(conn))).as_string(conn)
    return text


def _checked(results: list[Result]) -> list[Result]:
    for each in results:
        if not each.success:
            message = f"node {each.host}:{each.port}: {each.value.strip()}"
            raise CommandError(message)
    return results
