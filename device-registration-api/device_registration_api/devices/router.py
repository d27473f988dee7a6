"""The routes for devices that statistics-api calls, which has checked the credential and found its project."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from contract.administration import Creation
from contract.devices import Device, DeviceChange, DeviceDraft
from contract.projects import ProjectId
from device_registration_api.access.creations import Created, Representation, create_once
from device_registration_api.access.requests import created_response, in_transaction, json_response, read_body
from device_registration_api.devices import commands
from servicekit.database import Connection
from servicekit.http import deadline
from servicekit.http.openapi import json_body, refusals

_HEADERS = (deadline.HEADER,)
_REFUSALS = refusals(401, 404, 409, 413, 422, 503, as_problem=True)

router = APIRouter(prefix="/administration/devices", tags=["administration"])


@router.post(
    "",
    status_code=201,
    response_model=Device,
    summary="Create a device",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[DeviceDraft], headers=_HEADERS),
)
async def create_device(request: Request, project_id: Annotated[ProjectId, Query()]) -> Response:
    """A project has one device with an id."""
    wanted = await read_body(request, Creation[DeviceDraft])

    def work(conn: Connection) -> Created:
        def create() -> Representation:
            text = commands.create_device(conn, project_id, wanted.draft).model_dump_json()
            return Representation(text, text)

        return create_once(conn, project_id, "devices", wanted.idempotency_key, create)

    return created_response(await in_transaction(request, work))


@router.put(
    "/{device_id}",
    response_model=Device,
    summary="Change the fields of a device that are in the body",
    responses=_REFUSALS,
    openapi_extra=json_body(DeviceChange, headers=_HEADERS),
)
async def change_device(request: Request, device_id: str, project_id: Annotated[ProjectId, Query()]) -> Response:
    """Null clears the name, or unassigns the user."""
    change = await read_body(request, DeviceChange)
    changed = await in_transaction(request, lambda conn: commands.change_device(conn, project_id, device_id, change))
    return json_response(changed.model_dump_json())


@router.delete("/{device_id}", status_code=204, summary="Delete a device", responses=_REFUSALS)
async def delete_device(request: Request, device_id: str, project_id: Annotated[ProjectId, Query()]) -> Response:
    """`maintain` removes its measurements."""
    await in_transaction(request, lambda conn: commands.delete_device(conn, project_id, device_id))
    return Response(status_code=204)
