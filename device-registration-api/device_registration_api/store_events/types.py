"""Numbers the types of each project's store events.

A number is never changed or used again, so a process remembers it after the transaction that assigned it.
"""

from collections.abc import Sequence
from typing import TypeAlias

from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.remembered import Remembered
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


class Types:
    """The numbers of types, which this process remembers. Used by several threads."""

    def __init__(self) -> None:
        self._known = Remembered[ProjectType, int](TYPES_REMEMBERED)

    def numbers(self, lease: Lease, sent: Sequence[ProjectType]) -> list[int]:
        """Return the number of each type; those that have none yet get one."""
        numbers = self._numbers(lease, list(dict.fromkeys(sent)))
        return [numbers[each] for each in sent]

    def _numbers(self, lease: Lease, sent: Sequence[ProjectType]) -> dict[ProjectType, int]:
        numbers = self._known.of(sent)
        unknown: dict[int, list[str]] = {}
        for project_id, type_ in sent:
            if (project_id, type_) not in numbers:
                unknown.setdefault(project_id, []).append(type_)
        # One project at a time, so that two processes never wait for each other.
        for project_id, types in unknown.items():
            assigned = {(project_id, type_): number for type_, number in _assign(lease, project_id, types).items()}
            numbers |= assigned
            self._known.add(assigned)
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
