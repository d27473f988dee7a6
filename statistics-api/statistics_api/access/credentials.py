"""What a request may do with the credential that it presents, or without one."""

from collections.abc import Mapping
from functools import partial
from hmac import compare_digest
from typing import NamedTuple

from fastapi import Request

from contract.access import Scope, key_digest, key_id_of
from contract.projects import DEFAULT_PROJECT_ID
from servicekit.database.pool import Database
from servicekit.errors import Forbidden, NotAuthenticated, NotConfigured
from servicekit.process import clock
from statistics_api.access import queries
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.presented import AUTHORIZATION, KEY_HEADER, Form, NeedsProjectCredential, presented
from statistics_api.access.queries import StoredKey
from statistics_api.access.tokens import NOT_VALID as TOKEN_NOT_VALID
from statistics_api.access.tokens import Tokens

READ_SECONDS_MAX = 3.0
_CREDENTIAL_HEADERS = frozenset({KEY_HEADER, AUTHORIZATION})
# One sentence for every key that is refused: it tells nobody whether a key exists.
_NOT_VALID = "the API key is not valid"
_MISSING = "an API key is required: X-API-Key, or Authorization: Bearer"


class Credential(NamedTuple):
    """What a request may do, and in which project; `key_id` is None for a request without a key."""

    project_id: int
    scopes: frozenset[str]
    key_id: str | None


_WITHOUT_KEY = Credential(DEFAULT_PROJECT_ID, frozenset({Scope.INGEST, Scope.READ}), None)


def has_credential(header_map: Mapping[bytes, bytes]) -> bool:
    """Whether one of these headers carries a credential: then a direct route leaves the request to the framework."""
    return not _CREDENTIAL_HEADERS.isdisjoint(header_map)


def new_key_cache(database: Database) -> KeyCache[StoredKey]:
    """Return the cache of a process, which `credential_of` finds in `request.state.keys`."""

    async def read(key_id: str) -> tuple[StoredKey, ...]:
        return await database.run(partial(queries.keys, key_id=key_id), READ_SECONDS_MAX)

    return KeyCache(read)


async def credential_of(request: Request, scope: Scope) -> Credential:
    """Return the credential of a request that needs this scope; without a key, that of the default project.

    Raises:
        NotAuthenticated: the key is malformed, unknown, revoked or expired, its project is inactive, or there are two;
            or the token is not valid.
        NeedsProjectCredential: the token is an account's.
        Forbidden: the key does not have the scope.
        NotRecorded: the key is not remembered, and the database cannot be asked.
    """
    found = presented(request.scope)
    if found is None:
        return _WITHOUT_KEY
    if found.form is Form.TOKEN:
        credential = await _credential_of_token(request, found.text)
    else:
        credential = await _credential_of_key(request, found.text)
    if scope not in credential.scopes:
        raise Forbidden(f"the API key does not have the scope {scope}")
    return credential


async def _credential_of_key(request: Request, text: str) -> Credential:
    key_id = key_id_of(text)
    if key_id is None:
        raise NotAuthenticated(_NOT_VALID)
    cache: KeyCache[StoredKey] = request.state.keys
    return _credential(text, key_id, await cache.get(key_id))


async def _credential_of_token(request: Request, text: str) -> Credential:
    tokens: Tokens = request.state.tokens
    try:
        await tokens.verify(text)
    except NotConfigured as error:
        raise NotAuthenticated(TOKEN_NOT_VALID) from error
    raise NeedsProjectCredential("a credential of a project is needed here, and not an account's token")


async def required_credential_of(request: Request, scope: Scope) -> Credential:
    """The same for a route that nobody uses without a key. Raises as `credential_of`."""
    credential = await credential_of(request, scope)
    if credential.key_id is None:
        raise NotAuthenticated(_MISSING)
    return credential


def _credential(text: str, key_id: str, stored: tuple[StoredKey, ...]) -> Credential:
    digest = key_digest(text)
    for each in stored:
        if compare_digest(each.digest, digest):
            if each.is_active and (each.expires_at is None or clock.now() < each.expires_at):
                return Credential(each.project_id, each.scopes, key_id)
            break
    raise NotAuthenticated(_NOT_VALID)
