"""Signs tokens (JWT, RFC 7519) with Ed25519. Who verifies them needs the public keys only, and can make none."""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.accounts import (
    ACCOUNT_AUDIENCE,
    ISSUER,
    PROJECT_AUDIENCE,
    SIGNING_ALGORITHM,
    SIGNING_KEY_ID_PATTERN,
    AccessToken,
    TokenKey,
    TokenKeys,
)
from contract.tokens import ProjectToken
from servicekit.process import clock

LIFE = timedelta(minutes=60)
_SEED_BYTES = 32
_KEY_ID = re.compile(SIGNING_KEY_ID_PATTERN.strip("^$"), re.ASCII)


class SigningKeys:
    """The keys of the setting `KID:SEED,KID:SEED`: the first one signs, and all are published."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, which repeats no key, when `text` is not such a list."""
        keys: dict[str, Ed25519PrivateKey] = {}
        for part in text.split(","):
            key_id, key = _parse(part)
            if key_id in keys:
                message = f"key {key_id} is given twice"
                raise ValueError(message)
            keys[key_id] = key
        self._current = next(iter(keys))
        self._keys = MappingProxyType(keys)

    def sign_for_account(self, account_id: UUID) -> AccessToken:
        """Return a token of an account, which lives for LIFE."""
        token = self._sign({"aud": ACCOUNT_AUDIENCE, "sub": str(account_id)})
        return AccessToken(access_token=token, expires_in=int(LIFE.total_seconds()))

    def sign_for_project(self, project_id: int, key_id: str) -> ProjectToken:
        """Return a token of a project, which lives for LIFE, and no longer than the key is valid: it names the key."""
        token = self._sign({"aud": PROJECT_AUDIENCE, "sub": str(project_id), "api_key": key_id})
        return ProjectToken(access_token=token, expires_in=int(LIFE.total_seconds()))

    def _sign(self, own: Mapping[str, str]) -> str:
        now = clock.now()
        claims = {"iss": ISSUER, **own, "iat": now, "exp": now + LIFE}
        return jwt.encode(claims, self._keys[self._current], SIGNING_ALGORITHM, headers={"kid": self._current})

    def published(self) -> TokenKeys:
        """Return the public keys, the current one first."""
        return TokenKeys(keys=[TokenKey(kid=key_id, x=_public(key)) for key_id, key in self._keys.items()])


def _parse(part: str) -> tuple[str, Ed25519PrivateKey]:
    key_id, separator, encoded = part.strip().partition(":")
    if not separator or not _KEY_ID.fullmatch(key_id):
        message = "a list like 2026b:<seed>,2026a:<seed> is needed; an id has 1 to 16 letters, digits, - and _"
        raise ValueError(message)
    try:
        seed = base64.b64decode(encoded + "=", altchars=b"-_", validate=True)
    except binascii.Error:
        seed = b""
    if len(seed) != _SEED_BYTES:
        message = f"key {key_id} is not the base64url, without padding, of {_SEED_BYTES} bytes"
        raise ValueError(message)
    return key_id, Ed25519PrivateKey.from_private_bytes(seed)


def _public(key: Ed25519PrivateKey) -> str:
    return base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
