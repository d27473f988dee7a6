"""Finds a person by a value that is not stored: a keyed digest of the value, bound to its project and its field."""

import hashlib
import hmac
import unicodedata
from enum import IntEnum
from typing import NamedTuple

from device_registration_api.personal.keys import NumberedKeys


class IndexedField(IntEnum):
    """The fields by which a person can be found. Each is unique within its project."""

    EMAIL = 1
    USERNAME = 2


# In the place of a field, for what is compared and never searched.
_NO_FIELD = 0


class Digest(NamedTuple):
    """The HMAC-SHA256 of a value under the index key of this number: 32 bytes."""

    index_key: int
    digest: bytes


class BlindIndex:
    """Digests for new rows, by the current index key, and for look-ups, by every key."""

    def __init__(self, keys: NumberedKeys) -> None:
        self._keys = keys

    def digests(self, project_id: int, field: IndexedField, value: str) -> list[Digest]:
        """Return the digest of the value under each key, the current key first.

        Values that differ only in case, in Unicode's normal form or in surrounding white space are equal.
        """
        return self._under_each_key(_encoded(project_id, field, normalized(value)))

    def exact_digests(self, project_id: int, value: str) -> list[Digest]:
        """Return the digest of a value under each key, the current key first. Only the same text has the same one."""
        return self._under_each_key(_encoded(project_id, _NO_FIELD, value))

    def _under_each_key(self, message: bytes) -> list[Digest]:
        return [
            Digest(number, hmac.digest(key, message, hashlib.sha256)) for number, key in self._keys.by_number.items()
        ]


def normalized(value: str) -> str:
    """Return the form in which values are compared: Unicode's canonical caseless matching (D145), composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", value.strip()).casefold())


def _encoded(project_id: int, field: int, text: str) -> bytes:
    # The first two parts have a fixed length, so no two triples have the same bytes. "surrogatepass": JSON can carry a
    # lone surrogate, and a look-up with one must miss instead of failing.
    return project_id.to_bytes(8, "big", signed=True) + bytes([field]) + text.encode("utf-8", "surrogatepass")
