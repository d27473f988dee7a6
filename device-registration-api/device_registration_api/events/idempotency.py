"""Claims idempotency keys, and finds the owner of a key that was used before. Callers own the transaction.

A transaction claims a key by inserting its row. A second transaction that inserts the same key waits for the commit of
the first. It then reads the first one's row in a second statement, whose snapshot includes that commit.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple, TypeAlias

from contract.delivery import IdempotencyKey
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.rows import FactKey
from servicekit.database import Connection
from servicekit.database.lease import Contention
from servicekit.database.prepared import Prepared

# Executes one statement and returns its rows: prepared in a few round trips, or plainly in an open transaction.
Run: TypeAlias = Callable[[Prepared, Mapping[str, object]], list[tuple[Any, ...]]]

# Keys of this kind are stored as clients write them, as release 0.1.0 stores every key. Any other kind is a prefix of
# the stored key, followed by a separator that no client's key can contain: the primary key has no column for the kind
# before the next release.
_PLAIN_KIND = "auth_events"
_SEPARATOR = "\x1f"

# Sorted, because two transactions that claim the same keys in different orders would deadlock. The event ids of the
# public service grow, so of two events under one key, the event that was received first gets the key.
CLAIM_KEYS = Prepared(
    "claim_keys",
    """
    INSERT INTO idempotency (project_id, kind, key, body_sha256, event_id, received_at)
    SELECT project_id, kind, key, decode(fingerprint, 'hex'), event_id, received_at
      FROM json_to_recordset({claims}::json)
        AS claim(project_id int, kind text, key text, fingerprint text, event_id uuid, received_at timestamptz)
     ORDER BY project_id, key, event_id
        ON CONFLICT (project_id, key) DO NOTHING
    RETURNING project_id, key, event_id::text
    """,
    {"claims": "json"},
)

READ_OWNERS = Prepared(
    "read_owners",
    """
    SELECT owner.project_id, owner.key, encode(owner.body_sha256, 'hex'), owner.event_id::text, owner.received_at,
           owner.answer::text
      FROM idempotency AS owner
      JOIN json_to_recordset({claims}::json) AS claim(project_id int, key text) USING (project_id, key)
    """,
    {"claims": "json"},
)

STORE_RESPONSE = Prepared(
    "store_response",
    """
    UPDATE idempotency
       SET answer = {response}
     WHERE project_id = {project_id} AND key = {key}
    """,
    {"project_id": "int4", "key": "text", "response": "jsonb"},
)

PREPARED = (CLAIM_KEYS, READ_OWNERS, STORE_RESPONSE)


class Claim(NamedTuple):
    """One key as it is stored, and the event that would own it."""

    project_id: int
    kind: str
    key: str
    fingerprint: str
    event_id: str
    received_at: datetime


class ClaimStatus(Enum):
    """The result of a claim. OWN means that this is our own retry: this event owns the key, and it is stored."""

    NEW = auto()
    OWN = auto()
    REPLAY = auto()
    CONFLICT = auto()


class ClaimResult(NamedTuple):
    """A status; for a key that was used before, also the fact that owns it, and the stored response as JSON."""

    status: ClaimStatus
    owner: FactKey | None = None
    response: str | None = None


class _StoredKey(NamedTuple):
    project_id: int
    key: str
    fingerprint: str | None
    event_id: str
    received_at: datetime
    response: str | None

    @property
    def fact(self) -> FactKey:
        """The key of the fact that owns it."""
        return FactKey(self.project_id, self.received_at, self.event_id)


_NEW = ClaimResult(ClaimStatus.NEW)


def claim_of(kind: str, key: IdempotencyKey, event: FactKey) -> Claim:
    """Return the claim of an event, or of a batch as if it were one event."""
    stored = key.key if kind == _PLAIN_KIND else f"{kind}{_SEPARATOR}{key.key}"
    project_id, received_at, event_id = event
    return Claim(project_id, kind, stored, key.fingerprint, event_id, received_at)


def claim(run: Run, claims: Sequence[Claim]) -> list[ClaimResult]:
    """Claim every key and return one result for each, in order.

    Raises:
        Contention: the row of an owner was deleted between the two statements; a repeat will claim the key.
    """
    rows = {"claims": as_json(list(map(_claim_row, claims)))}
    won = set(run(CLAIM_KEYS, rows))
    lost = [each for each in claims if (each.project_id, each.key, each.event_id) not in won]
    if not lost:
        return [_NEW] * len(claims)
    owners = {(owner.project_id, owner.key): owner for owner in _owners(run, lost)}
    return [_NEW if (each.project_id, each.key, each.event_id) in won else _resolve(each, owners) for each in claims]


def stored_owners(run: Run, claims: Mapping[int, Claim]) -> dict[int, FactKey]:
    """Return the fact that owns the key of each claim whose key was used before, without claiming one."""
    if not claims:
        return {}
    owners = {(each.project_id, each.key): each.fact for each in _owners(run, list(claims.values()))}
    found = ((position, owners.get((each.project_id, each.key))) for position, each in claims.items())
    return {position: owner for position, owner in found if owner is not None}


def response_parameters(claim: Claim, response: str) -> dict[str, object]:
    """The parameters of STORE_RESPONSE, so that a repeat of this request gets `response`, which is JSON."""
    return {"project_id": claim.project_id, "key": claim.key, "response": response}


def run_plainly(conn: Connection) -> Run:
    """Return a `Run` for an open transaction on a connection that has no prepared statements."""

    def run(statement: Prepared, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        with conn.cursor() as cursor:
            cursor.execute(statement.plain, parameters)
            return cursor.fetchall() if cursor.description else []

    return run


def _owners(run: Run, claims: Sequence[Claim]) -> list[_StoredKey]:
    asked = {"claims": as_json([{"project_id": each.project_id, "key": each.key} for each in claims])}
    return [_StoredKey(*row) for row in run(READ_OWNERS, asked)]


def _claim_row(claim: Claim) -> dict[str, object]:
    """Return the same as `_asdict`, which takes three times as long."""
    return {
        "project_id": claim.project_id,
        "kind": claim.kind,
        "key": claim.key,
        "fingerprint": claim.fingerprint,
        "event_id": claim.event_id,
        "received_at": claim.received_at,
    }


def _resolve(claim: Claim, owners: Mapping[tuple[int, str], _StoredKey]) -> ClaimResult:
    owner = owners.get((claim.project_id, claim.key))
    if owner is None:
        raise Contention("an idempotency key expired just now")
    if owner.event_id == claim.event_id:
        return ClaimResult(ClaimStatus.OWN, owner.fact, owner.response)
    # If the stored fingerprint is NULL, every request under the key counts as a repeat.
    is_replay = owner.fingerprint in (None, claim.fingerprint)
    return ClaimResult(ClaimStatus.REPLAY if is_replay else ClaimStatus.CONFLICT, owner.fact, owner.response)
