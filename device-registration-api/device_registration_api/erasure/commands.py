"""The statements of an erasure in the first database. Callers own the transaction, which `in_transaction` gives them.

Each of them may be repeated. The row of the ledger is locked first, so two jobs for one person do one step at a time.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import Conflict, Gone, NotFound

# It waits for the transactions that record an event of the person; whoever records later finds `erased_at`.
LOCK_PERSON = """
    SELECT erased_at IS NOT NULL FROM project_person
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
       FOR UPDATE
"""
REFUSE_EVENTS = """
    UPDATE project_person SET erased_at = %(now)s
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid AND erased_at IS NULL
"""
SUPPRESS = """
    UPDATE project_person SET suppressed_at = coalesce(suppressed_at, %(now)s)
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
"""
UNSUPPRESS = """
    UPDATE project_person SET suppressed_at = NULL
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
"""
# In the order in which other changes of members lock projects: one at a time.
LOCK_PROJECTS_OF_ACCOUNT = """
    SELECT project_id FROM project
     WHERE project_id IN (SELECT project_id FROM project_member WHERE account_id = %(account_id)s::uuid)
     ORDER BY project_id
       FOR NO KEY UPDATE
"""
ONLY_OWNER_OF = """
    SELECT project_key
      FROM project_member AS m
      JOIN project USING (project_id)
     WHERE account_id = %(account_id)s::uuid AND role = 'owner' AND deleted_at IS NULL
       AND NOT EXISTS (SELECT FROM project_member AS other
                        WHERE other.project_id = m.project_id AND other.role = 'owner'
                          AND other.account_id <> m.account_id)
     ORDER BY project_key
"""
DELETE_MEMBER = "DELETE FROM project_member WHERE account_id = %(account_id)s::uuid"
INSERT_PERSON = """
    INSERT INTO project_person (project_id, person_id, erased_at)
    VALUES (%(project_id)s, %(person_id)s::uuid, %(now)s)
        ON CONFLICT (project_id, person_id) DO NOTHING
"""
INSERT = """
    INSERT INTO erasure (project_id, receipt, person_id, requested_at)
    VALUES (%(project_id)s, %(receipt)s::uuid, %(person_id)s::uuid, %(now)s)
        ON CONFLICT (project_id, person_id) DO NOTHING
"""
SELECT = """
    SELECT project_id, receipt::text, person_id::text, requested_at, step, users, events, finished_at
      FROM erasure
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
"""
LOCK = f"{SELECT} FOR UPDATE"
# Those that were finished a short time ago are done once more, for an event that was on its way.
SELECT_TO_DO = """
    SELECT project_id, receipt::text, person_id::text, requested_at, step, users, events, finished_at
      FROM erasure
     WHERE finished_at IS NULL OR finished_at > %(again_since)s
     ORDER BY requested_at, project_id, receipt
"""
SELECT_ALL = """
    SELECT project_id, receipt::text, person_id::text, requested_at, step, users, events, finished_at
      FROM erasure
     ORDER BY requested_at, project_id, receipt
"""
FACTS_OF_PERSONS = "SELECT fact FROM maintenance.fact_table WHERE person_column IS NOT NULL ORDER BY fact"
# Not those that name a device of the person.
FACTS_THAT_NAME = """
    SELECT fact FROM maintenance.fact_table
     WHERE person_column IS NOT NULL AND person_table IS NULL
     ORDER BY fact
"""
RETIRE_ROWS = """
    SELECT maintenance.retire_person_rows(%(fact)s, %(project_id)s, %(person_id)s::uuid, %(rows)s)
"""
RETIRE_PRESENCES = """
    SELECT maintenance.retire_person_presences(%(fact)s, %(project_id)s, %(person_id)s::uuid, %(rows)s)
