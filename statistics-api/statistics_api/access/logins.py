"""Exchanges credentials for tokens, which the private service signs."""

from collections.abc import Callable

from fastapi import Request
from starlette.types import Scope

from contract.accounts import Login, LoginAttempt
from contract.tokens import ProjectLogin
from statistics_api.administration.client import call


async def account_login(request: Request, login: Login) -> bytes:
    """Return the JSON of an AccessToken. Raises CredentialsRefused, TooManyRequests, and as `call`."""
    client_of: Callable[[Scope], str] = request.state.client_of
    attempt = LoginAttempt(email=login.email, password=login.password, client=client_of(request.scope))
    return (await call(request, "POST", "logins", body=attempt)).content


async def project_login(request: Request, login: ProjectLogin) -> bytes:
    """Return the JSON of a ProjectToken. Raises CredentialsRefused, and as `call`."""
    return (await call(request, "POST", "project-logins", body=login)).content
