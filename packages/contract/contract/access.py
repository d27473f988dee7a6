"""API keys: `ds_live_`, an id of 12 characters, `_`, a secret of 43, and a checksum of 6, all in base 62.

The id finds the key, the secret proves it, and the checksum tells a mistyped key without a question to the database.
Secret scanners recognise the form as a whole.
"""

import re
import secrets
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple
from zlib import crc32

_PREFIX = "ds_live_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARACTERS = 12
_SECRET_CHARACTERS = 43  # 62^43 is a little more than 2^256
_CHECKSUM_CHARACTERS = 6  # 62^6 is more than 2^32
KEY_PATTERN = (
    f"{_PREFIX}[0-9A-Za-z]{{{_ID_CHARACTERS}}}_[0-9A-Za-z]{{{_SECRET_CHARACTERS}}}[0-9A-Za-z]{{{_CHECKSUM_CHARACTERS}}}"
)
_KEY = re.compile(KEY_PATTERN, re.ASCII)
_ID = slice(len(_PREFIX), len(_PREFIX) + _ID_CHARACTERS)


class Scope(StrEnum):
    """What a key may do."""

    INGEST = "ingest"
    READ = "read"
    MANAGE = "manage"


class NewKey(NamedTuple):
    """A key that was just made: `text` is for its owner alone, `digest` (32 bytes) is what is stored."""

    key_id: str
    text: str
    digest: bytes


def new_key() -> NewKey:
    """Make a key with 256 random bits."""
    key_id = _random(_ID_CHARACTERS)
    unchecked = f"{_PREFIX}{key_id}_{_random(_SECRET_CHARACTERS)}"
    text = unchecked + checksum(unchecked)
    return NewKey(key_id, text, key_digest(text))


def key_id_of(text: str) -> str | None:
    """Return the id in a key, or None if the text is no key or its checksum is wrong."""
    if _KEY.fullmatch(text) is None:
        return None
    if checksum(text[:-_CHECKSUM_CHARACTERS]) != text[-_CHECKSUM_CHARACTERS:]:
        return None
    return text[_ID]


def key_digest(text: str) -> bytes:
    """Return the SHA-256 of a whole key: the secret is random, so no slow hash is needed."""
    return sha256(text.encode()).digest()


def checksum(unchecked: str) -> str:
    """Return the CRC-32 of a key without its checksum, as six digits in base 62."""
    number = crc32(unchecked.encode())
    digits = []
    for _ in range(_CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _random(characters: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(characters))
