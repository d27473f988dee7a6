"""The common work of the routes under `/administration/`: a body in, one transaction, JSON out."""

import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel

from device_registration_api.access.authorization import lock_project
from device_registration_api.access.creations import Created
from device_registration_api.events.router import read_deadline, read_envelope
from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.http.bodies import read_bytes

Result = TypeVar("Result")
Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, model: type[Body]) -> Body:
    """Return the body as a model, which is strict by its fields. Raises Invalid."""
    return read_envelope(model, await read_bytes(request), strict=None)


async def in_transaction(request: Request, work: Callable[[Connection], Result]) -> Result:
    """Run `work` in one transaction of its own. Raises NotRecorded, OutcomeUnknown, and what `work` raises."""
    database: Database = request.state.database

    def attempt(lease: Lease) -> Result:
        with lease.transaction() as conn:
            return work(conn)

    return await database.run(attempt, read_deadline(request) - time.monotonic())


async def managing(
    request: Request, project_key: str, account_id: UUID | None, work: Callable[[Connection, int], Result]
) -> Result:
    """Run `work` in one transaction, with the number of the project, which is locked. Without an account, it is for an
    API key of the project: statistics-api has checked that it may manage.

    Raises as `lock_project` and `in_transaction`, and what `work` raises.
    """
    return await in_transaction(request, lambda conn: work(conn, lock_project(conn, project_key, account_id)))


def created_response(created: Created) -> Response:
    """Return the response with what was created, now or by the first request with the same idempotency key."""
    response = json_response(created.json, status=201)
    if created.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def json_response(text: str, status: int = 200) -> Response:
    """Return the response with this JSON."""
    return Response(text, status, media_type="application/json")
