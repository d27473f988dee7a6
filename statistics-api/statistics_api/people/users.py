"""The users of a project (family 2)."""

from functools import partial
from typing import Annotated, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, TypeAdapter

from contract.devices import Device
from contract.people import (
    IMPORTED_ID_DIGITS_MAX,
    LIST_MAX,
    SKIP_MAX,
    Person,
    User,
    UserChange,
    UserDraft,
    UserWithDevices,
)
from servicekit.database.pool import Database
from servicekit.errors import NotFound
from servicekit.http.bodies import KEY_HEADER, read_json, validated
from servicekit.http.openapi import json_body, query
from servicekit.http.query_parameters import read_number
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.documentation import required_key
from statistics_api.administration.client import call
from statistics_api.people import persons, queries

NAME = "users"
READ_SECONDS_MAX = 3.0

_PEOPLE = TypeAdapter(list[Person])
_USERS = TypeAdapter(list[User])
_SKIP, _LIMIT = "skip", "limit"
_Skip: TypeAlias = Annotated[int, Field(ge=0, le=SKIP_MAX)]
_Limit: TypeAlias = Annotated[int, Field(ge=1, le=LIST_MAX)]
_UserId: TypeAlias = Annotated[
    str, Path(description="The user's `id`, or the number that the user had in the system they were imported from.")
]


class UserDevices:
    """The reads of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, project_id: int, person_id: UUID) -> list[Device]:
        """Return the devices of a person. Raises NotRecorded when the database cannot be asked."""
        work = partial(queries.devices, project_id=project_id, person_id=person_id)
        return await self._database.run(work, READ_SECONDS_MAX)


router = APIRouter(prefix="/api/v1/users", tags=["users"])


@router.get(
    "",
    response_model=list[User],
    summary="The users of a project",
    responses=persons.READS,
    openapi_extra=required_key(persons.READING)
    | {
        "parameters": [
            query(_SKIP, _Skip, "How many users to pass over; 0 by default."),
            query(_LIMIT, _Limit, f"How many users at most; {LIST_MAX} by default."),
        ]
    },
)
async def list_users(request: Request) -> Response:
    """The oldest first, in an order that never changes."""
    credential = await required_credential_of(request, persons.READING)
    page = {
        _SKIP: str(read_number(request.query_params, _SKIP, 0, 0, SKIP_MAX)),
        _LIMIT: str(read_number(request.query_params, _LIMIT, LIST_MAX, 1, LIST_MAX)),
    }
    answer = await call(request, "GET", "people", str(credential.project_id), query=page)
    users = [_user(each) for each in _PEOPLE.validate_json(answer.content)]
    return persons.json_response(_USERS.dump_json(users))


@router.post(
    "",
    status_code=201,
    response_model=User,
    summary="Create a user",
    responses=persons.CREATIONS,
    openapi_extra=required_key(persons.WRITING) | json_body(UserDraft, headers=(KEY_HEADER,)),
)
async def create_user(request: Request) -> Response:
    """E-mail address and username are unique in the project whatever their case, and are shown as they were written
    first. A repeat with the same `Idempotency-Key` gets the first response.
    """
    _, created = await persons.create(request, UserDraft)
    return persons.created_response(_user(created.person), is_replay=created.is_replay)


@router.get(
    "/{user_id}",
    response_model=UserWithDevices,
    summary="One user",
    responses=persons.READS,
    openapi_extra=required_key(persons.READING),
)
async def read_user(request: Request, user_id: _UserId) -> Response:
    """With the user's devices. Another project's user is a 404."""
    credential = await required_credential_of(request, persons.READING)
    answer = await call(request, "GET", "people", str(credential.project_id), _plausible(user_id))
    user = _user(Person.model_validate_json(answer.content))
    reader: UserDevices = request.state.readers[NAME]
    devices = await reader.of(credential.project_id, user.id)
    return persons.json_response(UserWithDevices(**user.model_dump(), devices=devices).model_dump_json())


@router.put(
    "/{user_id}",
    response_model=User,
    summary="Change a user",
    responses=persons.CHANGES,
    openapi_extra=required_key(persons.WRITING) | json_body(UserChange),
)
async def change_user(request: Request, user_id: _UserId) -> Response:
    """A field that is absent stays; null is refused."""
    credential = await required_credential_of(request, persons.WRITING)
    change = validated(UserChange, await read_json(request), "body")
    answer = await call(request, "PATCH", "people", str(credential.project_id), _plausible(user_id), body=change)
    return persons.json_response(_user(Person.model_validate_json(answer.content)).model_dump_json())


def _user(person: Person) -> User:
    """Without the fields that only stores know."""
    return User(id=person.id, username=person.username, email=person.email)


def _plausible(user_id: str) -> str:
    """Return an id that may be one, so that it fits into a path. Raises NotFound."""
    if len(user_id) > IMPORTED_ID_DIGITS_MAX:
        raise NotFound("User not found")
    return user_id
