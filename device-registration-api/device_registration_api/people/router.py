"""The routes for persons of projects, which statistics-api calls for a credential of the project.

The project is in the path: statistics-api has checked the credential. An e-mail address is in the query or in the body,
which no log has.
"""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter

from contract.people import LIST_MAX, SKIP_MAX, Person, PersonDraft, PersonId, StoreUserChange, UserChange
from contract.projects import ProjectId
from device_registration_api.access.creations import Created
from device_registration_api.access.requests import created_response, json_response, read_body
from device_registration_api.events.router import read_deadline
from device_registration_api.people.people import ProjectPeople
from servicekit.errors import NotConfigured
from servicekit.http import deadline
from servicekit.http.openapi import json_body, refusals

_HEADERS = (deadline.HEADER,)
_READS = refusals(401, 404, 422, 503, as_problem=True)
_CHANGES = refusals(401, 404, 409, 413, 422, 503, as_problem=True)
_PEOPLE = TypeAdapter(list[Person])

router = APIRouter(prefix="/administration", tags=["people"])


@router.post(
    "/people/{project_id}",
    status_code=HTTPStatus.CREATED,
    response_model=Person,
    summary="Create a person",
    responses=refusals(401, 409, 413, 422, 503, as_problem=True),
    openapi_extra=json_body(PersonDraft, headers=_HEADERS),
)
async def create(request: Request, project_id: ProjectId) -> Response:
    """E-mail address and name are unique in the project whatever their case. A repeat under the same idempotency key
    gets the first response.
    """
    ends = read_deadline(request)
    draft = await read_body(request, PersonDraft)
    created = await people_of(request).create(project_id, draft, ends)
    return created_response(Created(created.person.model_dump_json(), is_replay=created.is_replay))


@router.get("/people/{project_id}", response_model=list[Person], summary="The people of a project", responses=_READS)
async def page(
    request: Request,
    project_id: ProjectId,
    skip: Annotated[int, Query(ge=0, le=SKIP_MAX)] = 0,
    limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = LIST_MAX,
) -> Response:
    """The oldest first."""
    found = await people_of(request).page(project_id, skip, limit, read_deadline(request))
    return Response(_PEOPLE.dump_json(found), media_type="application/json")


@router.get("/people/{project_id}/{person_id}", response_model=Person, summary="Read a person", responses=_READS)
async def read(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """By the UUID, or by the number in the system that the person was imported from."""
    found = await people_of(request).read(project_id, person_id, read_deadline(request))
    return json_response(found.model_dump_json())


@router.patch(
    "/people/{project_id}/{person_id}",
    response_model=Person,
    summary="Change the fields of a person that are in the body",
    responses=_CHANGES,
    openapi_extra=json_body(UserChange, headers=_HEADERS),
)
async def change(request: Request, project_id: ProjectId, person_id: str) -> Response:
    """By the UUID or the imported number."""
    ends = read_deadline(request)
    wanted = await read_body(request, UserChange)
    changed = await people_of(request).change(project_id, person_id, wanted, ends)
    return json_response(changed.model_dump_json())


@router.get("/found-people/{project_id}", response_model=PersonId, summary="Find a person", responses=_READS)
async def find(request: Request, project_id: ProjectId, email: str) -> Response:
    """By the e-mail address, in any case."""
    person_id: UUID = await people_of(request).find(project_id, email, read_deadline(request))
    return json_response(PersonId(id=person_id).model_dump_json())


@router.patch(
    "/found-people/{project_id}",
    response_model=Person,
    summary="Find a person, and change the fields that are in the body",
    responses=_CHANGES,
    openapi_extra=json_body(StoreUserChange, headers=_HEADERS),
)
async def change_found(request: Request, project_id: ProjectId) -> Response:
    """By the e-mail address in the body, or else by the name in it."""
    ends = read_deadline(request)
    wanted = await read_body(request, StoreUserChange)
    changed = await people_of(request).change_found(project_id, wanted, ends)
    return json_response(changed.model_dump_json())


def people_of(request: Request) -> ProjectPeople:
    """Return the people of this process. Raises NotConfigured."""
    people: ProjectPeople | None = request.state.people
    if people is None:
        raise NotConfigured("personal data is not configured in this installation")
    return people
