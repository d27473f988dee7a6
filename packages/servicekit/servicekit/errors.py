"""Refusals and failures that a client is told about, named once and mapped to HTTP once."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

RETRY_AFTER_SECONDS = 1


class DomainError(Exception):
    """A refusal that the client can understand: `str(error)` is the sentence it reads."""

    code = "refused"
    status = HTTPStatus.BAD_REQUEST
    # When a repeat is worth while, in seconds; told with 429 and 503.
    retry_after_seconds = RETRY_AFTER_SECONDS


class FieldError(NamedTuple):
    """One thing that is wrong with a request: where, what, and pydantic's name for the kind of error."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


class Invalid(DomainError):
    """A malformed request: each field and why. Never carries what the client sent."""

    code = "invalid"
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, fields: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, field.loc))}: {field.msg}" for field in fields))
        self.fields = tuple(fields)

    @classmethod
    def single(cls, message: str, *loc: str) -> "Invalid":
        """A refusal for one reason."""
        return cls([FieldError(loc or ("body",), message, "value_error")])


class BodyTooLarge(DomainError):
    """More bytes than the route takes."""

    code = "body-too-large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NotRecorded(DomainError):
    """Nothing was stored and nothing will be: the caller may repeat freely."""

    code = "not-recorded"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class Overloaded(NotRecorded):
    """More work is waiting than could be done in time; refused before it was begun."""


class OutcomeUnknown(DomainError):
    """It may have been stored: only a repeat with the same identity is exact."""

    code = "outcome-unknown"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class IdempotencyKeyReused(DomainError):
    """The same idempotency key came with another body."""

    code = "idempotency-key-reused"
    status = HTTPStatus.CONFLICT


class TooManyRequests(DomainError):
    """This client's share is used up, for the next `retry_after_seconds`."""

    code = "too-many-requests"
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
