"""Reads one header of a request. Building a mapping of all headers would cost more than the rest of a hot route."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of a header, by its lower-case name; bytes beyond ASCII as Latin-1, as HTTP has them."""
    for each, value in scope["headers"]:
        if each == name:
            return str(value, "latin-1")
    return None


def headers(scope: Scope, name: bytes) -> list[str]:
    """The value of every line of a header, in their order."""
    return [str(value, "latin-1") for each, value in scope["headers"] if each == name]
