"""The errors that a client can get: each has one class, registered under its `code`.

The code travels between the services: one service renders an error with it, the other rebuilds the same class from it.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import ClassVar, NamedTuple

RETRY_AFTER_SECONDS = 1

_BY_CODE: dict[str, type["DomainError"]] = {}


class FieldError(NamedTuple):
    """One thing that is wrong with a request: where, what, and pydantic's name for the kind of error."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


class DomainError(Exception):
    """An error that the client can understand: `str(error)` is the sentence it reads.

    A subclass states its `code` and its `status`. A subclass that inherits both is the same error to a client, and is
    rebuilt as its parent. An error is rebuilt without `__init__`, so any other attribute needs a default on the class.
    """

    code: ClassVar[str]
    status: ClassVar[HTTPStatus]
    # The seconds after which a repeat may succeed; None where no repeat can.
    retry_after_seconds: int | None = None
    fields: tuple[FieldError, ...] = ()

    def __init_subclass__(cls) -> None:
        """Register the class.

        Raises:
            TypeError: the code is taken, or a status differs from that of the class whose code it inherits.
        """
        super().__init_subclass__()
        if "code" in vars(cls):
            owner = _BY_CODE.setdefault(cls.code, cls)
            if owner is not cls:
                message = f"{cls.__name__} and {owner.__name__} have the same code, {cls.code!r}"
                raise TypeError(message)
        elif _BY_CODE[cls.code].status != cls.status:
            message = f"{cls.__name__} needs a code of its own: its status is not that of {cls.code!r}"
            raise TypeError(message)

    def headers(self) -> dict[str, str]:
        """Return the headers of the response that this error needs."""
        return {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}


def registered() -> Mapping[str, type[DomainError]]:
    """Every class by its code."""
    return MappingProxyType(_BY_CODE)


def rebuild(
    code: str,
    status: int,
    detail: str,
    fields: Sequence[FieldError] = (),
    retry_after_seconds: int | None = None,
) -> DomainError | None:
    """Return the error that another service rendered; None for a code that is unknown here, or has another status.

    Without `retry_after_seconds`, the error keeps the value of its class.
    """
    kind = _BY_CODE.get(code)
    if kind is None or kind.status != status:
        return None
    error = kind.__new__(kind, detail)
    error.fields = tuple(fields)
    if retry_after_seconds is not None:
        error.retry_after_seconds = retry_after_seconds
    return error


class BadRequest(DomainError):
    """A wrong value for which the family's document demands 400 and a sentence of its own."""

    code = "bad-request"
    status = HTTPStatus.BAD_REQUEST


class NotAuthenticated(DomainError):
    """No credential, or not a valid one."""

    code = "not-authenticated"
    status = HTTPStatus.UNAUTHORIZED

    def headers(self) -> dict[str, str]:
        """RFC 9110, section 11.6.1: a 401 names the accepted authentication scheme."""
        return super().headers() | {"WWW-Authenticate": "Bearer"}


class CredentialsRefused(DomainError):
    """The credentials in the body are wrong. Unlike `NotAuthenticated`, it is relayed: they are the client's own."""

    code = "credentials-refused"
    status = HTTPStatus.UNAUTHORIZED

    def headers(self) -> dict[str, str]:
        """RFC 9110, section 11.6.1: a 401 names the accepted authentication scheme."""
        return super().headers() | {"WWW-Authenticate": "Bearer"}


class Forbidden(DomainError):
    """The caller is known, and is not allowed to do this."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN


class NotFound(DomainError):
    """The resource that the path names does not exist, or the caller may not see it."""

    code = "not-found"
    status = HTTPStatus.NOT_FOUND


class PathNotFound(DomainError):
    """No route has this path. Not a `NotFound`: from the private service, it means that the releases do not fit."""

    code = "path-not-found"
    status = HTTPStatus.NOT_FOUND


class MethodNotAllowed(DomainError):
    """The path has routes, but none for this method."""

    code = "method-not-allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED
    allowed: tuple[str, ...] = ()

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)

    def headers(self) -> dict[str, str]:
        """RFC 9110, section 15.5.6: a 405 names the allowed methods."""
        return super().headers() | {"Allow": ", ".join(self.allowed)}


class RequestTimeout(DomainError):
    """The request was not complete in time."""

    code = "request-timeout"
    status = HTTPStatus.REQUEST_TIMEOUT


class Conflict(DomainError):
    """The request contradicts what is stored."""

    code = "conflict"
    status = HTTPStatus.CONFLICT


class IdempotencyKeyReused(DomainError):
    """The same idempotency key came with another body."""

    code = "idempotency-key-reused"
    status = HTTPStatus.CONFLICT


class Gone(DomainError):
    """The resource existed once, and was erased permanently."""

    code = "gone"
    status = HTTPStatus.GONE


class BodyTooLarge(DomainError):
    """The body has more bytes than the route accepts."""

    code = "body-too-large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(DomainError):
    """The content type or the content coding is not supported."""

    code = "unsupported-media-type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    # The supported codings; empty where the coding is not the error.
    accept_encoding: tuple[str, ...] = ()

    def __init__(self, message: str, accept_encoding: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.accept_encoding = tuple(accept_encoding)

    def headers(self) -> dict[str, str]:
        """RFC 9110, section 12.5.3: a 415 for a content coding names the supported codings."""
        accepted = {"Accept-Encoding": ", ".join(self.accept_encoding)} if self.accept_encoding else {}
        return super().headers() | accepted


class Invalid(DomainError):
    """A malformed request: each wrong field with its reason, and never the value that the client sent."""

    code = "invalid"
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, fields: Sequence[FieldError]) -> None:
        super().__init__("; ".join(map(_sentence, fields)))
        self.fields = tuple(fields)

    @classmethod
    def single(cls, message: str, *loc: str) -> "Invalid":
        """A refusal for one reason."""
        return cls([FieldError(loc or ("body",), message, "value_error")])


def _sentence(field: FieldError) -> str:
    return f"{'.'.join(map(str, field.loc))}: {field.msg}" if field.loc else field.msg


class TooManyRequests(DomainError):
    """The client has used up its rate limit for the next `retry_after_seconds`."""

    code = "too-many-requests"
    status = HTTPStatus.TOO_MANY_REQUESTS
    retry_after_seconds: int | None = RETRY_AFTER_SECONDS
    # The number of requests that the rate limit allows, if clients may know it.
    limit: int | None = None

    def __init__(self, message: str, retry_after_seconds: int, *, limit: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.limit = limit

    def headers(self) -> dict[str, str]:
        """Return the limit, the remaining requests (0) and the time until there are more."""
        if self.limit is None:
            return super().headers()
        return super().headers() | {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(self.retry_after_seconds),
        }


class Internal(DomainError):
    """A bug; the client gets no details."""

    code = "internal"
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class NotRecorded(DomainError):
    """Nothing was stored and nothing will be stored later: the caller may repeat the request."""

    code = "not-recorded"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after_seconds = RETRY_AFTER_SECONDS


class Overloaded(NotRecorded):
    """More work is waiting than can be done in time, so the request was refused before any work on it."""


class DatabaseAway(NotRecorded):
    """The database cannot be reached or used, or does not answer in time: another place may take the data meanwhile."""


class NotConfigured(DomainError):
    """The operator has not configured what the request needs. It is found at once when that is done."""

    code = "not-configured"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after_seconds = 60


class OutcomeUnknown(DomainError):
    """The data may have been stored: only a repeat with the same idempotency key is exact."""

    code = "outcome-unknown"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after_seconds = RETRY_AFTER_SECONDS
