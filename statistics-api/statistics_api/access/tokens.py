"""Verifies tokens. The private service signs them; this one has the public keys only, and can make none."""

import base64
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from uuid_utils import uuid7

from contract.access import key_id_of
from contract.accounts import (
    ACCOUNT_AUDIENCE,
    CLAIMS_REQUIRED,
    ISSUER,
    PROJECT_AUDIENCE,
    SIGNING_ALGORITHM,
    SIGNING_KEY_ID_PATTERN,
    AccountState,
    TokenKeys,
)
from contract.tokens import AccountClaims, ProjectClaims, TokenClaims
from servicekit.concurrency.request_collapsing import CollapsedReads
from servicekit.errors import Forbidden, NotAuthenticated, NotConfigured, NotFound
from servicekit.process import clock
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.presented import Form, NeedsAccountToken, presented
from statistics_api.access.recent import RecentValues
from statistics_api.access.sessions import SessionKind
from statistics_api.administration.client import Administration

TOKEN_KEPT_SECONDS = 30.0
KEYS_KEPT_SECONDS = 300.0
# A token of a key that is unknown here makes the process ask for new keys, but not more often than this.
KEYS_ASKED_SECONDS = 10.0
KEPT_MAX = 10_000
# Ours have some 400 characters.
_TOKEN_CHARACTERS_MAX = 1_024
# The clocks of two machines may differ a little: a token must not be refused as issued in the future.
_CLOCK_SECONDS_MAX = 5
_KEY_ID = re.compile(SIGNING_KEY_ID_PATTERN.strip("^$"), re.ASCII)
_INACTIVE = AccountState(is_active=False, is_operator=False)
# One sentence for every token that is refused: it tells nothing about what a forged one lacks.
NOT_VALID = "the token is not valid"

_CLAIMS: TypeAdapter[TokenClaims] = TypeAdapter(TokenClaims)

PublicKeys = Mapping[str, Ed25519PublicKey]


class Account(NamedTuple):
    """The account that a request comes from."""

    account_id: UUID
    is_operator: bool


