"""Finds the rate limit of the API key that a request has, or that its token was made for."""

from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from limits import RateLimitItem
from starlette.types import Scope as RequestScope

from contract.access import KeyProof, proofs_of
from contract.tokens import AccountClaims, ProjectClaims
from servicekit.errors import NotAuthenticated, NotConfigured, NotRecorded
from statistics_api.access.credentials import key_of, key_of_claims
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.presented import Form, presented
from statistics_api.access.queries import StoredKey
from statistics_api.access.sessions import CrossSite, SessionKind
from statistics_api.access.tokens import Tokens, project_claims


class LimitedKey(NamedTuple):
    """A valid key that has a rate limit."""

    key_id: str
    rate: RateLimitItem


class SentKey(NamedTuple):
    """What a request has in place of an API key: the ids and digests that it may have, and where stored keys are
    found.
    """

    proofs: list[KeyProof]
    keys: KeyCache[StoredKey]

    def remembered(self) -> tuple[StoredKey, ...] | None:
        """Return the keys with these ids, or None if the database would have to be asked."""
        found = [self.keys.remembered(each.key_id) for each in self.proofs]
        known = [each for each in found if each is not None]
        return tuple(chain.from_iterable(known)) if len(known) == len(found) else None

    async def asked(self) -> tuple[StoredKey, ...]:
        """Return the keys with these ids; none if the database cannot be asked."""
        try:
            return tuple(chain.from_iterable([await self.keys.get(each.key_id) for each in self.proofs]))
        except NotRecorded:  # the route will say so, if it needs the key
            return ()

    def limited(self, stored: tuple[StoredKey, ...]) -> LimitedKey | None:
        """Return the one of these keys that was sent, if it is valid and has a rate limit."""
        if all(each.rate_limit is None for each in stored):
            return None
        for proof in self.proofs:
            with suppress(NotAuthenticated):
                rate = key_of(proof.digest, stored).rate_limit
                return None if rate is None else LimitedKey(proof.key_id, rate)
        return None


class SentToken(NamedTuple):
    """What a request has in place of a token. Only a verified one names a key: a forged one uses up no limit."""

    text: str
    tokens: Tokens
    keys: KeyCache[StoredKey]

    def remembered(self) -> tuple[StoredKey, ...] | None:
        """Return the key that the token was made for, or None if something would have to be asked."""
        claims = self.tokens.remembered(self.text)
        if isinstance(claims, AccountClaims):
            return ()
        return None if claims is None else self.keys.remembered(claims.api_key)

    async def asked(self) -> tuple[StoredKey, ...]:
        """Return the keys with the id of that key; none if the token is not valid, or nobody can be asked."""
        try:
            claims = await project_claims(self.tokens, self.text)
            return () if claims is None else await self.keys.get(claims.api_key)
        except (NotAuthenticated, NotConfigured, NotRecorded):  # the route will say so
            return ()

    def limited(self, stored: tuple[StoredKey, ...]) -> LimitedKey | None:
        """Return the one of these keys that the token was made for, if it is valid and has a rate limit."""
        claims = self.tokens.remembered(self.text)
        if not isinstance(claims, ProjectClaims):
            return None
        try:
            rate = key_of_claims(claims, stored).rate_limit
        except NotAuthenticated:
            return None
        return None if rate is None else LimitedKey(claims.api_key, rate)


def sent_key(scope: RequestScope) -> SentKey | SentToken | None:
    """Return the API key or the token of a request, or None if it cannot have one."""
    try:
        found = presented(scope, SessionKind.PROJECT)
    except (CrossSite, NotAuthenticated):
        return None
    if found is None:
        return None
    if found.form is Form.TOKEN:
        return SentToken(found.text, scope["state"]["tokens"], scope["state"]["keys"])
    proofs = proofs_of(found.text, scope["state"]["imported_key_secret"])
    return SentKey(proofs, scope["state"]["keys"]) if proofs else None
