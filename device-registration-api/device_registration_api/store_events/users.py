"""Refuses the events of users who are not there, or of whom nothing may be recorded (any more)."""

from contract.delivery import Outcome, OutcomeStatus
from contract.store_events.columns import StoreEventColumns
from device_registration_api.events.idempotency import Run
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.recording import Outcomes
from device_registration_api.events.rows import Rows
from servicekit.database.prepared import Prepared

# The share lock stays until the commit: an erasure, which begins with an UPDATE of the row, waits for the events that
# are being stored and finds them; whoever comes after it waits here, and sees that it has begun. In one order, so that
# nobody waits for each other.
LOCK_USERS = Prepared(
    "lock_store_users",
    """
    SELECT person.project_id, person.person_id::text, person.erased_at IS NOT NULL, person.suppressed_at IS NOT NULL
      FROM project_person AS person
      JOIN json_to_recordset({users}::json) AS sent(project_id int, person_id uuid) USING (project_id, person_id)
     ORDER BY person.project_id, person.person_id
       FOR SHARE OF person
    """,
    {"users": "json"},
)

_UNKNOWN = Outcome(status=OutcomeStatus.NOT_FOUND, detail="user_id: there is no such user")
_ERASED = Outcome(status=OutcomeStatus.ERASED, detail="user_id: the user was erased")
_SUPPRESSED = Outcome(status=OutcomeStatus.SUPPRESSED, detail="user_id: nothing more is recorded of this user")


def refuse(run: Run, rows: Rows[StoreEventColumns]) -> Outcomes:
    """Return why events may not be recorded, by their positions. The users of the others are locked for sharing."""
    users = list(zip(rows.project_ids, rows.columns.user_ids, strict=True))
    sent = as_json([{"project_id": project_id, "person_id": user_id} for project_id, user_id in set(users)])
    states = {
        (project_id, user_id): _ERASED if is_erased else _SUPPRESSED if is_suppressed else None
        for project_id, user_id, is_erased, is_suppressed in run(LOCK_USERS, {"users": sent})
    }
    found = ((position, states.get(user, _UNKNOWN)) for position, user in enumerate(users))
    return {position: outcome for position, outcome in found if outcome is not None}
