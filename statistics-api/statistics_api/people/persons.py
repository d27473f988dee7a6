"""What both families ask of the private service, which alone has personal data."""

from http import HTTPStatus

from fastapi import Request, Response
from pydantic import BaseModel

from contract.access import Scope
from contract.people import Person, PersonDraft, UserDraft
from servicekit.http.bodies import read_idempotency_key, read_json, validated
from servicekit.http.openapi import Schema, refusals
from statistics_api.access.credentials import required_credential_of
from statistics_api.administration.client import call
from statistics_api.administration.relaying import NOT_STORED
from statistics_api.delivery.endpoints import REPLAYED_HEADER
from statistics_api.delivery.kinds import replayed_headers

# What a key needs: to look persons up, and to create or change one. A key that only records shows nobody's data.
READING = Scope.MANAGE
WRITING = Scope.INGEST

_TAKEN: Schema = {"description": "The e-mail address or the username is taken, or the idempotency key was used before"}
READS = refusals(401, 403, 404, 422, 429, 503, as_problem=True)
CHANGES = refusals(401, 403, 404, 408, 409, 413, 422, 429, 503, as_problem=True)
CHANGES[409] = CHANGES[409] | _TAKEN
CREATIONS: dict[int | str, Schema] = CHANGES | {201: {"headers": REPLAYED_HEADER}}
del CREATIONS[404]


class Created(BaseModel):
    """A new person, and whether an earlier request with the same idempotency key created them."""

    person: Person
    is_replay: bool


async def create(request: Request, model: type[UserDraft]) -> tuple[int, Created]:
    """Create the person in the body, which is a `model`, and return the project and the person.

    Raises:
        Conflict: the e-mail address or the name is taken.
        IdempotencyKeyReused, Invalid, NotConfigured, NotRecorded, OutcomeUnknown; as `required_credential_of`.
    """
    credential = await required_credential_of(request, WRITING)
    key = read_idempotency_key(request)
    draft = validated(model, await read_json(request), "body")
    wanted = PersonDraft(**draft.model_dump(), idempotency_key=key)
    answer = await call(request, "POST", "people", str(credential.project_id), body=wanted)
    is_replay = "Idempotent-Replayed" in answer.headers
    created = Created(person=Person.model_validate_json(answer.content), is_replay=is_replay)
    return credential.project_id, created


def created_response(body: BaseModel, *, is_replay: bool) -> Response:
    """Return the response with a new person."""
    response = json_response(body.model_dump_json(), HTTPStatus.CREATED)
    if is_replay:
        response.headers.update(replayed_headers())
    return response


def json_response(content: str | bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a response that no cache keeps."""
    return Response(content, status, NOT_STORED, media_type="application/json")
