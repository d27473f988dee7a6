"""What a request may do with the credential that it presents, or without one."""

from collections.abc import Mapping
from functools import partial
from hmac import compare_digest
from typing import Any, NamedTuple

from fastapi import Request

from contract.access import Scope, claimed_key_id, key_digest, proofs_of
from contract.projects import DEFAULT_PROJECT_ID
from contract.tokens import ProjectClaims
from servicekit.database.pool import Database
from servicekit.errors import Forbidden, NotAuthenticated, NotConfigured
from servicekit.process import clock
from statistics_api.access import queries
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.key_usage import KeyUsage
from statistics_api.access.presented import AUTHORIZATION, KEY_HEADER, Form, NeedsProjectCredential, presented
from statistics_api.access.queries import StoredKey
from statistics_api.access.sessions import COOKIE, CrossSite, SessionKind, session_token
from statistics_api.access.shares import check_shown, is_share_token, share_of
from statistics_api.access.tokens import NOT_VALID as TOKEN_NOT_VALID
from statistics_api.access.tokens import Tokens, project_claims

READ_SECONDS_MAX = 3.0
_BEARER = b"Bearer "
# How the header of a token begins, `{"` in base 64.
_JWT_BEGINS_WITH = "eyJ"
# One sentence for every key that is refused: it tells nobody whether a key exists.
_NOT_VALID = "the API key is not valid"
_MISSING = "an API key is required: X-API-Key, or Authorization: Bearer"


class Credential(NamedTuple):
    """What a request may do, and in which project; `key_id` is None for a request without a key, and the id of the
    share for the token of one.

    A project's token is as good as the key that it was made for, and ends with it.
    """

    project_id: int
    scopes: frozenset[str]
    key_id: str | None


_WITHOUT_KEY = Credential(DEFAULT_PROJECT_ID, frozenset({Scope.INGEST, Scope.READ}), None)


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
        CrossSite: the token is in a cookie, and no page of this server has sent the request.
        Forbidden: the key does not have the scope, or the view of the share does not have these figures.
        NotRecorded: the key is not remembered, and the database cannot be asked.
    """
    found = presented(request.scope, SessionKind.PROJECT)
    if found is None:
        return _WITHOUT_KEY
    if found.form is Form.TOKEN:
        credential = await _credential_of_token(request, found.text)
    elif is_share_token(found.text):
        credential = await _credential_of_share(request, found.text)
    else:
        credential = await _credential_of_key(request, found.text)
    if scope not in credential.scopes:
        raise Forbidden(f"the API key does not have the scope {scope}")
    return credential


async def _credential_of_key(request: Request, text: str) -> Credential:
    cache: KeyCache[StoredKey] = request.state.keys
    for proof in proofs_of(text, request.state.imported_key_secret):
        stored = _matching(proof.digest, await cache.get(proof.key_id))
        if stored is not None:
            usage: KeyUsage = request.state.key_usage
            usage.count(stored.project_id, proof.key_id)
            return Credential(stored.project_id, stored.scopes, proof.key_id)
    raise NotAuthenticated(_NOT_VALID)


async def _credential_of_token(request: Request, text: str) -> Credential:
    try:
        claims = await project_claims(request.state.tokens, text)
    except NotConfigured as error:
        raise NotAuthenticated(TOKEN_NOT_VALID) from error
    if claims is None:
        raise NeedsProjectCredential("a credential of a project is needed here, and not an account's token")
    cache: KeyCache[StoredKey] = request.state.keys
    stored = key_of_claims(claims, await cache.get(claims.api_key))
    usage: KeyUsage = request.state.key_usage
    usage.count(stored.project_id, claims.api_key)
    return Credential(stored.project_id, stored.scopes, claims.api_key)


async def _credential_of_share(request: Request, text: str) -> Credential:
    """A share reads the figures of its view, whatever else its project has."""
    share = await share_of(request.state.shares, text)
    check_shown(request, share)
    return Credential(share.project_id, frozenset({Scope.READ}), share.share_id)


async def required_credential_of(request: Request, scope: Scope) -> Credential:
    """The same for a route that nobody uses without a key. Raises as `credential_of`."""
    credential = await credential_of(request, scope)
    if credential.key_id is None:
        raise NotAuthenticated(_MISSING)
    return credential


def remembered_credential(
    header_map: Mapping[bytes, bytes], state: Mapping[str, Any], scope: Scope
) -> Credential | None:
    """Return what `credential_of` would, for a direct route, which can neither wait nor explain.

    None leaves the request to the framework: a key or a token that is not remembered, is not valid, or has a rate
    limit, which the middleware counts; an account's token; two credentials. Each of these headers came at most once.
    """
    if KEY_HEADER not in header_map and AUTHORIZATION not in header_map:
        if COOKIE not in header_map:
            return _WITHOUT_KEY
        try:
            session = _session_of(header_map, scope)
        except CrossSite:
            return None
        if session is None:
            return _WITHOUT_KEY
        text = session
    else:
        text = only_credential(header_map)
    cache: KeyCache[StoredKey] = state["keys"]
    # Nothing else needs to be checked: no text but the key itself has its digest.
    key_id = claimed_key_id(text)
    stored = cache.remembered(key_id)
    found = _matching(key_digest(text), stored) if stored else None
    if found is None and text.startswith(_JWT_BEGINS_WITH):
        tokens: Tokens = state["tokens"]
        claims = tokens.remembered_now(text)
        if isinstance(claims, ProjectClaims):
            key_id = claims.api_key
            found = _named(claims, cache.remembered(key_id) or ())
    if found is None or found.rate_limit is not None or scope not in found.scopes:
        return None
    return Credential(found.project_id, found.scopes, key_id)


def _session_of(header_map: Mapping[bytes, bytes], scope: Scope) -> str | None:
    """Return the project's token that a browser sent in a cookie, or None. Raises CrossSite."""
    method = "GET" if scope is Scope.READ else "POST"
    return session_token({"method": method, "headers": header_map.items()}, (SessionKind.PROJECT,))


