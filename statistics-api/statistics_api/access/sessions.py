"""The cookies of a browser's session: the token that each holds, and when a request may use it as its credential.

A token in a cookie is what it is in `Authorization`, but a browser sends it by itself. So it counts only for requests
of this server's own pages (docs/decisions/0040-dashboard.md).
"""

from collections.abc import Collection, Iterator, Sequence
from enum import Enum
from http import HTTPStatus

from starlette.types import Scope as RequestScope

from servicekit.errors import DomainError
from servicekit.http.headers import header, headers

COOKIE = b"cookie"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HTTPS = "https"


class CrossSite(DomainError):
    """A session's cookie came with a request that no page of this server has sent."""

    code = "cross-site"
    status = HTTPStatus.FORBIDDEN


class SessionKind(Enum):
    """Whose token a cookie holds. A browser may have one of each."""

    ACCOUNT = "account"
    PROJECT = "project"

    def cookie_name(self, *, secure: bool) -> str:
        """Return the name of the cookie. With `__Host-`, no neighbouring host can set it (RFC 6265bis, 4.1.3.2)."""
        return f"{'__Host-' if secure else ''}statistics_{self.value}"


def is_secure(scope: RequestScope) -> bool:
    """Whether the client speaks HTTPS, to us or to a proxy.

    Any client may claim it: the claim makes nothing but its own cookies stricter.
    """
    forwarded = header(scope, b"x-forwarded-proto")
    scheme = scope.get("scheme", "http") if forwarded is None else forwarded.partition(",")[0].strip().lower()
    return bool(scheme == _HTTPS)


def session_token(scope: RequestScope, kinds: Sequence[SessionKind]) -> str | None:
    """Return the token in the first of these cookies that the request has, or None.

    Raises:
        CrossSite: it has one, but no page of this server has sent the request.
    """
    lines = headers(scope, COOKIE)
    if not lines:
        return None
    secure = is_secure(scope)
    names = [kind.cookie_name(secure=secure) for kind in kinds]
    sent = dict(_cookies(lines, names))
    token = next((sent[name] for name in names if name in sent), None)
    if token is not None:
        require_own_page(scope)
    return token


def require_own_page(scope: RequestScope) -> None:
    """Return if one of this server's pages has sent the request, or it changes nothing and says nothing of its origin.

    Raises:
        CrossSite: another page has sent it, or nobody knows who.
    """
    if not _is_from_own_page(scope):
        raise CrossSite("a session in a cookie is for requests of this server's own pages")


def _is_from_own_page(scope: RequestScope) -> bool:
    is_safe = scope["method"] in _SAFE_METHODS
    # Browsers send it over HTTPS and to localhost, and no page can change it.
    site = header(scope, b"sec-fetch-site")
    if site is not None:
        return site == "same-origin" or (is_safe and site == "none")  # none: a person has entered the address
    origin = header(scope, b"origin")
    if origin is not None:
        return origin.partition("://")[2].lower() == (header(scope, b"host") or "").lower()
    return is_safe


def _cookies(lines: Sequence[str], names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the cookies with these names; of two with the same name, the browser puts the more specific path first."""
    for line in reversed(lines):
        for pair in reversed(line.split(";")):
            name, _, value = pair.strip().partition("=")
            if name in names and value:
                yield name, value
