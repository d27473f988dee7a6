"""Finds the project that the path of a request names, if the credential of the request may see it."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from fastapi import Request

from contract.access import Scope
from servicekit.database.pool import Database
from servicekit.errors import NotFound
from statistics_api.access import queries
from statistics_api.access.credentials import (
    READ_SECONDS_MAX,
    Credential,
    only_credential,
    remembered_credential,
    required_credential_of,
)
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.presented import Form, NeedsProjectCredential, presented
from statistics_api.access.queries import Project
from statistics_api.access.sessions import SessionKind
from statistics_api.access.tokens import Tokens, account_of, project_claims

# One sentence for a project that does not exist and for one that is another's.
_NOT_FOUND = "Project not found"
# Any other text is no project's key: the database is not asked, and nothing is remembered.
_PROJECT_KEY = re.compile(r"(?=.{1,128}\Z)[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_BETWEEN = "/"  # in no project's key
_ANY_SESSION = (SessionKind.ACCOUNT, SessionKind.PROJECT)


class ProjectCaches(NamedTuple):
    """What a process remembers of projects: each by its key, and each by its key and the id of a member."""

    by_key: KeyCache[Project]
    by_member: KeyCache[Project]


def new_project_caches(database: Database) -> ProjectCaches:
    """Return the caches of a process, which `project_of` finds in `request.state.projects`."""

    async def read(project_key: str) -> tuple[Project, ...]:
        return await database.run(partial(queries.projects, project_key=project_key), READ_SECONDS_MAX)

    async def read_of_member(key_and_account: str) -> tuple[Project, ...]:
        project_key, _, account_id = key_and_account.partition(_BETWEEN)
        work = partial(queries.projects_of_member, project_key=project_key, account_id=UUID(account_id))
        return await database.run(work, READ_SECONDS_MAX)

    return ProjectCaches(KeyCache(read), KeyCache(read_of_member))


async def project_of(request: Request, project_key: str, scope: Scope) -> Project:
    """Return the project with this key: for an API key of the project that has the scope, for a token that was made for
    such a key, or for an account's token, if the account is a member and the scope is to read.

    What is remembered of a project and of its members is at most 30 seconds old.

    Raises:
        NotAuthenticated: there is no credential, or none that is valid.
        Forbidden: the API key does not have the scope.
        CrossSite: the token is in a cookie, and no page of this server has sent the request.
        NeedsProjectCredential, NeedsAccountToken: the token is of another kind than is needed here.
        NotFound: there is no such project, or the credential belongs to another one.
        NotRecorded: something is not remembered, and cannot be asked.
    """
    caches: ProjectCaches = request.state.projects
    # An account's session reads; for anything else it takes the project's own.
    sessions = _ANY_SESSION if scope is Scope.READ else (SessionKind.PROJECT,)
    if await _is_of_account(request, sessions):
        if scope is not Scope.READ:
            raise NeedsProjectCredential("a credential of the project is needed here, and not an account's token")
        account = await account_of(request)
        stored = await _known(caches.by_member, project_key, _of_member(project_key, account.account_id))
    else:
        credential = await required_credential_of(request, scope)
        stored = await _known(caches.by_key, project_key, project_key)
        stored = [each for each in stored if each.project_id == credential.project_id]
    if not stored:
        raise NotFound(_NOT_FOUND)
    return stored[0]


def remembered_project(
    header_map: Mapping[bytes, bytes], state: Mapping[str, Any], project_key: str
) -> tuple[Project, Credential | None] | None:
    """Return what `project_of` would for a direct route that reads, and the credential if it is not an account's.

    None leaves the request to the framework: something is not remembered, or would be refused. Each header came at most
    once.
    """
    caches: ProjectCaches = state["projects"]
    credential = remembered_credential(header_map, state, Scope.READ)
    if credential is not None:
        stored = caches.by_key.remembered(project_key) or ()
        is_of_project = credential.key_id is not None and stored and stored[0].project_id == credential.project_id
        return (stored[0], credential) if is_of_project else None
    tokens: Tokens = state["tokens"]
    account = tokens.remembered_account(only_credential(header_map))
    if account is None:
        return None
    stored = caches.by_member.remembered(_of_member(project_key, account.account_id)) or ()
    return (stored[0], None) if stored else None


def _of_member(project_key: str, account_id: UUID) -> str:
    return f"{project_key}{_BETWEEN}{account_id}"


async def manager_of(request: Request, project_key: str) -> Mapping[str, str]:
    """Return what the private service is told of who manages this project, as the parameters of a query: an account,
    which it checks to be an owner; or nothing, for an API key of the project that may manage, or a token of one.

    Raises as `project_of`.
    """
    if await _is_of_account(request, _ANY_SESSION):
        return {"account_id": str((await account_of(request)).account_id)}
    await project_of(request, project_key, Scope.MANAGE)
    return {}


async def _is_of_account(request: Request, sessions: Sequence[SessionKind]) -> bool:
    """Whether the credential is a token that is not a project's."""
    found = presented(request.scope, *sessions)
    if found is None or found.form is not Form.TOKEN:
        return False
    return await project_claims(request.state.tokens, found.text) is None


async def _known(cache: KeyCache[Project], project_key: str, key: str) -> Sequence[Project]:
    return await cache.get(key) if _PROJECT_KEY.fullmatch(project_key) else ()
