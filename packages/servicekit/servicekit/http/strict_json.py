"""RFC 8259, and no more: what a lenient parser lets in would fail later, in another parser.

Refused are broken UTF-8, other encodings, NaN and Infinity, and whatever else the grammar does not have. What the
grammar has is taken, however strange it is: it may stand in a field that nobody reads. The model says what it takes of
the fields that it reads.
"""

from typing import Any

from pydantic_core import from_json

from servicekit.errors import FieldError, Invalid
from servicekit.http import rare_json

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class MalformedJson(Invalid):
    """The body is not JSON; the message says what and where."""

    def __init__(self, message: str) -> None:
        super().__init__([FieldError(("body",), message, "json_invalid")])


def decode(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a JSON text; a byte order mark before it is skipped (RFC 8259, section 8.1).

    Raises:
        MalformedJson: not JSON, or larger than `rare_json.BYTES_MAX` and of the kinds that are read there.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body:
        raise MalformedJson("empty, but JSON was expected")
    try:
        # Many objects share their keys; values that repeat are not worth looking for.
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        value = rare_json.parse(body, str(error))
        if value is rare_json.NOT_JSON:
            raise MalformedJson(f"not valid JSON: {error}") from error
        return value
