"""API keys: `ds_live_`, an id of 12 characters, `_`, a secret of 43, and a checksum of 6, all in base 62.

The id finds the key, the secret proves it, and the checksum tells a mistyped key without a question to the database.
Secret scanners recognise the form as a whole.
"""

import hmac
import re
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, NamedTuple, TypeAlias
from zlib import crc32

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from contract.projects import ProjectId, ProjectName, not_null
from contract.text import Instant

_PREFIX = "ds_live_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARACTERS = 12
_SECRET_CHARACTERS = 43  # 62^43 is a little more than 2^256
_CHECKSUM_CHARACTERS = 6  # 62^6 is more than 2^32
# The longest text that is looked for as a key of another system.
IMPORTED_KEY_CHARACTERS_MAX = 255
_IMPORTED_KEY = re.compile(rf"[!-~]{{1,{IMPORTED_KEY_CHARACTERS_MAX}}}", re.ASCII)
_IMPORTED = b"id of an imported key"
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


LIFE_DEFAULT = timedelta(days=60)
OVERLAP_DEFAULT = timedelta(hours=24)
OVERLAP_MAX = timedelta(days=30)
USES_MAX = 10_000
KEY_ID_PATTERN = f"^[0-9A-Za-z]{{{_ID_CHARACTERS}}}$"

# As the public service reads RATE_LIMIT, in its plain form: a number of requests in a period.
RateLimitText: TypeAlias = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}/(second|minute|hour|day)$")]
Scopes: TypeAlias = Annotated[
    list[Scope], Field(min_length=1, max_length=10), AfterValidator(lambda scopes: sorted(set(scopes)))
]


class ApiKeyDraft(BaseModel):
    """The fields of a new key. Without `expires_at` it lives 60 days; null means that it never expires."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={"examples": [{"name": "till 4", "scopes": ["ingest"], "rate_limit": "600/minute"}]},
    )

    name: ProjectName
    scopes: Scopes = [Scope.INGEST, Scope.READ]
    expires_at: Instant | None = None
    rate_limit: RateLimitText | None = None


class ApiKeyChange(BaseModel):
    """The fields of a key that change. A field that is absent stays; null clears a rate limit."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"name": "till 5"}]})

    name: ProjectName | None = None
    is_active: Annotated[bool, Field(strict=True)] | None = None
    rate_limit: RateLimitText | None = None

    @field_validator("name", "is_active", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
        return not_null(value)


class Rotation(BaseModel):
    """For how long the old key stays valid, beside its successor."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"overlap_seconds": 3_600}]})

    overlap_seconds: Annotated[int, Field(strict=True, ge=0, le=int(OVERLAP_MAX.total_seconds()))] = int(
        OVERLAP_DEFAULT.total_seconds()
    )


class ApiKey(BaseModel):
    """A key without its secret; `is_active` is false for one that was revoked or has expired."""

    id: str
    prefix: str
    name: str
    scopes: list[Scope]
    is_active: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    total_requests: int
    rate_limit: str | None
    replaced_by: str | None


class ApiKeyWithSecret(ApiKey):
    """A key that was just made. The repeat of a request with the same idempotency key has null: nothing stores it."""

    key: str | None
    warning: str


class KeyUse(BaseModel):
    """The requests with one key that a process has served since its last report."""

    project_id: Annotated[ProjectId, Field(strict=True)]
    key_id: Annotated[str, Field(pattern=KEY_ID_PATTERN)]
    requests: Annotated[int, Field(strict=True, ge=1, lt=2**53)]
    last_used_at: Instant


class KeyUses(BaseModel):
    """The use of many keys, each at most once."""

    uses: Annotated[list[KeyUse], Field(max_length=USES_MAX)]


class NewKey(NamedTuple):
    """A key that was just made: `text` is for its owner alone, `digest` (32 bytes) is what is stored."""

    key_id: str
    text: str
    digest: bytes


class KeyProof(NamedTuple):
    """The id that finds a stored key, and the digest that proves it."""

    key_id: str
    digest: bytes


def key_prefix(key_id: str) -> str:
    """Return the part of a key that is not secret, by which its owner recognises it."""
    return _PREFIX + key_id


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


def claimed_key_id(text: str) -> str:
    """Return the id in a text if it is a key, without a check that it is one."""
    return text[_ID]


def imported_key_id(digest: bytes) -> str:
    """Return the id of a key that another system made: it has none in its text, so its digest stands for one."""
    return _in_base_62(int.from_bytes(sha256(_IMPORTED + digest).digest()), _ID_CHARACTERS)


def is_imported_key(text: str) -> bool:
    """Whether a text may be a key of another system: one that a header can carry, and no key of ours."""
    return _IMPORTED_KEY.fullmatch(text) is not None and not text.startswith(_PREFIX)


def proofs_of(text: str, imported_secret: bytes | None = None) -> list[KeyProof]:
    """Return what the stored key with this text may have; nothing if the text is no key or its checksum is wrong.

    A key of another system is stored by its SHA-256, or by its HMAC-SHA256 under that system's secret.
    """
    if text.startswith(_PREFIX):
        key_id = key_id_of(text)
        return [] if key_id is None else [KeyProof(key_id, key_digest(text))]
    if not is_imported_key(text):
        return []
    digests = [key_digest(text)]
    if imported_secret is not None:
        digests.append(hmac.digest(imported_secret, text.encode(), sha256))
    return [KeyProof(imported_key_id(digest), digest) for digest in digests]


def key_digest(text: str) -> bytes:
    """Return the SHA-256 of a whole key: the secret is random, so no slow hash is needed."""
    return sha256(text.encode()).digest()


def checksum(unchecked: str) -> str:
    """Return the CRC-32 of a key without its checksum, as six digits in base 62."""
    return _in_base_62(crc32(unchecked.encode()), _CHECKSUM_CHARACTERS)


def _in_base_62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _random(characters: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(characters))
