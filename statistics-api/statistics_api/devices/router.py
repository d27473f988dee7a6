"""The public routes of devices: a key of the project opens them. Reads here, changes in the private service."""

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from contract.access import Scope
from contract.devices import Device, DeviceChange, DeviceDraft, ListedDevice
from servicekit.http.bodies import KEY_HEADER, read_bytes, read_idempotency_key, validated
from servicekit.http.openapi import Schema, json_body, refusals
from servicekit.http.strict_json import decode
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.documentation import VARY, required_key
from statistics_api.administration.client import call
from statistics_api.administration.relaying import creation_of, relayed
from statistics_api.delivery.endpoints import REPLAYED_HEADER
from statistics_api.devices.documentation import LIMIT_PARAMETER, SKIP_PARAMETER, at_device, skip_and_limit
from statistics_api.devices.known_devices import known_devices
from statistics_api.devices.queries import Page
from statistics_api.devices.reader import NAME, DeviceReader

_READS = refusals(401, 403, 404, 422, 429, 503, as_problem=True)
_CHANGES = refusals(401, 403, 404, 408, 409, 413, 422, 429, 503, as_problem=True)
_CREATED: dict[int | str, Schema] = {201: {"headers": REPLAYED_HEADER}}
_DEVICES = TypeAdapter(list[ListedDevice])

router = APIRouter(prefix="/api/v1/devices", tags=["devices"])


@router.get(
    "",
    response_model=list[ListedDevice],
    summary="The devices of the project",
    responses=_READS,
    openapi_extra={"parameters": [SKIP_PARAMETER, LIMIT_PARAMETER]} | required_key(Scope.READ),
)
async def list_devices(request: Request) -> Response:
    """In the order in which they were created. `latest` is what was measured last, whenever it arrived, and `last_seen`
    is its time; both stay when retention deletes the rows.
    """
    credential = await required_credential_of(request, Scope.READ)
    page = Page(*skip_and_limit(request.query_params))
    found = await _reader(request).devices(credential.project_id, page)
    return Response(_DEVICES.dump_json(found), headers=VARY, media_type="application/json")


@router.post(
    "",
    status_code=201,
    response_model=Device,
    summary="Create a device",
    responses=_CHANGES | _CREATED,
    openapi_extra=json_body(DeviceDraft, headers=(KEY_HEADER,)) | required_key(Scope.INGEST),
)
async def create_device(request: Request) -> Response:
    """`device_id` is your own id, with any characters; the project has one device with it. `id` is our number."""
    credential = await required_credential_of(request, Scope.INGEST)
    key = read_idempotency_key(request)
    draft = validated(DeviceDraft, decode(await read_bytes(request)), "body")
    segments = ("devices",)
    project = {"project_id": str(credential.project_id)}
    response = await call(request, "POST", *segments, body=creation_of(draft, key, segments), query=project)
    return relayed(response)


@router.get(
    "/{device_id}",
    response_model=Device,
    summary="One device",
    responses=_READS,
    openapi_extra=at_device({}) | required_key(Scope.READ),
)
async def read_device(request: Request) -> Response:
    """By your own id, percent-encoded."""
    credential = await required_credential_of(request, Scope.READ)
    found = await _reader(request).device(credential.project_id, request.path_params["device_id"])
    return Response(found.model_dump_json(), headers=VARY, media_type="application/json")


@router.put(
    "/{device_id}",
    response_model=Device,
    summary="Change a device",
    responses=_CHANGES,
    openapi_extra=at_device(json_body(DeviceChange)) | required_key(Scope.INGEST),
)
async def change_device(request: Request) -> Response:
    """A field that is absent stays. Null is applied: it clears `name`, and unassigns the user."""
    credential = await required_credential_of(request, Scope.INGEST)
    change = validated(DeviceChange, decode(await read_bytes(request)), "body")
    project = {"project_id": str(credential.project_id)}
    device_id: str = request.path_params["device_id"]
    return relayed(await call(request, "PUT", "devices", device_id, body=change, query=project))


@router.delete(
    "/{device_id}",
    status_code=204,
    summary="Delete a device and its measurements",
    responses=_CHANGES,
    openapi_extra=at_device({}) | required_key(Scope.MANAGE),
)
async def delete_device(request: Request) -> Response:
    """At once for everyone: its id is free. Its measurements are removed in the background."""
    credential = await required_credential_of(request, Scope.MANAGE)
    device_id: str = request.path_params["device_id"]
    project = {"project_id": str(credential.project_id)}
    try:
        return relayed(await call(request, "DELETE", "devices", device_id, query=project))
    finally:
        known_devices(request).forget(credential.project_id, device_id)


def _reader(request: Request) -> DeviceReader:
    reader: DeviceReader = request.state.readers[NAME]
    return reader
