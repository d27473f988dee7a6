"""The route of exports, which statistics-api calls for one page after the other."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from contract.exports import (
    CURSOR,
    CURSOR_HEADER,
    END_HEADER,
    FORMAT,
    MEDIA_TYPES,
    RECEIVED_FROM,
    ROWS_BEFORE,
    ROWS_HEADER,
    ExportFormat,
)
from contract.projects import ProjectId
from contract.text import QueryInstant
from device_registration_api.events.router import read_deadline
from device_registration_api.events.table import EventTable
from device_registration_api.exports.formats import FORMS, page_text
from device_registration_api.exports.pages import ExportedTable, read_page, start
from device_registration_api.exports.position import read_position
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import Invalid, NotFound
from servicekit.http.openapi import refusals

_ANSWERS: dict[int | str, dict[str, Any]] = {
    **refusals(401, 404, 409, 422, 503, as_problem=True),
    200: {"content": {each: {"schema": {"type": "string"}} for each in MEDIA_TYPES.values()}},
}

router = APIRouter(prefix="/administration", tags=["exports"])


class Exports:
    """The exported kinds, and the connections that exports have of their own: no other request waits for them."""

    def __init__(self, tables: Sequence[EventTable[Any]], database: Database) -> None:
        self.tables: Mapping[str, ExportedTable] = {table.kind: ExportedTable(table) for table in tables}
        self.database = database


@router.get(
    "/exports/{project_id}/{kind}",
    response_class=Response,
    summary="A page of all events of a kind and a project",
    response_description="The rows, and where the next page begins; also in a header",
    responses=_ANSWERS,
)
async def export(
    request: Request,
    project_id: ProjectId,
    kind: str,
    as_format: Annotated[ExportFormat, Query(alias=FORMAT)],
    cursor: Annotated[str | None, Query(alias=CURSOR)] = None,
    received_from: Annotated[QueryInstant | None, Query(alias=RECEIVED_FROM)] = None,
    rows_before: Annotated[int | None, Query(alias=ROWS_BEFORE, ge=0)] = None,
) -> Response:
    """At most 10,000 rows, and fewer when they are large or far apart."""
    exports: Exports = request.state.exports
    table = exports.tables.get(kind)
    if table is None:
        raise NotFound("there is no such kind of event")
    if cursor is not None and received_from is not None:
        raise Invalid.single(f"must not be sent together with `{CURSOR}`", "query", RECEIVED_FROM)
    position = None if cursor is None else read_position(cursor, kind, project_id)

    def read(lease: Lease) -> tuple[bytes, Mapping[str, str]]:
        begins = position or start(lease.transaction, table, project_id, received_from)
        page = read_page(lease.transaction, table, begins)
        headers = {
            CURSOR_HEADER: page.position.text(),
            END_HEADER: str(page.is_end).lower(),
            ROWS_HEADER: str((rows_before or 0) + len(page.rows)),
        }
        return page_text(FORMS[as_format], page, table.names, rows_before), headers

    content, headers = await exports.database.run(read, read_deadline(request) - time.monotonic())
    return Response(content, headers=dict(headers), media_type=MEDIA_TYPES[as_format])
