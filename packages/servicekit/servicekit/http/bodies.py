"""Reads the body of a request: first as JSON, then as a model. A refusal names each wrong field and the reason."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.requests import ClientDisconnect, Request

from servicekit.errors import BadRequest, Invalid
from servicekit.http.error_responses import invalid
from servicekit.http.headers import headers
from servicekit.http.strict_json import decode

Model = TypeVar("Model", bound=BaseModel)

KEY_HEADER = "Idempotency-Key"
KEY_CHARACTERS_MAX = 255


async def read_bytes(request: Request) -> bytes:
    """The whole body, decoded, within the limit that BodyLimitMiddleware sets. Call it once for a request.

    Raises:
        ClientDisconnect: the client disconnected, or it was too slow and its connection was closed.
    """
    chunks: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def read_json(request: Request) -> Any:  # noqa: ANN401 - any JSON value
    """The body as JSON.

    Raises:
        MalformedJson: it is no JSON.
    """
    return decode(await read_bytes(request))


def validate(model: type[Model], value: object) -> Model:
    """`value` as a `model`, without an explanation of what is wrong. Raises pydantic.ValidationError."""
    # Python code may use either name of a field; a body must use the alias.
    return model.model_validate(value, by_alias=True, by_name=False)


def validated(
    model: type[Model],
    value: object,
    *where: str,
    bad_value: Callable[[ValidationError], str | None] = lambda _: None,
) -> Model:
    """`value` as a `model`. `where` is its place in the request, for the location of each error.

    Raises:
        BadRequest: `bad_value` returned a sentence for what is wrong.
        Invalid: anything else is wrong.
    """
    try:
        return validate(model, value)
    except ValidationError as error:
        sentence = bad_value(error)
        if sentence is not None:
            raise BadRequest(sentence) from None
        raise invalid(error, *where) from None


def fingerprint(fields: object) -> str:
    """Return the hexadecimal SHA-256 of validated fields, which are JSON values in a fixed order."""
    return sha256(to_json(fields)).hexdigest()


def read_idempotency_key(request: Request) -> str | None:
    """Return the idempotency key of this request, or None.

    Raises:
        Invalid: the key is empty, too long or not printable ASCII, or there are two different keys.
    """
    lines = headers(request.scope, b"idempotency-key")
    if not lines:
        return None
    key = lines[0]
    if any(line != key for line in lines):
        raise Invalid.single("must be given once", "header", KEY_HEADER)
    if not is_idempotency_key(key):
        message = f"must be 1 to {KEY_CHARACTERS_MAX} printable ASCII characters"
        raise Invalid.single(message, "header", KEY_HEADER)
    return key


def is_idempotency_key(key: str) -> bool:
    """Whether this is a valid value of the `Idempotency-Key` header."""
    return 0 < len(key) <= KEY_CHARACTERS_MAX and key.isascii() and key.isprintable()