class VerificationKeys:
    """The published keys, asked for when they are needed; one for each process."""

    def __init__(
        self, read: Callable[[], Awaitable[TokenKeys]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._keys: PublicKeys | None = None
        self._begun = -KEYS_KEPT_SECONDS

        async def refresh(_: None) -> None:
            begun = monotonic()
            try:
                self._keys = {each.kid: _public_key(each.x) for each in (await read()).keys}
            except NotConfigured:
                self._keys = None
            self._begun = begun

        self._refreshes = CollapsedReads(refresh)

    async def get(self, key_id: str) -> Ed25519PublicKey | None:
        """Return the key with this id, or None if it is not published.

        Raises:
            NotConfigured: this installation signs no tokens.
            NotRecorded: the private service cannot be asked.
        """
        age = self._monotonic() - self._begun
        is_unknown = self._keys is None or key_id not in self._keys
        if age >= KEYS_KEPT_SECONDS or (is_unknown and age >= KEYS_ASKED_SECONDS):
            await self._refreshes.get(None)
        if self._keys is None:
            raise NotConfigured("accounts are not configured in this installation")
        return self._keys.get(key_id)


class Tokens:
    """The tokens and the states of accounts that a process has seen; one for each process."""

    def __init__(self, administration: Administration, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._administration = administration
        self._monotonic = monotonic
        self._keys = VerificationKeys(self._read_keys, monotonic)
        self._verified: RecentValues[bytes, TokenClaims] = RecentValues(TOKEN_KEPT_SECONDS, KEPT_MAX, monotonic)
        self._states: KeyCache[AccountState] = KeyCache(self._read_state, monotonic)

    def remembered(self, text: str) -> TokenClaims | None:
        """Return the claims of a token that was verified a short time ago, which may have ended since, or None."""
        return self._verified.get(_digest(text))

    def remembered_now(self, text: str) -> TokenClaims | None:
        """Return the same if it is valid now."""
        claims = self.remembered(text)
        return None if claims is None or claims.exp <= clock.seconds() else claims

    async def verify(self, text: str) -> TokenClaims:
        """Return the claims of a token.

        Raises:
            NotAuthenticated: it is no token of this installation, or it is not valid now.
            NotConfigured, NotRecorded: as `VerificationKeys.get`.
        """
        digest = _digest(text)
        begun = self._monotonic()
        claims = self._verified.get(digest)
        if claims is None:
            claims = await self._verify(text)
            self._verified.put(digest, claims, begun)
        if claims.exp <= clock.seconds():
            raise NotAuthenticated(NOT_VALID)
        return claims

    async def state(self, account_id: UUID) -> AccountState:
        """Return what an account may do, at most 30 s old (key_cache.KEPT_SECONDS). Raises NotRecorded."""
        found = await self._states.get(str(account_id))
        return found[0] if found else _INACTIVE

    def remembered_account(self, text: str) -> Account | None:
        """Return the account of a token if both are remembered, and are valid and active now."""
        claims = self.remembered_now(text)
        if not isinstance(claims, AccountClaims):
            return None
        states = self._states.remembered(str(claims.sub))
        return Account(claims.sub, states[0].is_operator) if states and states[0].is_active else None

    async def _verify(self, text: str) -> TokenClaims:
        key_id = _key_id(text)
        key = None if key_id is None else await self._keys.get(key_id)
        if key is None:
            raise NotAuthenticated(NOT_VALID)
        try:
            claims = jwt.decode(
                text,
                key,
                algorithms=[SIGNING_ALGORITHM],
                audience=[ACCOUNT_AUDIENCE, PROJECT_AUDIENCE],
                issuer=ISSUER,
                leeway=_CLOCK_SECONDS_MAX,
                options={"require": list(CLAIMS_REQUIRED)},
            )
            return _CLAIMS.validate_python(claims)
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise NotAuthenticated(NOT_VALID) from error

    async def _read_keys(self) -> TokenKeys:
        return TokenKeys.model_validate_json(await self._get("/token-keys"))

    async def _read_state(self, account_id: str) -> tuple[AccountState, ...]:
        try:
            return (AccountState.model_validate_json(await self._get(f"/accounts/{account_id}/state")),)
        except NotFound:
            return ()

    async def _get(self, target: str) -> bytes:
        # An id of its own: several requests may wait for this call.
        return (await self._administration.send("GET", target, None, str(uuid7()))).content


async def account_of(request: Request) -> Account:
    """Return the account whose token a request has.

    Raises:
        NotAuthenticated: there is no credential, it is not valid, or the account is not active.
        NeedsAccountToken: the credential is an API key, or a project's token.
        CrossSite: the token is in a cookie, and no page of this server has sent the request.
        NotConfigured: this installation has no accounts.
        NotRecorded: the private service cannot be asked.
    """
    credential = presented(request.scope, SessionKind.ACCOUNT)
    if credential is None:
        raise NotAuthenticated("an account's token is needed: Authorization: Bearer <token>")
    if credential.form is Form.KEY:
        if key_id_of(credential.text) is None:
            raise NotAuthenticated(NOT_VALID)
        raise NeedsAccountToken("an account's token is needed here, and not an API key")
    tokens: Tokens = request.state.tokens
    claims = await tokens.verify(credential.text)
    if not isinstance(claims, AccountClaims):
        raise NeedsAccountToken("an account's token is needed here, and not a project's")
    state = await tokens.state(claims.sub)
    if not state.is_active:
        raise NotAuthenticated(NOT_VALID)
    return Account(claims.sub, state.is_operator)


async def project_claims(tokens: Tokens, text: str) -> ProjectClaims | None:
    """Return the claims of a project's token, or None for an account's. Raises as `Tokens.verify`."""
    claims = await tokens.verify(text)
    return claims if isinstance(claims, ProjectClaims) else None


async def operator_of(request: Request) -> Account:
    """Return the account of an operator of the installation. Raises as `account_of`, and Forbidden for any other."""
    account = await account_of(request)
    if not account.is_operator:
        raise Forbidden("only an operator of the installation may do this")
    return account


def _digest(text: str) -> bytes:
    return sha256(text.encode("latin-1")).digest()


def _key_id(text: str) -> str | None:
    """Return the id of the key that a token names, or None for what cannot be a token of ours."""
    if len(text) > _TOKEN_CHARACTERS_MAX or not text.isascii():
        return None
    try:
        header: dict[str, Any] = jwt.get_unverified_header(text)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return None
    key_id = header.get("kid")
    if header.get("alg") != SIGNING_ALGORITHM or "crit" in header:
        return None
    return key_id if isinstance(key_id, str) and _KEY_ID.fullmatch(key_id) else None


def _public_key(x: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "="))
