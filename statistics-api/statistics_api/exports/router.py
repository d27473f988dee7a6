"""The public routes of exports: one for each kind of event, beside its other routes."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request, Response

from contract.access import Scope
from contract.exports import (
    CHECKPOINT,
    CHECKPOINT_ROWS,
    CSV_TYPE,
    CURSOR,
    CURSOR_CHARACTERS_MAX,
    END,
    FORMAT,
    MEDIA_TYPES,
    RECEIVED_FROM,
    ROWS,
    ExportFormat,
)
from servicekit.errors import Invalid
from servicekit.http.accept import preferred
from servicekit.http.openapi import Schema, query, refusals
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.documentation import PROJECT_KEY, project_reader, required_key
from statistics_api.access.projects import project_of
from statistics_api.api_requests.kind import API_REQUESTS
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.exports.streams import Export, ExportResponse, Slots
from statistics_api.measurements.kind import MEASUREMENTS
from statistics_api.store_events.kind import STORE_EVENTS

NAME = "exports"

_REFUSED = (401, 403, 409, 422, 429, 503)
_EXPORTED: Schema = {
    "description": f"A line for each row; every {CHECKPOINT_ROWS:,} rows at the latest, and at the end, a line with a "
    f"`{CHECKPOINT}`. In the last line `{END}` is true, and `{ROWS}` is the number of rows since the export began or "
    "went on behind the cursor: without this line, it was cut off. In CSV, a checkpoint is a line of its own, which "
    f"has it in the last column; the column before, `{ROWS}`, is empty but in the last line.",
    "content": {each: {"schema": {"type": "string"}} for each in MEDIA_TYPES.values()},
}
_PARAMETERS = [
    query(FORMAT, ExportFormat, "Default: what `Accept` prefers, and NDJSON."),
    query(
        CURSOR,
        str,
        "A checkpoint: the export goes on behind it. A 409 says that the database was restored since.",
    ),
    query(RECEIVED_FROM, str, "A time in RFC 3339: rows that were received earlier are left out. Not with `cursor`."),
]
_SUMMARY = "All events, in the order in which they were committed, from any checkpoint on"

router = APIRouter(tags=["exports"])


@router.get(
    "/Log/auth/export",
    response_class=Response,
    summary=_SUMMARY,
    responses={**refusals(*_REFUSED), 200: _EXPORTED},
    openapi_extra=required_key(Scope.MANAGE) | {"parameters": _PARAMETERS},
)
async def auth_events(request: Request) -> Response:
    """Each row has the fields that it was sent with, so it can be sent again. The order is that of transactions, and
    within one that of `receivedAt` and `eventId`: whoever goes on from a checkpoint misses no row and gets none twice.

    The scope is `manage`, because the rows have user keys.
    """
    return await _export(request, AUTH_EVENTS.name, lambda: _project_id(request, Scope.MANAGE))


@router.get(
    "/api/v1/projects/{project_key}/metrics/export",
    response_class=Response,
    summary=_SUMMARY,
    responses={**refusals(*_REFUSED, 404, as_problem=True), 200: _EXPORTED},
    openapi_extra=project_reader() | {"parameters": [PROJECT_KEY, *_PARAMETERS]},
)
async def api_requests(request: Request) -> Response:
    """The requests of a project, with the fields that they were sent with; `ip_hash` in place of `ip`."""

    async def project_id() -> int:
        return (await project_of(request, request.path_params["project_key"], Scope.READ)).project_id

    return await _export(request, API_REQUESTS.name, project_id)


@router.get(
    "/api/v1/stats/export",
    response_class=Response,
    summary=_SUMMARY,
    responses={**refusals(*_REFUSED, as_problem=True), 200: _EXPORTED},
    openapi_extra=required_key(Scope.READ) | {"parameters": _PARAMETERS},
)
async def measurements(request: Request) -> Response:
    """The measurements of all devices of the project. Those of a device that was deleted are left out."""
    return await _export(request, MEASUREMENTS.name, lambda: _project_id(request, Scope.READ))


@router.get(
    "/api/event/export",
    response_class=Response,
    summary=_SUMMARY,
    responses={**refusals(*_REFUSED, as_problem=True), 200: _EXPORTED},
    openapi_extra=required_key(Scope.MANAGE) | {"parameters": _PARAMETERS},
)
async def store_events(request: Request) -> Response:
    """The events of all users of the store. The scope is `manage`, because the rows name users and have their data."""
    return await _export(request, STORE_EVENTS.name, lambda: _project_id(request, Scope.MANAGE))


async def _project_id(request: Request, scope: Scope) -> int:
    return (await required_credential_of(request, scope)).project_id


async def _export(request: Request, kind: str, project_id_of: Callable[[], Awaitable[int]]) -> Response:
    project_id = await project_id_of()
    parameters = request.query_params
    cursor = parameters.get(CURSOR)
    if cursor is not None and len(cursor) > CURSOR_CHARACTERS_MAX:
        raise Invalid.single(f"must be the {CHECKPOINT} of an export", "query", CURSOR)
    passed: Mapping[str, str] = {name: parameters[name] for name in (CURSOR, RECEIVED_FROM) if name in parameters}
    slots: Slots = request.state.readers[NAME]
    export = Export(kind, project_id, _format_of(request), passed, project_id_of)
    return ExportResponse(request, export, slots)


def _format_of(request: Request) -> ExportFormat:
    """Return the format that the request names, or else that which it prefers. Raises Invalid."""
    name = request.query_params.get(FORMAT)
    if name is None:
        is_csv = preferred(request.scope, (*MEDIA_TYPES.values(),)) == CSV_TYPE
        return ExportFormat.CSV if is_csv else ExportFormat.NDJSON
    try:
        return ExportFormat(name)
    except ValueError:
        raise Invalid.single(f"must be one of {', '.join(ExportFormat)}", "query", FORMAT) from None
