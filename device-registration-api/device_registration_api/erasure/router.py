"""The routes of erasures, which statistics-api calls for a credential of the project."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response

from contract.erasure import DeletedEvents, ErasureReceipt, ErasureState
from contract.projects import ProjectId
from device_registration_api.erasure.commands import Erasure
from device_registration_api.erasure.job import Erasures
from device_registration_api.events.router import read_deadline
from device_registration_api.people.router import people_of
from servicekit.errors import NotConfigured
from servicekit.http.openapi import refusals

_REFUSALS = refusals(401, 404, 410, 422, 503, as_problem=True)

router = APIRouter(prefix="/administration", tags=["erasure"])


@router.delete(
    "/people/{project_id}/{person_id}",
    response_model=ErasureReceipt,
    summary="Erase a person from all databases",
    responses={202: {"model": ErasureReceipt}, **refusals(401, 404, 422, 503, as_problem=True)},
)
async def erase(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """202: it is not finished yet, and goes on by itself. A repeat has the same receipt."""
    erasure = await erasures_of(request).erase(
        project_id, await _id(request, project_id, person_id), read_deadline(request)
    )
    receipt = _receipt(erasure)
    status = HTTPStatus.OK if receipt.state is ErasureState.FINISHED else HTTPStatus.ACCEPTED
    return Response(receipt.model_dump_json(), status, media_type="application/json")


@router.put(
    "/people/{project_id}/{person_id}/suppression",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Refuse events of a person from now on",
    responses=_REFUSALS,
)
async def suppress(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """What is recorded stays."""
    await erasures_of(request).suppress(
        project_id, await _id(request, project_id, person_id), read_deadline(request), suppressed=True
    )
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.delete(
    "/people/{project_id}/{person_id}/suppression",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Accept events of a person again",
    responses=_REFUSALS,
)
async def unsuppress(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """Those that were refused meanwhile are not known."""
    await erasures_of(request).suppress(
        project_id, await _id(request, project_id, person_id), read_deadline(request), suppressed=False
    )
    return Response(status_code=HTTPStatus.NO_CONTENT)


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
    return Response(DeletedEvents(events=deleted).model_dump_json(), media_type="application/json")


def erasures_of(request: Request) -> Erasures:
    """Return the erasures of this process. Raises NotConfigured."""
    erasures: Erasures | None = request.state.erasures
    if erasures is None:
        raise NotConfigured("personal data is not configured in this installation")
    return erasures


def _receipt(erasure: Erasure) -> ErasureReceipt:
    return ErasureReceipt(
        receipt=erasure.receipt,
        state=ErasureState.RUNNING if erasure.finished_at is None else ErasureState.FINISHED,
        users=erasure.users,
        events=erasure.events,
        requested_at=erasure.requested_at,
        finished_at=erasure.finished_at,
    )


async def _id(request: Request, project_id: int, text: str) -> UUID:
    return await people_of(request).known_id(project_id, text, read_deadline(request))
