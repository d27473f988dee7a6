"""The routes of erasures, which statistics-api calls for a credential of the project."""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from contract.erasure import DeletedEvents, ErasureReceipt, ErasureState
from contract.export import ExportedDevice, ExportHead, ExportPage
from contract.projects import ProjectId
from device_registration_api.access.requests import json_response
from device_registration_api.erasure import export as exports
from device_registration_api.erasure.commands import Erasure, in_transaction
from device_registration_api.erasure.job import Erasures
from device_registration_api.events.router import read_deadline
from device_registration_api.events.table import EventTable
from device_registration_api.events.writer import EventWriter
from device_registration_api.people.router import people_of
from servicekit.database import Connection
from servicekit.errors import NotConfigured, NotFound
from servicekit.http.openapi import refusals

_READS = refusals(401, 404, 422, 503, as_problem=True)
_REFUSALS = refusals(401, 404, 410, 422, 503, as_problem=True)

router = APIRouter(prefix="/administration", tags=["erasure"])


@router.delete(
    "/people/{project_id}/{person_id}",
    response_model=ErasureReceipt,
    summary="Erase a person from all databases",
    responses={202: {"model": ErasureReceipt}, **_READS},
)
async def erase(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """202: it is not finished yet, and goes on by itself. A repeat has the same receipt."""
    erasure = await erasures_of(request).erase(
        project_id, await _id(request, project_id, person_id), read_deadline(request)
    )
    receipt = _receipt(erasure)
    status = HTTPStatus.OK if receipt.state is ErasureState.FINISHED else HTTPStatus.ACCEPTED
    return json_response(receipt.model_dump_json(), status)


@router.put(
    "/people/{project_id}/{person_id}/suppression",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Refuse events of a person from now on",
    responses=_REFUSALS,
)
async def suppress(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """What is recorded stays."""
    return await _suppress(request, project_id, person_id, suppressed=True)


@router.delete(
    "/people/{project_id}/{person_id}/suppression",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Accept events of a person again",
    responses=_REFUSALS,
)
async def unsuppress(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """Those that were refused meanwhile are not known."""
    return await _suppress(request, project_id, person_id, suppressed=False)


@router.delete(
    "/people/{project_id}/{person_id}/events",
    response_model=DeletedEvents,
    summary="Delete the events of a person who stays",
    responses=_REFUSALS,
)
async def delete_events(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """No figure moves."""
    deleted = await erasures_of(request).delete_events(
        project_id, await _id(request, project_id, person_id), read_deadline(request)
    )
    return json_response(DeletedEvents(events=deleted).model_dump_json())


@router.get(
    "/people/{project_id}/{person_id}/export",
    response_model=ExportHead,
    summary="What is held about a person, without events",
    responses=_READS,
)
async def export(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """And the kinds of event that name the person."""
    ends = read_deadline(request)
    found = await _id(request, project_id, person_id)
    tables = [writer.table for writer in _writers(request).values()]

    def read(conn: Connection) -> tuple[exports.PersonState, list[ExportedDevice], list[str]]:
        state = exports.state(conn, project_id, found)
        return state, exports.devices(conn, project_id, found), exports.kinds(conn, tables)

    state, devices, kinds = await in_transaction(request.state.database, read, ends)
    person = await people_of(request).read(project_id, str(found), ends)
    head = ExportHead(user=person.model_dump(mode="json"), devices=devices, kinds=kinds, **state._asdict())
    return json_response(head.model_dump_json())


@router.get(
    "/people/{project_id}/{person_id}/export/{kind}",
    response_model=ExportPage,
    summary="Some events of a person, of one kind",
    responses=_READS,
)
async def export_page(
    request: Request, project_id: ProjectId, person_id: str, kind: str, after: str | None = None
) -> Response:
    """The first that arrived first, from the `next` of the page before."""
    ends = read_deadline(request)
    found = await _id(request, project_id, person_id)
    writer = _writers(request).get(kind)
    if writer is None:
        raise NotFound("there is no such kind of event")
    work = partial(_page, writer.table, project_id, found, after)
    page = await in_transaction(request.state.database, work, ends)
    return json_response(page.model_dump_json())


def erasures_of(request: Request) -> Erasures:
    """Return the erasures of this process. Raises NotConfigured."""
    erasures: Erasures | None = request.state.erasures
    if erasures is None:
        raise NotConfigured("personal data is not configured in this installation")
    return erasures


async def _suppress(request: Request, project_id: int, person_id: str, *, suppressed: bool) -> Response:
    found = await _id(request, project_id, person_id)
    await erasures_of(request).suppress(project_id, found, read_deadline(request), suppressed=suppressed)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _receipt(erasure: Erasure) -> ErasureReceipt:
    return ErasureReceipt(
        receipt=erasure.receipt,
        state=ErasureState.RUNNING if erasure.finished_at is None else ErasureState.FINISHED,
        users=erasure.users,
        events=erasure.events,
        requested_at=erasure.requested_at,
        finished_at=erasure.finished_at,
    )


def _writers(request: Request) -> Mapping[str, EventWriter[Any]]:
    writers: Mapping[str, EventWriter[Any]] = request.state.writers
    return writers


def _page(table: EventTable[Any], project_id: int, person_id: UUID, after: str | None, conn: Connection) -> ExportPage:
    return exports.page(conn, table, project_id, person_id, after)


async def _id(request: Request, project_id: int, text: str) -> UUID:
    return await people_of(request).known_id(project_id, text, read_deadline(request))
