"""What the routes of this room have in common: how they read, work in one transaction, and answer."""

import time
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from device_registration_api.access.creations import Created
from device_registration_api.events.router import read_deadline, read_envelope
from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.http.bodies import read_bytes

Result = TypeVar("Result")
Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, model: type[Body]) -> Body:
    """Return the body as a model, which is strict by its fields alone. Raises Invalid."""
    return read_envelope(model, await read_bytes(request), strict=None)


async def in_transaction(request: Request, work: Callable[[Connection], Result]) -> Result:
    """Run `work` in one transaction of its own. Raises NotRecorded, OutcomeUnknown, and what `work` raises."""
    database: Database = request.state.database

    def attempt(lease: Lease) -> Result:
        with lease.transaction() as conn:
            return work(conn)

    return await database.run(attempt, read_deadline(request) - time.monotonic())


def created_response(created: Created) -> Response:
    """Return the 201 with what was created, now or by an earlier request."""
    response = json_response(created.json, status=201)
    if created.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def json_response(text: str, status: int = 200) -> Response:
    """Return the response with this JSON."""
    return Response(text, status, media_type="application/json")
