"""Checks what an account may change, in the transaction of the change.

The row of the project is locked first. So a change waits for the removal of a member that is under way, and two changes
of one project cannot exceed a limit together.
"""

from uuid import UUID

from contract.projects import ProjectRole
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.errors import Forbidden, NotFound

PROJECT_NOT_FOUND = "Project not found"

LOCK_PROJECT = """
    SELECT project_id FROM project
     WHERE project_key = %(project_key)s AND deleted_at IS NULL
       FOR NO KEY UPDATE
"""
# A statement of its own: its snapshot is taken after the lock.
ROLE = """
    SELECT role FROM project_member
     WHERE project_id = %(project_id)s AND account_id = %(account_id)s::uuid
"""


def lock_project(conn: Connection, project_key: str, account_id: UUID | None) -> int:
    """Lock a project for a change by one of its owners, and return its number. None is an operator, who may do all.

    Raises:
        NotFound: there is no such project, or the account is not a member.
        Forbidden: the account is a member and not an owner.
    """
    project_id, role = lock_project_of_member(conn, project_key, account_id)
    if role is not ProjectRole.OWNER:
        raise Forbidden("only an owner of the project may do this")
    return project_id


def lock_project_of_member(conn: Connection, project_key: str, account_id: UUID | None) -> tuple[int, ProjectRole]:
    """Lock a project, and return its number and the role of the account.

    Raises:
        NotFound: there is no such project, or the account is not a member.
    """
    found: list[int] = fetch_all(conn, LOCK_PROJECT, {"project_key": project_key}, int)
    if not found:
        raise NotFound(PROJECT_NOT_FOUND)
    if account_id is None:
        return found[0], ProjectRole.OWNER
    roles = fetch_all(conn, ROLE, {"project_id": found[0], "account_id": str(account_id)}, ProjectRole)
    if not roles:
        raise NotFound(PROJECT_NOT_FOUND)
    return found[0], roles[0]
