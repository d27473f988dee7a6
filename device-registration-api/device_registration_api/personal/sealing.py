"""Seals a person's fields with AES-256-GCM under the person's own key.

A sealed value is a version byte, a nonce of 12 bytes, and the ciphertext with its tag. It opens only for the project,
the person and the key that it was sealed for.
"""

import json
import os
from collections.abc import Mapping
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import JsonValue

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"

Fields = Mapping[str, JsonValue]


class SealBroken(Exception):
    """The sealed bytes were changed, or belong to another key, person or project."""


def new_key() -> bytes:
    """Return a random key of KEY_BYTES bytes."""
    return os.urandom(KEY_BYTES)


def seal(key: bytes, fields: Fields, *, project_id: int, person_id: UUID, key_id: UUID) -> bytes:
    """Return the fields, as JSON, encrypted for this project, person and key.

    Raises ValueError for a number that JSON does not have (NaN, infinity).
    """
    text = json.dumps(dict(fields), allow_nan=False, separators=(",", ":"))
    return encrypt(key, text.encode(), _owner(project_id, person_id, key_id))


def unseal(key: bytes, sealed: bytes, *, project_id: int, person_id: UUID, key_id: UUID) -> dict[str, JsonValue]:
    """Return the fields. Raises SealBroken."""
    fields: dict[str, JsonValue] = json.loads(decrypt(key, sealed, _owner(project_id, person_id, key_id)))
    return fields


def encrypt(key: bytes, plain: bytes, associated: bytes) -> bytes:
    """Return version, nonce and ciphertext. `associated` is authenticated and not stored."""
    # A random nonce is safe here: a key seals one person's fields, or wraps keys during one epoch: far below 2**32.
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, plain, _VERSION + associated)


def decrypt(key: bytes, encrypted: bytes, associated: bytes) -> bytes:
    """Return the plain bytes. Raises SealBroken."""
    version, nonce, ciphertext = encrypted[:1], encrypted[1 : 1 + _NONCE_BYTES], encrypted[1 + _NONCE_BYTES :]
    if version != _VERSION or len(nonce) != _NONCE_BYTES:
        raise SealBroken("this is no sealed value of a known version")
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, version + associated)
    except InvalidTag as error:
        raise SealBroken("the value was changed, or sealed for another owner") from error


def _owner(project_id: int, person_id: UUID, key_id: UUID) -> bytes:
    # Each part has a fixed length, so no two owners have the same bytes.
    return project_id.to_bytes(8, "big", signed=True) + person_id.bytes + key_id.bytes
