"""The public routes of accounts. Everything personal is kept and checked by the private service."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from contract.accounts import (
    AccessToken,
    AccountResponse,
    Login,
    OwnAccount,
    Registration,
    RegistrationAttempt,
)
from servicekit.errors import NotAuthenticated, NotFound
from servicekit.http.bodies import KEY_HEADER, read_idempotency_key, read_json, validated
from servicekit.http.openapi import json_body, refusals
from statistics_api.access.documentation import ACCOUNT_TOKEN
from statistics_api.access.logins import account_login
from statistics_api.access.tokens import NOT_VALID, account_of
from statistics_api.administration.client import call
from statistics_api.administration.relaying import NOT_STORED
from statistics_api.delivery.endpoints import REPLAYED_HEADER
from statistics_api.delivery.kinds import replayed_headers

router = APIRouter(prefix="/api/v1", tags=["accounts"])


@router.post(
    "/auth/register",
    status_code=HTTPStatus.CREATED,
    response_model=AccountResponse,
    summary="Register an account",
    responses={201: {"headers": REPLAYED_HEADER}, **refusals(409, 413, 422, 429, 503, as_problem=True)},
    openapi_extra=json_body(Registration, headers=(KEY_HEADER,)),
)
async def register(request: Request) -> Response:
    """The e-mail address is unique whatever its case, and is shown as it was written first. A password that is too
    easy to guess is refused with advice.
    """
    key = read_idempotency_key(request)
    registration = validated(Registration, await read_json(request), "body")
    attempt = RegistrationAttempt(**registration.model_dump(), idempotency_key=key)
    created = await call(request, "POST", "accounts", body=attempt)
    response = _json(created.content, HTTPStatus.CREATED)
    if "Idempotent-Replayed" in created.headers:
        response.headers.update(replayed_headers())
    return response


@router.post(
    "/auth/login",
    response_model=AccessToken,
    summary="Log in",
    responses=refusals(401, 413, 422, 429, 503, as_problem=True),
    openapi_extra=json_body(Login),
)
async def login(request: Request) -> Response:
    """Returns a token for `Authorization: Bearer`. A wrong password, an unknown e-mail address and an inactive account
    have one and the same response. After repeated failures, the next attempt has to wait: 429 with `Retry-After`.
    """
    login = validated(Login, await read_json(request), "body")
    return _json(await account_login(request, login))


async def me(request: Request) -> Response:
    """The account of the token."""
    account = await account_of(request)
    try:
        content = (await call(request, "GET", "accounts", str(account.account_id))).content
    except NotFound as error:
        raise NotAuthenticated(NOT_VALID) from error
    # What `account_of` knows may be some seconds old.
    if not OwnAccount.model_validate_json(content).is_active:
        raise NotAuthenticated(NOT_VALID)
    return _json(content)


for path in ("/auth/me", "/users/me"):
    router.add_api_route(
        path,
        me,
        methods=["GET"],
        response_model=OwnAccount,
        summary="Read your own account",
        responses=refusals(401, 403, 422, 503, as_problem=True),
        openapi_extra=ACCOUNT_TOKEN,
        operation_id=f"me{path.replace('/', '_')}",
    )


def _json(content: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(content, status, NOT_STORED, media_type="application/json")
