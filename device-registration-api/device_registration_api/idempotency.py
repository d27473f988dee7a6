"""Which identity was here before? Callers own the transaction.

An identity is claimed by inserting its row. Whoever loses waits for the winner's commit and then reads its row in
a second statement, which sees what the first one could not.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from pydantic_core import to_json

from contract.delivery import BatchResponse
from servicekit.database import Connection
from servicekit.database.lease import Contention
from servicekit.database.sql import execute, fetch_all

# Sorted, or two transactions that claim the same keys in different orders would deadlock. The edge's event ids grow,
# so of two events under one key, the one that came first wins.
CLAIM_KEYS = """
    INSERT INTO idempotency (project_id, key, body_sha256, event_id, received_at)
    SELECT project_id, key, decode(body_sha256, 'hex'), event_id, received_at
      FROM json_to_recordset(%(claims)s::json)
        AS claim(project_id int, key text, body_sha256 text, event_id uuid, received_at timestamptz)
     ORDER BY project_id, key, event_id
        ON CONFLICT (project_id, key) DO NOTHING
    RETURNING event_id::text
"""

READ_OWNERS = """
    SELECT owner.project_id, owner.key, encode(owner.body_sha256, 'hex'), owner.event_id::text, owner.answer::text
      FROM idempotency AS owner
      JOIN json_to_recordset(%(claims)s::json) AS claim(project_id int, key text) USING (project_id, key)
"""

STORE_RESPONSE = """
    UPDATE idempotency
       SET answer = %(answer)s::jsonb
     WHERE project_id = %(project_id)s AND key = %(key)s
"""


class Claim(NamedTuple):
    """One identity, and the event that would carry it."""

    project_id: int
    key: str
    body_sha256: str
    event_id: str
    received_at: str


class ClaimStatus(Enum):
    """What a claim came to. NEW includes our own retry: its fact collides with the one already stored."""

    NEW = auto()
    REPLAY = auto()
    CONFLICT = auto()


class _Claimed(NamedTuple):
    event_id: str


class _StoredKey(NamedTuple):
    project_id: int
    key: str
    body_sha256: str
    event_id: str
    answer: str | None


class ClaimResult(NamedTuple):
    """A status, and the stored answer where there is one."""

    status: ClaimStatus
    answer: BatchResponse | None = None


def claim(conn: Connection, claims: Sequence[Claim]) -> list[ClaimResult]:
    """Claim every identity and rule on each, in order.

    Raises:
        Contention: an owner's row was deleted between the two statements; a repeat will claim it.
    """
    if not claims:
        return []
    rows = {"claims": to_json([each._asdict() for each in claims]).decode()}
    won = {winner.event_id for winner in fetch_all(conn, CLAIM_KEYS, rows, _Claimed)}
    if len(won) == len(claims):
        return [ClaimResult(ClaimStatus.NEW)] * len(claims)
    owners = {(owner.project_id, owner.key): owner for owner in fetch_all(conn, READ_OWNERS, rows, _StoredKey)}
    return [_resolve(each, owners) for each in claims]


def store_response(conn: Connection, project_id: int, key: str, answer: BatchResponse) -> None:
    """Store the answer that a repeat of this batch will get."""
    execute(
        conn, STORE_RESPONSE, {"project_id": project_id, "key": key, "answer": answer.model_dump_json(by_alias=True)}
    )


def _resolve(claim: Claim, owners: dict[tuple[int, str], _StoredKey]) -> ClaimResult:
    owner = owners.get((claim.project_id, claim.key))
    if owner is None:
        raise Contention("an idempotency key expired just now")
    answer = None if owner.answer is None else BatchResponse.model_validate_json(owner.answer)
    if owner.event_id == claim.event_id:
        return ClaimResult(ClaimStatus.NEW, answer)
    return ClaimResult(ClaimStatus.REPLAY if owner.body_sha256 == claim.body_sha256 else ClaimStatus.CONFLICT, answer)