def only_credential(header_map: Mapping[bytes, bytes]) -> str:
    """Return the text in one of the two headers, or "" if it cannot be a single key or token."""
    authorization = header_map.get(AUTHORIZATION)
    if authorization is None:
        return header_map.get(KEY_HEADER, b"").decode("latin-1")
    if KEY_HEADER in header_map or not authorization.startswith(_BEARER):
        return ""
    return authorization.removeprefix(_BEARER).decode("latin-1")


def count_use(state: Mapping[str, Any], credential: Credential) -> None:
    """Count one request with a credential that `remembered_credential` returned."""
    if credential.key_id is not None:
        usage: KeyUsage = state["key_usage"]
        usage.count(credential.project_id, credential.key_id)


def key_of_claims(claims: ProjectClaims, stored: tuple[StoredKey, ...]) -> StoredKey:
    """Return the stored key that a token was made for. Raises NotAuthenticated if it is not valid now."""
    found = _named(claims, stored)
    if found is None:
        raise NotAuthenticated(TOKEN_NOT_VALID)
    return found


def key_of(digest: bytes, stored: tuple[StoredKey, ...]) -> StoredKey:
    """Return the stored key with this digest. Raises NotAuthenticated if there is none, or it is not valid now."""
    found = _matching(digest, stored)
    if found is None:
        raise NotAuthenticated(_NOT_VALID)
    return found


def _named(claims: ProjectClaims, stored: tuple[StoredKey, ...]) -> StoredKey | None:
    for each in stored:
        if each.project_id == claims.project_id and _is_valid(each):
            return each
    return None


def _matching(digest: bytes, stored: tuple[StoredKey, ...]) -> StoredKey | None:
    for each in stored:
        if compare_digest(each.digest, digest):
            return each if _is_valid(each) else None
    return None


def _is_valid(key: StoredKey) -> bool:
    return key.is_active and (key.expires_at is None or clock.now() < key.expires_at)