"""
DELETE_DEVICES = "SELECT maintenance.delete_person_devices(%(project_id)s, %(person_id)s::uuid)"
ADD_EVENTS = """
    UPDATE erasure SET events = events + %(events)s
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
"""
COMPLETE_STEP = """
    UPDATE erasure SET step = %(step)s
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid AND step < %(step)s
"""
FINISH = """
    UPDATE erasure SET step = %(step)s, users = 1, finished_at = %(now)s
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid AND finished_at IS NULL
"""


# Accounts are people of the installation, which is no project.
INSTALLATION = 0

Result = TypeVar("Result")


class Step(IntEnum):
    """What is done of an erasure, in this order."""

    REQUESTED = 0
    FACTS = 1
    PRESENCES = 2
    PERSON = 3


class Erasure(NamedTuple):
    """One row of the ledger."""

    project_id: int
    receipt: UUID
    person_id: UUID
    requested_at: datetime
    step: Step
    users: int
    events: int
    finished_at: datetime | None

    @property
    def key(self) -> dict[str, object]:
        """The parameters of the statements."""
        return {"project_id": self.project_id, "person_id": str(self.person_id)}


async def in_transaction(database: Database, work: Callable[[Connection], Result], deadline: float) -> Result:
    """Run `work` in a transaction of its own until its outcome is known, or the deadline has passed.

    Raises:
        NotRecorded: nothing was done.
        OutcomeUnknown: it may have been done.
    """

    def transaction(lease: Lease) -> Result:
        with lease.transaction() as conn:
            return work(conn)

    return await database.run(lambda lease: repeat_until_known(lease, transaction), deadline - time.monotonic())


def request(conn: Connection, project_id: int, person_id: UUID, now: datetime) -> Erasure:
    """Enter an erasure in the ledger, and refuse events of the person from now on, both or neither.

    Raises:
        NotFound: the project has and had no such person.
    """
    key = {"project_id": project_id, "person_id": str(person_id)}
    _lock(conn, key)
    return _enter(conn, key, uuid4(), now)


def request_account(conn: Connection, account_id: UUID, now: datetime) -> Erasure:
    """Enter the erasure of an account in the ledger, and take the account out of its projects, both or neither.

    Raises:
        Conflict: a project has no other owner.
    """
    account = {"account_id": str(account_id)}
    fetch_all(conn, LOCK_PROJECTS_OF_ACCOUNT, account, int)
    if projects := fetch_all(conn, ONLY_OWNER_OF, account, str):
        message = f"it is the only owner of {', '.join(projects)}: add another owner, or delete the project"
        raise Conflict(message)
    execute(conn, DELETE_MEMBER, account)
    return restore(conn, INSTALLATION, account_id, uuid4(), now)


def suppress(conn: Connection, project_id: int, person_id: UUID, now: datetime | None) -> None:
    """Refuse events of the person from now on, and keep those that are there. None ends it.

    Raises:
        NotFound: the project has and had no such person.
        Gone: the person was erased.
    """
    key = {"project_id": project_id, "person_id": str(person_id)}
    _lock_living(conn, key)
    execute(conn, UNSUPPRESS if now is None else SUPPRESS, key | {"now": now})


def retire_events(conn: Connection, project_id: int, person_id: UUID, rows: int) -> int | None:
    """Let some facts that name the person leave, and return how many they were; None: there is none.

    Raises:
        NotFound, Gone: as `suppress`.
    """
    key = {"project_id": project_id, "person_id": str(person_id)}
    _lock_living(conn, key)
    for fact in fetch_all(conn, FACTS_THAT_NAME, {}, str):
        [retired] = fetch_all(conn, RETIRE_ROWS, key | {"fact": fact, "rows": rows}, lambda count: count)
        if retired is not None:
            return int(retired)
    return None


def _lock(conn: Connection, key: Mapping[str, object]) -> bool:
    """Lock a person, and return whether the person is being erased or was. Raises NotFound."""
    found = fetch_all(conn, LOCK_PERSON, key, bool)
    if not found:
        raise NotFound("User not found")
    return found[0]


def _lock_living(conn: Connection, key: Mapping[str, object]) -> None:
    if _lock(conn, key):
        raise Gone("the user was erased")


def restore(conn: Connection, project_id: int, person_id: UUID, receipt: UUID, now: datetime) -> Erasure:
    """Enter an erasure that a restored database does not know, with the receipt that it had."""
    key = {"project_id": project_id, "person_id": str(person_id)}
    execute(conn, INSERT_PERSON, key | {"now": now})
    return _enter(conn, key, receipt, now)


def _enter(conn: Connection, key: dict[str, object], receipt: UUID, now: datetime) -> Erasure:
    execute(conn, REFUSE_EVENTS, key | {"now": now})
    execute(conn, INSERT, key | {"receipt": str(receipt), "now": now})
    [found] = fetch_all(conn, SELECT, key, _erasure)
    return found


def find(conn: Connection, erasure: Erasure) -> Erasure:
    """Return the row of the ledger as it is now."""
    [found] = fetch_all(conn, SELECT, erasure.key, _erasure)
    return found


def to_do(conn: Connection, again_since: datetime) -> list[Erasure]:
    """Return the erasures that are not finished, and those that were finished since then; the earliest first."""
    return fetch_all(conn, SELECT_TO_DO, {"again_since": again_since}, _erasure)


def every(conn: Connection) -> list[Erasure]:
    """Return the whole ledger, the earliest first."""
    return fetch_all(conn, SELECT_ALL, {}, _erasure)


def facts_of_persons(conn: Connection) -> list[str]:
    """Return the fact tables whose rows name a person."""
    return fetch_all(conn, FACTS_OF_PERSONS, {}, str)


def retire_rows(conn: Connection, erasure: Erasure, fact: str, rows: int) -> bool:
    """Let some facts of the person leave. False: there is none, which was looked for under the lock."""
    fetch_all(conn, LOCK, erasure.key, _erasure)
    [retired] = fetch_all(conn, RETIRE_ROWS, erasure.key | {"fact": fact, "rows": rows}, lambda count: count)
    if retired:
        execute(conn, ADD_EVENTS, erasure.key | {"events": retired})
    return retired is not None


def retire_presences(conn: Connection, erasure: Erasure, fact: str, rows: int) -> bool:
    """Let some presences of the person leave. False: there was none."""
    fetch_all(conn, LOCK, erasure.key, _erasure)
    [retired] = fetch_all(conn, RETIRE_PRESENCES, erasure.key | {"fact": fact, "rows": rows}, int)
    return retired > 0


def delete_devices(conn: Connection, erasure: Erasure) -> None:
    """Delete the devices of the person, whose facts have left."""
    fetch_all(conn, DELETE_DEVICES, erasure.key, int)


def complete_step(conn: Connection, erasure: Erasure, step: Step) -> None:
    """Note that a step is done."""
    execute(conn, COMPLETE_STEP, erasure.key | {"step": step})


def finish(conn: Connection, erasure: Erasure, now: datetime) -> None:
    """Note that everything is done."""
    execute(conn, FINISH, erasure.key | {"step": Step.PERSON, "now": now})


def _erasure(  # noqa: PLR0913, PLR0917 - the columns of the ledger
    project_id: int,
    receipt: str,
    person_id: str,
    requested_at: datetime,
    step: int,
    users: int,
    events: int,
    finished_at: datetime | None,
) -> Erasure:
    return Erasure(project_id, UUID(receipt), UUID(person_id), requested_at, Step(step), users, events, finished_at)
