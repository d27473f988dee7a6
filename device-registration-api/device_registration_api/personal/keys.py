"""Numbered secret keys as a setting holds them: `3:<base64>,2:<base64>`, of which the first is the current one."""

import base64
import binascii
from collections.abc import Mapping
from types import MappingProxyType

from device_registration_api.personal.sealing import KEY_BYTES

# The numbers are smallint columns.
NUMBER_MAX = 32_767


class NumberedKeys:
    """Secret keys by number. The current key is used for what is new, every key for what is there."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, which repeats no key, when `text` is not such a list."""
        keys: dict[int, bytes] = {}
        for part in text.split(","):
            number, key = _parse(part)
            if number in keys:
                message = f"number {number} is given twice"
                raise ValueError(message)
            keys[number] = key
        self.current = next(iter(keys))
        self._keys = MappingProxyType(keys)

    @property
    def by_number(self) -> Mapping[int, bytes]:
        """Every key, the current one first."""
        return self._keys


def _parse(part: str) -> tuple[int, bytes]:
    number, separator, encoded = part.strip().partition(":")
    if not separator or not number.isascii() or not number.isdigit() or not 1 <= int(number) <= NUMBER_MAX:
        message = f"a list like 2:<base64>,1:<base64> is needed, with numbers from 1 to {NUMBER_MAX}"
        raise ValueError(message)
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        message = f"key {number} is not the base64 of {KEY_BYTES} bytes (`openssl rand -base64 {KEY_BYTES}` prints one)"
        raise ValueError(message)
    return int(number), key
