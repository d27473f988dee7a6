"""Creates, blocks and deletes stores for an operator. Callers own the transaction, and know that it is one."""

from typing import NamedTuple

from contract.access import ApiKeyDraft, Scope
from contract.projects import ProjectChange, ProjectDraft
from contract.stores import DeletedStore, StoreDraft, StoreWithKey
from device_registration_api.access import keys, projects
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.errors import NotFound

NOT_FOUND = "Store not found"

KEY_OF_PROJECT = "SELECT project_key FROM project WHERE project_id = %(store_id)s AND deleted_at IS NULL"
# What was counted and is no longer stored is not deleted with the store: it was deleted before.
CONTENTS = """
    SELECT (SELECT count(*) FROM project_person WHERE project_id = %(store_id)s AND erased_at IS NULL),
           (SELECT coalesce(sum(event_count), 0)::bigint FROM store_event_all_day WHERE project_id = %(store_id)s)
           - (SELECT coalesce(sum(event_count), 0)::bigint FROM store_event_retired WHERE project_id = %(store_id)s)
"""


class _Contents(NamedTuple):
    users: int
    events: int


def create_store(conn: Connection, draft: StoreDraft, *, active_max: int) -> StoreWithKey:
    """Store a project that no account owns, with one key, which may do everything and never expires."""
    project = projects.create_project(conn, ProjectDraft(name=draft.name, timezone=draft.timezone))
    key_draft = ApiKeyDraft(name="store", scopes=list(Scope), expires_at=None)
    key = keys.create_key(conn, project.project_key, key_draft, active_max=active_max)
    if not draft.is_active:
        set_active(conn, project.id, is_active=False)
    return StoreWithKey(id=project.id, name=project.name, is_active=draft.is_active, api_key=key.key)


def set_active(conn: Connection, store_id: int, *, is_active: bool) -> None:
    """Unblock a store, or block it: its keys are refused then. Raises NotFound."""
    projects.change_project(conn, _project_key(conn, store_id), ProjectChange(is_active=is_active), None)


def delete_store(conn: Connection, store_id: int) -> DeletedStore:
    """Make a store invisible and its keys invalid, and return what it had; `maintain` removes its rows.

    Raises:
        NotFound: there is no such store.
        Conflict: it is the default project.
    """
    projects.delete_project(conn, _project_key(conn, store_id), None)
    [had] = fetch_all(conn, CONTENTS, {"store_id": store_id}, _Contents)
    return DeletedStore(users=f"{had.users} users were deleted", events=f"{had.events} events were deleted")


def _project_key(conn: Connection, store_id: int) -> str:
    found = fetch_all(conn, KEY_OF_PROJECT, {"store_id": store_id}, str)
    if not found:
        raise NotFound(NOT_FOUND)
    return found[0]
