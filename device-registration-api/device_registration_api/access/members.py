"""Adds and removes the members of a project."""

from datetime import datetime
from uuid import UUID

from psycopg2 import errors

from contract.projects import Member, ProjectRole
from device_registration_api.access.authorization import lock_project, lock_project_of_member
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import Conflict, Forbidden, NotFound
from servicekit.process import clock

# Bounds of the lists of both sides. Two accounts that are added to different projects at once may exceed the second.
MEMBERS_MAX = 100
PROJECTS_OF_ACCOUNT_MAX = 1_000

INSERT = """
    INSERT INTO project_member (project_id, account_id, role, added_at)
    VALUES (%(project_id)s, %(account_id)s::uuid, %(role)s, %(added_at)s)
    RETURNING added_at
"""
# The change of the project tells the public service's processes (NOTIFY), which remember members, too.
DELETE = """
    WITH removed AS (
        DELETE FROM project_member
         WHERE project_id = %(project_id)s AND account_id = %(account_id)s::uuid)
    UPDATE project SET updated_at = %(now)s WHERE project_id = %(project_id)s
"""
MEMBERS = "SELECT account_id::text, role FROM project_member WHERE project_id = %(project_id)s"
PROJECTS_OF_ACCOUNT = "SELECT count(*) FROM project_member WHERE account_id = %(account_id)s::uuid"


def add_member(
    conn: Connection, project_key: str, member_id: UUID, role: ProjectRole, account_id: UUID | None
) -> Member:
    """Make an account a member of a project.

    Raises:
        NotFound, Forbidden: the acting account may not change this project.
        Conflict: it is a member already, or the project or the account has as many as are allowed.
    """
    return add_to_locked(conn, lock_project(conn, project_key, account_id), member_id, role)


def add_to_locked(conn: Connection, project_id: int, member_id: UUID, role: ProjectRole) -> Member:
    """Make an account a member of a project that the caller has locked and may change. Raises Conflict."""
    if len(_members(conn, project_id)) >= MEMBERS_MAX:
        raise Conflict(f"a project has at most {MEMBERS_MAX} members")
    return insert_member(conn, project_id, member_id, role)


def insert_member(conn: Connection, project_id: int, account_id: UUID, role: ProjectRole) -> Member:
    """Store a member of a project that the caller may change. Raises Conflict."""
    [projects] = fetch_all(conn, PROJECTS_OF_ACCOUNT, {"account_id": str(account_id)}, int)
    if projects >= PROJECTS_OF_ACCOUNT_MAX:
        raise Conflict(f"an account has at most {PROJECTS_OF_ACCOUNT_MAX} projects")
    parameters = {"project_id": project_id, "account_id": str(account_id), "role": role, "added_at": clock.now()}
    try:
        [added_at] = fetch_all(conn, INSERT, parameters, _moment)
    except errors.UniqueViolation as error:
        raise Conflict("the account is a member already") from error
    return Member(account_id=account_id, role=role, added_at=added_at)


def remove_member(conn: Connection, project_key: str, member_id: UUID, account_id: UUID | None) -> None:
    """Remove a member: an owner removes anyone, and a member may leave.

    Raises:
        NotFound: the acting account is not a member, or the other one is none.
        Forbidden: the acting account is no owner, and would remove someone else.
        Conflict: the project would have no owner.
    """
    project_id, role = lock_project_of_member(conn, project_key, account_id)
    if role is not ProjectRole.OWNER and member_id != account_id:
        raise Forbidden("only an owner of the project may do this")
    found = _members(conn, project_id)
    if member_id not in found:
        raise NotFound("Member not found")
    if not any(each is ProjectRole.OWNER for other, each in found.items() if other != member_id):
        raise Conflict("a project needs an owner: add another one first")
    execute(conn, DELETE, {"project_id": project_id, "account_id": str(member_id), "now": clock.now()})


def _members(conn: Connection, project_id: int) -> dict[UUID, ProjectRole]:
    return dict(fetch_all(conn, MEMBERS, {"project_id": project_id}, _member))


def _member(account_id: str, role: str) -> tuple[UUID, ProjectRole]:
    return UUID(account_id), ProjectRole(role)


def _moment(value: datetime) -> datetime:
    return value
