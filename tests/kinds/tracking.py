"""Public routes of API requests without credentials, for the suite: what is delivered needs a key."""

from functools import partial

from fastapi import APIRouter, Request, Response

from contract.delivery import BatchResponse
from contract.projects import DEFAULT_PROJECT_ID
from servicekit.concurrency.request_collapsing import CollapsedReads
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.middleware.fast_path import hot
from statistics_api.api_requests.kind import API_REQUESTS
from statistics_api.delivery.endpoints import batch_body, event_body, record_batch, record_event
from statistics_api.families import Family

PREFIX = "/api/without-credentials/track"
TOTALS = """
    SELECT status_class::text, sum(event_count)::int, sum(response_us_sum)::bigint
      FROM stats.api_request_day WHERE project_id = %(project_id)s GROUP BY 1 ORDER BY 1
"""

router = APIRouter(prefix=PREFIX, tags=["API analytics"])


def new_reader(database: Database) -> CollapsedReads[int, list[tuple[str, int, int]]]:
    """One query answers every request that asked before it started."""

    def totals(lease: Lease, project_id: int) -> list[tuple[str, int, int]]:
        with lease.transaction() as conn:
            return fetch_all(conn, TOTALS, {"project_id": project_id}, lambda *row: row)

    return CollapsedReads(lambda project_id: database.run(partial(totals, project_id=project_id), 3.0))


@router.post("", status_code=201, openapi_extra=event_body(API_REQUESTS))
@hot
async def record(request: Request) -> Response:
    """Record one request."""
    return await record_event(request, API_REQUESTS, DEFAULT_PROJECT_ID)


@router.post("/batch", response_model=BatchResponse, openapi_extra=batch_body(API_REQUESTS, []))
async def record_many(request: Request) -> Response:
    """Record up to 10,000 requests."""
    return await record_batch(request, API_REQUESTS, DEFAULT_PROJECT_ID)


@router.get("/totals")
async def totals(request: Request) -> dict[str, dict[str, int]]:
    """The number and the time of all requests, by the class of their status."""
    found = await request.state.readers["tracking"].get(DEFAULT_PROJECT_ID)
    return {status: {"count": count, "microseconds": us} for status, count, us in found}


TRACKING = Family("tracking", router, (API_REQUESTS,), {f"{PREFIX}/batch": BATCH_BYTES_MAX}, new_reader)
