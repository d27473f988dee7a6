"""Numbers the endpoints of each project: at most 1,000, and 0 for the requests of all others.

A number is never changed or used again, so a process remembers it after the transaction that assigned it.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from contract.api_requests.columns import ApiRequestColumns
from device_registration_api.api_requests.addresses import HashedColumns
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.rows import Rows
from servicekit.database.lease import Lease
from servicekit.database.sql import execute, fetch_all

ENDPOINTS_MAX = 1_000
OTHER = 0
# Of about 100 KB each, with endpoints of a usual length.
PROJECTS_REMEMBERED = 1_000

# The method and the path.
Endpoint: TypeAlias = tuple[str, str]

LOCK = "SELECT pg_advisory_xact_lock('public.api_endpoint'::regclass::oid::int, %(project_id)s)"
# In a statement after the lock, so that it sees what the holders before it have assigned.
ASSIGN = """
    WITH known AS (SELECT method, url_path, endpoint_id FROM api_endpoint WHERE project_id = %(project_id)s),
         last AS (SELECT coalesce(max(endpoint_id), 0) AS id FROM known)
    INSERT INTO api_endpoint (project_id, endpoint_id, method, url_path)
    SELECT %(project_id)s, last.id + place, method, url_path
      FROM last,
           (SELECT method, url_path, row_number() OVER (ORDER BY at) AS place
              FROM json_to_recordset(%(endpoints)s::json) AS sent(at int, method text, url_path text)
             WHERE NOT EXISTS (SELECT FROM known
                                WHERE known.method = sent.method AND known.url_path = sent.url_path)) AS new
     WHERE last.id + place <= %(endpoints_max)s
"""
ASSIGNED = "SELECT endpoint_id, method, url_path FROM api_endpoint WHERE project_id = %(project_id)s"


class StoredColumns(HashedColumns):
    """The fields of API requests, and the number of each one's endpoint."""

    endpoint_ids: list[int]


class Endpoints:
    """The endpoints that this process knows, by project. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, dict[Endpoint, int]] = {}

    def complete(self, lease: Lease, rows: Rows[ApiRequestColumns]) -> Rows[ApiRequestColumns]:
        """Return the rows with the numbers of their endpoints; those that have none yet get one."""
        endpoints = list(zip(rows.columns.methods, rows.columns.url_paths, strict=True))
        sent: dict[int, dict[Endpoint, None]] = {}
        for project_id, endpoint in zip(rows.project_ids, endpoints, strict=True):
            sent.setdefault(project_id, {})[endpoint] = None
        # One project at a time, so that two processes never wait for each other.
        numbers = {project_id: self._numbers(lease, project_id, list(of_it)) for project_id, of_it in sent.items()}
        ids = [
            numbers[project_id].get(endpoint, OTHER)
            for project_id, endpoint in zip(rows.project_ids, endpoints, strict=True)
        ]
        fields = {name: getattr(rows.columns, name) for name in type(rows.columns).model_fields}
        return replace(rows, columns=StoredColumns.model_construct(**fields, endpoint_ids=ids))

    def _numbers(self, lease: Lease, project_id: int, sent: Sequence[Endpoint]) -> dict[Endpoint, int]:
        known = self._known.get(project_id, {})
        if len(known) < ENDPOINTS_MAX and not all(endpoint in known for endpoint in sent):
            known = _assign(lease, project_id, [endpoint for endpoint in sent if endpoint not in known])
            with self._lock:
                self._known[project_id] = known
                while len(self._known) > PROJECTS_REMEMBERED:
                    del self._known[next(iter(self._known))]
        return known


def _assign(lease: Lease, project_id: int, endpoints: Sequence[Endpoint]) -> dict[Endpoint, int]:
    """Number the endpoints that have no number yet, and return all numbers of the project."""
    sent = [{"at": at, "method": method, "url_path": path} for at, (method, path) in enumerate(endpoints)]
    of_project = {"project_id": project_id}
    with lease.transaction() as conn:
        execute(conn, LOCK, of_project)
        execute(conn, ASSIGN, {**of_project, "endpoints": as_json(sent), "endpoints_max": ENDPOINTS_MAX})
        assigned = fetch_all(conn, ASSIGNED, of_project, lambda number, *endpoint: (endpoint, number))
    return {(method, path): number for (method, path), number in assigned}
