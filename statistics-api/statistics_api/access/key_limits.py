"""Finds the rate limit of the API key that a request has."""

from typing import NamedTuple

from limits import RateLimitItem
from starlette.types import Scope as RequestScope

from contract.access import key_id_of
from servicekit.errors import NotAuthenticated, NotRecorded
from statistics_api.access.credentials import key_of
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.presented import Form, presented
from statistics_api.access.queries import StoredKey


class LimitedKey(NamedTuple):
    """A valid key that has a rate limit."""

    key_id: str
    rate: RateLimitItem


def remembered_limit(scope: RequestScope) -> LimitedKey | None:
    """Return the key of a request if it is remembered as valid and has a rate limit; the database is not asked."""
    found = _presented_key(scope)
    if found is None:
        return None
    text, key_id, keys = found
    stored = keys.remembered(key_id)
    return None if stored is None else _limited(text, key_id, stored)


async def asked_limit(scope: RequestScope) -> LimitedKey | None:
    """Return the same for a key that may not be remembered. The database is asked for one that is not."""
    found = _presented_key(scope)
    if found is None:
        return None
    text, key_id, keys = found
    try:
        return _limited(text, key_id, await keys.get(key_id))
    except NotRecorded:  # the route will say so, if it needs the key
        return None


def _presented_key(scope: RequestScope) -> tuple[str, str, KeyCache[StoredKey]] | None:
    try:
        found = presented(scope)
    except NotAuthenticated:
        return None
    if found is None or found.form is not Form.KEY:
        return None
    key_id = key_id_of(found.text)
    return None if key_id is None else (found.text, key_id, scope["state"]["keys"])


def _limited(text: str, key_id: str, stored: tuple[StoredKey, ...]) -> LimitedKey | None:
    if all(each.rate_limit is None for each in stored):
        return None
    try:
        rate = key_of(text, stored).rate_limit
    except NotAuthenticated:
        return None
    return None if rate is None else LimitedKey(key_id, rate)
