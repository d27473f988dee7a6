"""The state of the databases for an operator: the values that the metrics show, read when they are asked for."""

from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter, Request, Response

from contract import installation
from device_registration_api import __version__
from device_registration_api.access.requests import json_response
from device_registration_api.access.store_router import check_operator
from device_registration_api.metrics.stored import (
    DEFAULT_PARTITION_ROWS,
    DRIFT,
    ERASURE_AGE,
    ERASURES_OPEN,
    KEK_AGE,
    MAINTAINED_AT,
    VERIFIED_AT,
    StoredState,
    StoredValues,
)
from servicekit.errors import NotRecorded
from servicekit.http.openapi import refusals
from servicekit.metrics.families import Family

router = APIRouter(prefix="/administration/installation", tags=["administration"])


@router.get(
    "",
    response_model=installation.StoredState,
    summary="The state of the databases",
    responses=refusals(401, 403, 422, 503, as_problem=True),
)
async def state(request: Request, account_id: UUID) -> Response:
    """For an operator of the installation."""
    await check_operator(request, account_id)
    stored: StoredState = request.state.stored
    values = await stored.read()
    if values is None:
        raise NotRecorded("the database cannot be asked")
    return json_response(_state(values).model_dump_json())


def _state(values: StoredValues) -> installation.StoredState:
    def instant(family: Family) -> datetime | None:
        seconds = values.get((family, ()))
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    drift = values.get((DRIFT, ()))
    return installation.StoredState(
        device_registration_api_version=__version__,
        maintained_at=instant(MAINTAINED_AT),
        counts_verified_at=instant(VERIFIED_AT),
        counts_drift=None if drift is None else int(drift),
        default_partition_rows={
            labels[0]: int(rows) for (family, labels), rows in values.items() if family is DEFAULT_PARTITION_ROWS
        },
        erasures_open=int(values[ERASURES_OPEN, ()]),
        oldest_open_erasure_seconds=values[ERASURE_AGE, ()],
        kek_age_seconds=values.get((KEK_AGE, ())),
    )
