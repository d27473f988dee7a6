"""Finds the rate limit of the API key that a request has, or that its token was made for."""

from typing import NamedTuple

from limits import RateLimitItem
from starlette.types import Scope as RequestScope

from contract.access import key_id_of
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
    """What a request has in place of an API key, with the id in it, and where stored keys are found."""

    text: str
    key_id: str
    keys: KeyCache[StoredKey]

    def remembered(self) -> tuple[StoredKey, ...] | None:
        """Return the keys with this id, or None if the database would have to be asked."""
        return self.keys.remembered(self.key_id)

    async def asked(self) -> tuple[StoredKey, ...]:
        """Return the keys with this id; none if the database cannot be asked."""
        try:
            return await self.keys.get(self.key_id)
        except NotRecorded:  # the route will say so, if it needs the key
            return ()

    def limited(self, stored: tuple[StoredKey, ...]) -> LimitedKey | None:
        """Return the one of these keys that was sent, if it is valid and has a rate limit."""
        if all(each.rate_limit is None for each in stored):
            return None
        try:
            rate = key_of(self.text, stored).rate_limit
        except NotAuthenticated:
            return None
        return None if rate is None else LimitedKey(self.key_id, rate)


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
    key_id = key_id_of(found.text)
    return None if key_id is None else SentKey(found.text, key_id, scope["state"]["keys"])
