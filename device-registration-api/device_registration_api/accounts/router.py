"""The routes of accounts, which statistics-api calls for its clients."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from contract.accounts import (
    AccessToken,
    AccountResponse,
    AccountState,
    LoginAttempt,
    OwnAccount,
    RegistrationAttempt,
    TokenKeys,
)
from device_registration_api.accounts.accounts import Accounts
from device_registration_api.events.router import read_deadline, read_envelope
from servicekit.errors import NotConfigured, NotFound
from servicekit.http import deadline
from servicekit.http.bodies import read_bytes
from servicekit.http.openapi import json_body, refusals

router = APIRouter(prefix="/administration", tags=["accounts"])


@router.post(
    "/accounts",
    status_code=HTTPStatus.CREATED,
    response_model=AccountResponse,
    summary="Register an account",
    responses=refusals(401, 409, 413, 422, 503, as_problem=True),
    openapi_extra=json_body(RegistrationAttempt, headers=(deadline.HEADER,)),
)
async def register(request: Request) -> Response:
    """The e-mail address is unique whatever its case; the password must be hard to guess. A repeat under the same
    idempotency key gets the first response.
    """
    ends = read_deadline(request)
    registration = read_envelope(RegistrationAttempt, await read_bytes(request))
    registered = await accounts_of(request).register(registration, ends)
    response = _json(registered.account, HTTPStatus.CREATED)
    if registered.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@router.post(
    "/logins",
    response_model=AccessToken,
    summary="Log an account in",
    responses=refusals(401, 413, 422, 429, 503, as_problem=True),
    openapi_extra=json_body(LoginAttempt, headers=(deadline.HEADER,)),
)
async def login(request: Request) -> Response:
    """Wrong credentials are a 401 `credentials-refused`, whatever is wrong with them."""
    ends = read_deadline(request)
    attempt = read_envelope(LoginAttempt, await read_bytes(request))
    return _json(await accounts_of(request).login(attempt, ends))


@router.get(
    "/accounts/{account_id}",
    response_model=OwnAccount,
    summary="Read an account",
    responses=refusals(401, 404, 422, 503, as_problem=True),
)
async def account(request: Request, account_id: str) -> Response:
    """With its personal data."""
    return _json(await accounts_of(request).account(_id(account_id), read_deadline(request)))


@router.get(
    "/accounts/{account_id}/state",
    response_model=AccountState,
    summary="Read what an account may do",
    responses=refusals(401, 404, 422, 503, as_problem=True),
)
async def state(request: Request, account_id: str) -> Response:
    """Without personal data."""
    return _json(await accounts_of(request).state(_id(account_id), read_deadline(request)))


@router.get(
    "/token-keys",
    response_model=TokenKeys,
    summary="Read the keys that verify tokens",
    responses=refusals(401, 422, 503, as_problem=True),
)
async def token_keys(request: Request) -> Response:
    """The public halves of all signing keys, as a JWK set."""
    return _json(accounts_of(request).token_keys())


def accounts_of(request: Request) -> Accounts:
    """Return the accounts of this process. Raises NotConfigured."""
    accounts: Accounts | None = request.state.accounts
    if accounts is None:
        raise NotConfigured("accounts are not configured in this installation")
    return accounts


def _json(body: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("there is no such account") from None
