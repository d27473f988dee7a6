"""Reads what an account may see; every question begins with its membership."""

from functools import partial
from uuid import UUID

from contract.access import ApiKey
from contract.projects import Member, Project, Retention
from servicekit.database.pool import Database
from servicekit.errors import NotFound
from servicekit.process import clock
from statistics_api.projects import queries
from statistics_api.projects.queries import KeyFilter, Label

READ_SECONDS_MAX = 3.0


class ProjectReader:
    """The reads of one process. Each raises NotRecorded when the database cannot be asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def projects(self, account_id: UUID) -> list[Project]:
        """Return the projects of an account."""
        return await self._database.run(partial(queries.projects, account_id=account_id), READ_SECONDS_MAX)

    async def project(self, account_id: UUID, project_key: str) -> Project:
        """Return one project. Raises NotFound unless it exists and the account is a member."""
        work = partial(queries.projects, account_id=account_id, project_key=project_key)
        found = await self._database.run(work, READ_SECONDS_MAX)
        if not found:
            raise NotFound("Project not found")
        return found[0]

    async def label(self, project_id: int) -> Label:
        """Return what a page calls a project, for a credential of it. Raises NotFound if there is none any more."""
        found = await self._database.run(partial(queries.labels, project_id=project_id), READ_SECONDS_MAX)
        if not found:
            raise NotFound("Project not found")
        return found[0]

    async def members(self, account_id: UUID, project_key: str) -> list[Member]:
        """Return the members of a project. Raises as `project`."""
        project = await self.project(account_id, project_key)
        return await self._database.run(partial(queries.members, project_id=project.id), READ_SECONDS_MAX)

    async def keys(self, account_id: UUID, project_key: str, which: KeyFilter) -> list[ApiKey]:
        """Return API keys of a project. Raises as `project`."""
        project = await self.project(account_id, project_key)
        work = partial(queries.keys, project_id=project.id, which=which, now=clock.now())
        return await self._database.run(work, READ_SECONDS_MAX)

    async def key(self, account_id: UUID, project_key: str, key_id: str) -> ApiKey:
        """Return one API key of a project. Raises as `project`, and NotFound for a key that it does not have."""
        found = await self.keys(account_id, project_key, KeyFilter(key_id))
        if not found:
            raise NotFound("API key not found: the project has no key with this id")
        return found[0]

    async def retention(self, account_id: UUID, project_key: str) -> list[Retention]:
        """Return what the retention did with the rows of a project. Raises as `project`."""
        project = await self.project(account_id, project_key)
        return await self._database.run(partial(queries.retention, project_id=project.id), READ_SECONDS_MAX)
