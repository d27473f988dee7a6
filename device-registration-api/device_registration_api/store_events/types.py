"""Numbers the types of each project's store events.

A number is never changed or used again, so a process remembers it after the transaction that assigned it.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from contract.store_events.columns import StoreEventColumns
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.rows import Rows
from servicekit.database.lease import Lease
from servicekit.database.sql import execute, fetch_all

# Of about 200 bytes each.
TYPES_REMEMBERED = 50_000

# The project and the type.
ProjectType: TypeAlias = tuple[int, str]

LOCK = "SELECT pg_advisory_xact_lock('public.event_type'::regclass::oid::int, %(project_id)s)"
# In a statement after the lock, so that it sees what the holders before it have assigned.
ASSIGN = """
    INSERT INTO event_type (project_id, type_id, type)
    SELECT %(project_id)s, last.id + row_number() OVER (ORDER BY at), type
      FROM (SELECT coalesce(max(type_id), 0) AS id FROM event_type WHERE project_id = %(project_id)s) AS last,
           json_to_recordset(%(types)s::json) AS sent(at int, type text)
     WHERE NOT EXISTS (SELECT FROM event_type AS known
                        WHERE known.project_id = %(project_id)s AND known.type = sent.type)
"""
ASSIGNED = "SELECT type, type_id FROM event_type WHERE project_id = %(project_id)s AND type = ANY(%(types)s)"


class StoredColumns(StoreEventColumns):
    """The fields of store events, and the number of each one's type."""

    type_ids: list[int]


class Types:
    """The types that this process knows. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Those that were asked for last are at the end.
        self._known: OrderedDict[ProjectType, int] = OrderedDict()

    def complete(self, lease: Lease, rows: Rows[StoreEventColumns]) -> Rows[StoreEventColumns]:
        """Return the rows with the numbers of their types; those that have none yet get one."""
        sent = list(zip(rows.project_ids, rows.columns.types, strict=True))
        numbers = self._numbers(lease, list(dict.fromkeys(sent)))
        fields = {name: getattr(rows.columns, name) for name in StoreEventColumns.model_fields}
        columns = StoredColumns.model_construct(**fields, type_ids=[numbers[each] for each in sent])
        return replace(rows, columns=columns)

    def _numbers(self, lease: Lease, sent: Sequence[ProjectType]) -> dict[ProjectType, int]:
        with self._lock:
            numbers = {each: self._known[each] for each in sent if each in self._known}
            for each in numbers:
                self._known.move_to_end(each)
        unknown: dict[int, list[str]] = {}
        for project_id, type_ in sent:
            if (project_id, type_) not in numbers:
                unknown.setdefault(project_id, []).append(type_)
        # One project at a time, so that two processes never wait for each other.
        for project_id, types in unknown.items():
            assigned = {(project_id, type_): number for type_, number in _assign(lease, project_id, types).items()}
            numbers |= assigned
            with self._lock:
                self._known |= assigned
                while len(self._known) > TYPES_REMEMBERED:
                    self._known.popitem(last=False)
        return numbers


def _assign(lease: Lease, project_id: int, types: Sequence[str]) -> dict[str, int]:
    """Number the types that have no number yet, and return the numbers of all."""
    sent = as_json([{"at": at, "type": type_} for at, type_ in enumerate(types)])
    of_project = {"project_id": project_id}
    asked = {**of_project, "types": list(types)}
    with lease.transaction() as conn:
        assigned = dict(fetch_all(conn, ASSIGNED, asked, lambda type_, number: (type_, number)))
        if len(assigned) < len(types):
            execute(conn, LOCK, of_project)
            execute(conn, ASSIGN, {**of_project, "types": sent})
            assigned = dict(fetch_all(conn, ASSIGNED, asked, lambda type_, number: (type_, number)))
    return assigned
