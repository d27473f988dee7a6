"""Reads what a request presents as its credential. Which kind it is, is decided here and nowhere else."""

from enum import Enum, auto
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import Scope as RequestScope

from servicekit.errors import DomainError, NotAuthenticated
from servicekit.http.headers import headers
from statistics_api.access.sessions import SessionKind, session_token

KEY_HEADER = b"x-api-key"
AUTHORIZATION = b"authorization"


class NeedsAccountToken(DomainError):
    """The credential is a project's, and the route is for accounts."""

    code = "needs-account-token"
    status = HTTPStatus.FORBIDDEN


class NeedsProjectCredential(DomainError):
    """The credential is an account's, and the route is for a project's keys and tokens."""

    code = "needs-project-credential"
    status = HTTPStatus.FORBIDDEN


class Form(Enum):
    """The form of a credential. It says nothing about whether the credential is valid."""

    KEY = auto()
    # A JWT has dots, which no API key has.
    TOKEN = auto()


class Presented(NamedTuple):
    """A credential as it was sent."""

    form: Form
    text: str


def presented(scope: RequestScope, *sessions: SessionKind) -> Presented | None:
    """Return the one credential of a request, or None if it has none.

    What a client sends in a header counts alone. Without that, it is the token of the first of these sessions that the
    browser has.

    Raises:
        NotAuthenticated: there are two different ones, or `Authorization` has another scheme than Bearer.
        CrossSite: it is in a cookie, and no page of this server has sent the request.
    """
    sent = {Presented(Form.KEY, value.strip()) for value in headers(scope, KEY_HEADER)}
    for value in headers(scope, AUTHORIZATION):
        scheme, _, text = value.strip().partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("the scheme of Authorization must be Bearer, followed by an API key or a token")
        text = text.strip()
        sent.add(Presented(Form.TOKEN if "." in text else Form.KEY, text))
    if len(sent) > 1:
        raise NotAuthenticated("the request has two different credentials")
    if sent:
        return sent.pop()
    token = session_token(scope, sessions) if sessions else None
    return None if token is None else Presented(Form.TOKEN, token)
