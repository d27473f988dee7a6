"""Finds the project that the path of a request names, if the credential of the request may see it."""

import re
from functools import partial

from fastapi import Request

from contract.access import Scope
from servicekit.database.pool import Database
from servicekit.errors import NotFound
from statistics_api.access import queries
from statistics_api.access.credentials import READ_SECONDS_MAX, required_credential_of
from statistics_api.access.key_cache import KeyCache
from statistics_api.access.queries import Project

# One sentence for a project that does not exist and for one that is another's.
_NOT_FOUND = "Project not found"
# Any other text is no project's key: the database is not asked, and nothing is remembered.
_PROJECT_KEY = re.compile(r"(?=.{1,128}\Z)[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)


def new_project_cache(database: Database) -> KeyCache[Project]:
    """Return the cache of a process, which `project_of` finds in `request.state.projects`."""

    async def read(project_key: str) -> tuple[Project, ...]:
        return await database.run(partial(queries.projects, project_key=project_key), READ_SECONDS_MAX)

    return KeyCache(read)


async def project_of(request: Request, project_key: str, scope: Scope) -> Project:
    """Return the project with this key, for a credential of the project that has the scope.

    What is remembered of a project is at most 30 seconds old.

    Raises:
        NotAuthenticated: there is no credential, or none that is valid.
        Forbidden: the credential does not have the scope.
        NotFound: there is no such project, or the credential belongs to another one.
        NotRecorded: the project is not remembered, and the database cannot be asked.
    """
    credential = await required_credential_of(request, scope)
    if _PROJECT_KEY.fullmatch(project_key) is None:
        raise NotFound(_NOT_FOUND)
    cache: KeyCache[Project] = request.state.projects
    found = [each for each in await cache.get(project_key) if each.project_id == credential.project_id]
    if not found:
        raise NotFound(_NOT_FOUND)
    return found[0]
