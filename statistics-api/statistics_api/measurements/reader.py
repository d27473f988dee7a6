"""Answers questions about measurements. Large analyses have a limit of their own: each reads all rows of a period."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import NamedTuple

from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import Overloaded
from statistics_api.cursors import StoredRow
from statistics_api.measurements import queries
from statistics_api.measurements.periods import Period
from statistics_api.measurements.queries import Axis, Chosen, Group, Look

READ_SECONDS_MAX = 3.0
ANALYSIS_SECONDS_MAX = 20.0
# The time that is left for the answer when a statement ends.
_SECONDS_SPARED = 0.5
# Of one project, in one process.
LARGE_ANALYSES_MAX = 2


class Analysed(NamedTuple):
    """The groups of an analysis; `kept_since` says since when all rows of a device are kept, where some have left."""

    groups: Sequence[Group]
    kept_since: dict[int, datetime]

    def raw_since(self, group: Group) -> datetime | None:
        """Return since when all rows of a group are kept."""
        if group.device_number is None:
            return max(self.kept_since.values(), default=None)
        return self.kept_since.get(group.device_number)


class MeasurementReader:
    """Reads measurements; one for each process. Each method raises NotRecorded when the database cannot be asked."""

    def __init__(self, database: Database, sorted_rows_max: int = queries.SORTED_ROWS_MAX) -> None:
        """Groups of more than `sorted_rows_max` rows are large analyses."""
        self._database = database
        self._sorted_rows_max = sorted_rows_max
        self._large: Counter[int] = Counter()

    async def rows(
        self, chosen: Chosen, period: Period, before: tuple[datetime, str] | None, *, limit: int, skip: int
    ) -> list[StoredRow]:
        """Return measurements of a device, the newest first."""
        work = partial(queries.rows, chosen=chosen, period=period, before=before, limit=limit, skip=skip)
        return await self._database.run(work, READ_SECONDS_MAX)

    async def analysis(self, chosen: Chosen, period: Period) -> Analysed:
        """Return the figures of each device and of all together.

        Raises:
            Overloaded: as many large analyses of the project as may run are running.
        """
        seconds_max, sorted_rows_max = ANALYSIS_SECONDS_MAX - _SECONDS_SPARED, self._sorted_rows_max

        def look(lease: Lease) -> Look:
            return queries.look(lease, chosen, period, seconds_max, sorted_rows_max)

        seen = await self._database.run(look, ANALYSIS_SECONDS_MAX)
        if all(group.is_complete for group in seen.groups):
            return await self._analysed(chosen, period, seen.groups)

        def analysis(lease: Lease) -> list[Group]:
            return queries.analysis(lease, chosen, period, seen.bracket, seconds_max, sorted_rows_max)

        with self.large_analysis(chosen.project_id):
            return await self._analysed(chosen, period, await self._database.run(analysis, ANALYSIS_SECONDS_MAX))

    async def series(self, chosen: Chosen, edges: Sequence[datetime]) -> dict[int, tuple[int, tuple[Axis, ...]]]:
        """Return the figures of the buckets between these edges, by number; a gap has none."""
        if len(edges) == 1:
            return {}
        return await self._database.run(partial(queries.series, chosen=chosen, edges=edges), READ_SECONDS_MAX)

    async def _analysed(self, chosen: Chosen, period: Period, groups: Sequence[Group]) -> Analysed:
        cut = [
            each.device_number for each in groups if each.kept != each.event_count and each.device_number is not None
        ]
        if not cut:
            return Analysed(groups, {})
        work = partial(
            queries.kept_since,
            chosen=chosen,
            period=period,
            device_numbers=cut,
            seconds_max=ANALYSIS_SECONDS_MAX - _SECONDS_SPARED,
        )
        return Analysed(groups, await self._database.run(work, ANALYSIS_SECONDS_MAX))

    @contextmanager
    def large_analysis(self, project_id: int) -> Iterator[None]:
        """One large analysis of a project. Raises Overloaded if as many as may run are running."""
        if self._large[project_id] >= LARGE_ANALYSES_MAX:
            raise Overloaded(f"{LARGE_ANALYSES_MAX} large analyses of this project are running; try again later")
        self._large[project_id] += 1
        try:
            yield
        finally:
            self._large[project_id] -= 1
            if not self._large[project_id]:
                del self._large[project_id]
