"""Reads one header of a request. Building a mapping of all headers would cost more than the rest of a hot route."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first value of a header, by its lower-case name. Bytes beyond ASCII are decoded as Latin-1."""
    for each, value in scope["headers"]:
        if each == name:
            return str(value, "latin-1")
    return None


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return the values of all lines of a header, in their order."""
    return [str(value, "latin-1") for each, value in scope["headers"] if each == name]
