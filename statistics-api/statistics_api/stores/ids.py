"""Reads the number of a store in a path."""

from servicekit.errors import NotFound

STORE_ID_MAX = 2**31 - 1
NOT_FOUND = "Store not found"


def read_store_id(text: str) -> int:
    """Return the number. Raises NotFound for a text that is none of a store."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(STORE_ID_MAX))
    if not is_number or not 1 <= int(text) <= STORE_ID_MAX:
        raise NotFound(NOT_FOUND)
    return int(text)
