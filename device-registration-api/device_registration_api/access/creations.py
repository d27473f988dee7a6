"""Creates something once for each idempotency key, with the keys of every event (events/idempotency.py)."""

from collections.abc import Callable
from typing import NamedTuple
from uuid import uuid4

from contract.delivery import IdempotencyKey
from device_registration_api.events.idempotency import (
    STORE_RESPONSE,
    ClaimStatus,
    claim,
    claim_of,
    response_parameters,
    run_plainly,
)
from device_registration_api.events.recording import KEY_REUSED
from device_registration_api.events.rows import FactKey
from servicekit.database import Connection
from servicekit.errors import IdempotencyKeyReused
from servicekit.process import clock


class Created(NamedTuple):
    """The JSON of what was created, now or by the first request with this idempotency key."""

    json: str
    is_replay: bool


class Representation(NamedTuple):
    """The JSON of the response, and what a repeat gets: they differ where the response has a secret."""

    response: str
    repeated: str


def create_once(
    conn: Connection, project_id: int, kind: str, key: IdempotencyKey | None, create: Callable[[], Representation]
) -> Created:
    """Call `create` unless the key was used before; in the same transaction, store what a repeat gets.

    Raises:
        IdempotencyKeyReused: the key was used for something else.
        Contention: the first request with this key is not complete.
    """
    if key is None:
        return Created(create().response, is_replay=False)
    run = run_plainly(conn)
    own = claim_of(kind, key, FactKey(project_id, clock.now(), str(uuid4())))
    [result] = claim(run, [own])
    if result.status is ClaimStatus.NEW:
        made = create()
        run(STORE_RESPONSE, response_parameters(own, made.repeated))
        return Created(made.response, is_replay=False)
    if result.status is ClaimStatus.CONFLICT or result.response is None:
        raise IdempotencyKeyReused(KEY_REUSED)
    return Created(result.response, is_replay=True)
