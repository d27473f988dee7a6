"""The users of a store, which is a project (family 4)."""

from http import HTTPStatus
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

from contract.accounts import EMAIL_CHARACTERS_MAX
from contract.people import PersonId, StoreUser, StoreUserChange, StoreUserDraft
from servicekit.errors import NotFound
from servicekit.http.bodies import KEY_HEADER, read_json, validated
from servicekit.http.openapi import json_body
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.documentation import required_key
from statistics_api.administration.client import call
from statistics_api.people import persons

# The paths that have personal data in them: the request log has the template instead.
PERSONAL_PATHS = ("/api/user/",)
_Email: TypeAlias = Annotated[
    str,
    Path(
        description="In any case. It may be percent-encoded; a plus sign is a plus sign.",
        examples=["bob.test@example.com"],
    ),
]


class Message(BaseModel):
    """That it is done."""

    message: str


_UPDATED = Message(message="User successfully updated")

router = APIRouter(prefix="/api/user", tags=["store users"])


@router.get(
    "/{email}",
    response_model=PersonId,
    summary="Find a user by the e-mail address",
    responses=persons.READS,
    openapi_extra=required_key(persons.READING),
)
async def find_user(request: Request, email: _Email) -> Response:
    """The whole address in any case, among this store's users alone."""
    credential = await required_credential_of(request, persons.READING)
    if len(email) > EMAIL_CHARACTERS_MAX:
        raise NotFound("User with given email not found")
    answer = await call(request, "GET", "found-people", str(credential.project_id), query={"email": email})
    return persons.json_response(answer.content)


@router.post(
    "",
    status_code=201,
    response_model=StoreUser,
    summary="Create a user of the store",
    responses=persons.CREATIONS,
    openapi_extra=required_key(persons.WRITING) | json_body(StoreUserDraft, headers=(KEY_HEADER,)),
)
async def create_user(request: Request) -> Response:
    """E-mail address and username are unique in the store whatever their case, and are shown as they were written
    first. A repeat with the same `Idempotency-Key` gets the first response.
    """
    project_id, created = await persons.create(request, StoreUserDraft)
    user = StoreUser(**created.person.model_dump(), store_id=project_id)
    return persons.created_response(user, is_replay=created.is_replay)


@router.patch(
    "",
    status_code=201,
    response_model=Message,
    summary="Change a user of the store",
    responses=persons.CHANGES,
    openapi_extra=required_key(persons.WRITING) | json_body(StoreUserChange),
)
async def change_user(request: Request) -> Response:
    """The user with the e-mail address in the body, or else the one with the username; two different users are a 409.
    A field that is absent stays; null is refused.
    """
    credential = await required_credential_of(request, persons.WRITING)
    change = validated(StoreUserChange, await read_json(request), "body")
    await call(request, "PATCH", "found-people", str(credential.project_id), body=change)
    return persons.json_response(_UPDATED.model_dump_json(), HTTPStatus.CREATED)
