"""Decodes exactly the JSON of RFC 8259: a text that only a lenient parser accepts would fail later, in another parser.

The decoder refuses broken UTF-8, other encodings, NaN, Infinity, and every text that the grammar does not allow. It
accepts every text that the grammar allows, however unusual, because the text may be in a field that no model reads. The
model validates the fields that it reads.
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
    """Return the value of a JSON text; a byte order mark before it is skipped (RFC 8259, section 8.1).

    Raises:
        MalformedJson: not JSON, or larger than `rare_json.BYTES_MAX` and of the kinds that are read there.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body:
        raise MalformedJson("empty, but JSON was expected")
    try:
        # Many objects have the same keys, so keys are cached; values repeat too rarely.
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        value = rare_json.parse(body, str(error))
        if value is rare_json.NOT_JSON:
            raise MalformedJson(f"not valid JSON: {error}") from error
        return value
