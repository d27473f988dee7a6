"""The public routes of parcels; a kind that is delivered has this in the public service, queries and all."""

from functools import partial
from operator import attrgetter

from fastapi import APIRouter, Request, Response

from contract.delivery import BatchResponse
from contract.projects import DEFAULT_PROJECT_ID
from servicekit.concurrency.request_collapsing import CollapsedReads
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.middleware.fast_path import hot
from statistics_api.delivery.endpoints import batch_body, event_body, record_batch, record_event
from statistics_api.delivery.kinds import EventKind, row_response
from statistics_api.families import Family
from tests.kinds.parcels.events import Parcel, ParcelColumns

TOTALS = """
    SELECT way, sum(event_count)::int, sum(grams_sum)::bigint
      FROM stats.parcel_total WHERE project_id = %(project_id)s GROUP BY way
"""

router = APIRouter(prefix="/api/parcels", tags=["parcels"])
KIND = EventKind("parcels", Parcel, ParcelColumns, attrgetter("code", "way", "grams", "contents"), row_response)


def new_reader(database: Database) -> CollapsedReads[int, list[tuple[str, int, int]]]:
    """One query answers every request that asked before it started."""

    def totals(lease: Lease, project_id: int) -> list[tuple[str, int, int]]:
        with lease.transaction() as conn:
            return fetch_all(conn, TOTALS, {"project_id": project_id}, lambda *row: row)

    return CollapsedReads(lambda project_id: database.run(partial(totals, project_id=project_id), 3.0))


@router.post("", status_code=201, openapi_extra=event_body(KIND))
@hot
async def record(request: Request) -> Response:
    """Record one parcel."""
    return await record_event(request, KIND, DEFAULT_PROJECT_ID)


@router.post("/batch", response_model=BatchResponse, openapi_extra=batch_body(KIND, []))
async def record_many(request: Request) -> Response:
    """Record up to 10,000 parcels."""
    return await record_batch(request, KIND, DEFAULT_PROJECT_ID)


@router.get("/totals")
async def totals(request: Request) -> dict[str, dict[str, int]]:
    """The number and the weight of all parcels, by their way."""
    found = await request.state.readers["parcels"].get(DEFAULT_PROJECT_ID)
    return {way: {"count": count, "grams": grams} for way, count, grams in found}


PARCELS = Family("parcels", router, (KIND,), {"/api/parcels/batch": BATCH_BYTES_MAX}, new_reader)
