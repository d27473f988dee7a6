"""The public routes that erase: a user of family 2 and a user of a store are one person of the project."""

from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from typing import Annotated, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from contract.access import Scope
from contract.erasure import (
    SUPPRESSED,
    UNSUPPRESSED,
    DeletedEvents,
    DeletedUser,
    ErasureProgress,
    ErasureReceipt,
    Message,
)
from contract.export import Export, ExportHead, ExportPage
from servicekit.database.pool import Database
from servicekit.errors import NotFound
from servicekit.http.openapi import refusals
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.documentation import required_key
from statistics_api.administration.client import call
from statistics_api.administration.relaying import NOT_STORED
from statistics_api.delivery.device_api import DeviceApiResponse
from statistics_api.erasure import queries

NAME = "erasure"
READ_SECONDS_MAX = 3.0
_REFUSALS = refusals(401, 403, 404, 422, 429, 503, as_problem=True)
_REFUSALS_OF_LIVING = refusals(401, 403, 404, 410, 422, 429, 503, as_problem=True)
# In OpenAPI a path has one name for its parameter, and to GET it is an e-mail address.
_UserId: TypeAlias = Annotated[str, Path(description="The `id` of the user.")]

router = APIRouter(tags=["erasure"])


class ErasureReader:
    """The reads of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def progress(self, project_id: int, receipt: UUID) -> ErasureProgress:
        """Return how far an erasure of the project is.

        Raises:
            NotFound: the project has no erasure with this receipt.
            NotRecorded: the database cannot be asked.
        """
        work = partial(queries.progress, project_id=project_id, receipt=receipt)
        found = await self._database.run(work, READ_SECONDS_MAX)
        if not found:
            raise NotFound("Receipt not found")
        return found[0]


@router.delete(
    "/api/user/{email}",
    response_model=DeletedUser,
    summary="Erase a user of a store",
    responses={202: {"model": DeletedUser}, **_REFUSALS},
    openapi_extra=required_key(Scope.MANAGE),
)
async def delete_store_user(request: Request, email: _UserId) -> Response:
    """From all databases: the fields, the devices with their measurements, the events. Their later events are a 410,
    and no figure moves. A repeat has the same receipt. 202: it is not finished yet, and goes on by itself.
    """
    erased = await _erase(request, email)
    receipt = ErasureReceipt.model_validate_json(erased.content)
    return _json(DeletedUser.of(receipt).model_dump_json(), HTTPStatus(erased.status))


@router.delete(
    "/api/v1/users/{user_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Erase a user",
    responses={202: {"description": "Not finished yet; it goes on by itself."}, **_REFUSALS},
    openapi_extra=required_key(Scope.MANAGE),
)
async def delete_user(request: Request, user_id: str) -> Response:
    """The fields, the devices with their measurements, the events. No figure moves."""
    erased = await _erase(request, user_id)
    return Response(status_code=HTTPStatus.NO_CONTENT if erased.status == HTTPStatus.OK else HTTPStatus.ACCEPTED)


@router.get(
    "/api/erasure/{receipt}",
    response_model=ErasureProgress,
    summary="How far an erasure is",
    responses=_REFUSALS,
    openapi_extra=required_key(Scope.MANAGE),
)
async def read_erasure(request: Request, receipt: str) -> Response:
    """A receipt is kept for ever, and says nothing of who was erased."""
    credential = await required_credential_of(request, Scope.MANAGE)
    reader: ErasureReader = request.state.readers[NAME]
    found = await reader.progress(credential.project_id, _receipt(receipt))
    return _json(found.model_dump_json())


async def _suppress(request: Request, user_id: str, method: str, sentence: str) -> Response:
    credential = await required_credential_of(request, Scope.MANAGE)
    await call(request, method, "people", str(credential.project_id), user_id, "suppression")
    return _json(Message(message=sentence).model_dump_json(), HTTPStatus.CREATED)


@router.post(
    "/api/user/{user_id}/suppress",
    status_code=HTTPStatus.CREATED,
    response_model=Message,
    summary="Stop collecting events of a user",
    responses=_REFUSALS_OF_LIVING,
    openapi_extra=required_key(Scope.MANAGE),
)
async def suppress(request: Request, user_id: str) -> Response:
    """What is recorded stays. Later events are a 410 with the code `suppressed`."""
    return await _suppress(request, user_id, "PUT", SUPPRESSED)


@router.post(
    "/api/user/{user_id}/unsuppress",
    status_code=HTTPStatus.CREATED,
    response_model=Message,
    summary="Collect events of a user again",
    responses=_REFUSALS_OF_LIVING,
    openapi_extra=required_key(Scope.MANAGE),
)
async def unsuppress(request: Request, user_id: str) -> Response:
    """Whether the user was suppressed or not."""
    return await _suppress(request, user_id, "DELETE", UNSUPPRESSED)


@router.delete(
    "/api/event/{user_id}",
    response_model=Message,
    summary="Delete the events of a user",
    responses=_REFUSALS_OF_LIVING,
    openapi_extra=required_key(Scope.MANAGE),
)
async def delete_events(request: Request, user_id: str) -> Response:
    """The user stays, and so does every figure. Those that are left after a 503 are deleted by a repeat."""
    credential = await required_credential_of(request, Scope.MANAGE)
    answer = await call(request, "DELETE", "people", str(credential.project_id), user_id, "events")
    deleted = DeletedEvents.model_validate_json(answer.content)
    return _json(Message(message=f"{deleted.events} events were deleted").model_dump_json())


@router.get(
    "/api/user/{user_id}/export",
    response_model=Export,
    summary="Everything that is held about a user",
    responses=_REFUSALS,
    openapi_extra=required_key(Scope.MANAGE),
)
async def export(request: Request, user_id: str) -> Response:
    """As one JSON document of any length: an answer that is cut off is no JSON."""
    credential = await required_credential_of(request, Scope.MANAGE)
    person = ("people", str(credential.project_id), user_id, "export")
    head = ExportHead.model_validate_json((await call(request, "GET", *person)).content)
    return StreamingResponse(_document(request, person, head), headers=NOT_STORED, media_type="application/json")


async def _document(request: Request, person: tuple[str, ...], head: ExportHead) -> AsyncIterator[bytes]:
    """The parts of the document: the head without its end, then page after page of each kind."""
    yield head.model_dump_json(exclude={"kinds"}).removesuffix("}").encode() + b',"events":{'
    for number, kind in enumerate(head.kinds):
        yield (b"," if number else b"") + to_json(kind) + b":["
        after: str | None = None
        is_first = True
        while is_first or after is not None:
            answer = await call(request, "GET", *person, kind, query={} if after is None else {"after": after})
            page = ExportPage.model_validate_json(answer.content)
            if page.events:
                yield (b"" if is_first else b",") + b",".join(map(to_json, page.events))
            after, is_first = page.next, False
        yield b"]"
    yield b"}}"


async def _erase(request: Request, user_id: str) -> DeviceApiResponse:
    credential = await required_credential_of(request, Scope.MANAGE)
    return await call(request, "DELETE", "people", str(credential.project_id), user_id)


def _receipt(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("Receipt not found") from None


def _json(content: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(content, status, NOT_STORED, media_type="application/json")
