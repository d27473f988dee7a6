"""The refusal of an event of someone who must not be recorded."""

from http import HTTPStatus

from servicekit.errors import DomainError


class Suppressed(DomainError):
    """Nothing more is recorded of the one whom the event names; what was recorded before stays."""

    code = "suppressed"
    status = HTTPStatus.GONE
