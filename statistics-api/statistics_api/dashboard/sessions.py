"""Logs a browser in and out: the private service's token goes into a cookie that no script can read.

Nothing is stored: a session is its token, and ends with it. Each log-in has a new one, so there is none to fixate.
"""

from http import HTTPStatus
from typing import NamedTuple

from fastapi import Request, Response
from pydantic_core import to_json

from contract.access import Scope
from contract.accounts import AccessToken, Login
from contract.tokens import ProjectLogin, ProjectToken
from servicekit.errors import DomainError, NotRecorded
from servicekit.http.bodies import read_json, validated
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.logins import account_login, project_login
from statistics_api.access.sessions import SessionKind, is_secure, require_own_page
from statistics_api.access.tokens import account_of
from statistics_api.administration.relaying import NOT_STORED
from statistics_api.dashboard.screens import Screen
from statistics_api.projects.reader import ProjectReader
from statistics_api.projects.router import NAME as PROJECTS


class Sessions(NamedTuple):
    """The sessions that a browser has; `scopes` are those of the project's."""

    kinds: frozenset[SessionKind]
    scopes: frozenset[str] = frozenset()
    is_operator: bool = False

    def may_open(self, screen: Screen) -> bool:
        """Whether one of them opens the screen."""
        opening = self.kinds & screen.opened_by
        return bool(opening - {SessionKind.PROJECT}) or bool(opening and screen.scope in self.scopes)


async def sessions_of(request: Request) -> Sessions:
    """Return the sessions that are valid now.

    One that nobody can check, because the database or the private service is away, counts: a page has no data, and the
    routes that it asks say what is wrong.
    """
    kinds: set[SessionKind] = set()
    scopes: frozenset[str] = frozenset()
    is_operator = False
    try:
        is_operator = (await account_of(request)).is_operator
        kinds.add(SessionKind.ACCOUNT)
    except NotRecorded:
        kinds.add(SessionKind.ACCOUNT)
    except DomainError:
        pass  # without this session, the page asks for a log-in
    try:
        scopes = (await required_credential_of(request, Scope.READ)).scopes
        kinds.add(SessionKind.PROJECT)
    except NotRecorded:
        kinds.add(SessionKind.PROJECT)
        scopes = frozenset(Scope)
    except DomainError:
        pass  # as above
    return Sessions(frozenset(kinds), scopes, is_operator)


async def own_project(request: Request) -> Response:
    """Which project a session of an API key is of: the paths of its figures have the project's key in them.

    Raises:
        NotAuthenticated: there is no such session, or it is not valid any more.
        NotFound, NotRecorded: the project was deleted; the database cannot be asked.
    """
    credential = await required_credential_of(request, Scope.READ)
    reader: ProjectReader = request.state.readers[PROJECTS]
    label = await reader.label(credential.project_id)
    return Response(to_json(label._asdict()), headers=NOT_STORED, media_type="application/json")


async def log_in(request: Request) -> Response:
    """Begin a session with `{"email","password"}` or `{"api_key"}`.

    Raises:
        CrossSite: no page of this server has sent the request: it could log a person in as somebody else.
        Invalid: the body is neither.
        CredentialsRefused, TooManyRequests, NotConfigured, NotRecorded: as the private service says.
    """
    require_own_page(request.scope)
    body = await read_json(request)
    token: AccessToken | ProjectToken
    if isinstance(body, dict) and "api_key" in body:
        kind = SessionKind.PROJECT
        content = await project_login(request, validated(ProjectLogin, body, "body"))
        token = ProjectToken.model_validate_json(content)
    else:
        kind = SessionKind.ACCOUNT
        token = AccessToken.model_validate_json(await account_login(request, validated(Login, body, "body")))
    response = Response(status_code=HTTPStatus.NO_CONTENT, headers=NOT_STORED)
    secure = is_secure(request.scope)
    # The browser keeps it until it closes. If it forgot the cookie when the token expires, an open page would go on
    # asking without a credential, and be shown the project `default`; with it, it is refused, and leads to the log-in.
    response.set_cookie(
        kind.cookie_name(secure=secure),
        token.access_token,
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return response


async def log_out(request: Request) -> Response:
    """End all sessions of the browser. Raises CrossSite."""
    require_own_page(request.scope)
    secure = is_secure(request.scope)
    response = Response(status_code=HTTPStatus.NO_CONTENT, headers=NOT_STORED)
    for kind in SessionKind:
        response.delete_cookie(kind.cookie_name(secure=secure), secure=secure, httponly=True, samesite="strict")
    return response
