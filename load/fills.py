"""Stores millions of events and what is counted of them, in the database: through the service it would need an hour.

Each statement stores the events of one day, and counts them while they are in memory. Times and ids ascend, so that all
indexes grow at their ends.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import psycopg2

# Each has a share of the days.
CONNECTIONS = 2
_DAY = timedelta(days=1)
_SETTINGS = "SET synchronous_commit = off; SET work_mem = '256MB'; SET jit = off"
# The id of event n: as a service's own, later ones are greater.
EVENT_ID = "('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"

# Each counts a share of those who are present, in a slot of its own.
_PRESENCES = """
    WITH seen AS (
        SELECT DISTINCT project_id, unnest(ARRAY[{segments}]) AS segment, {who} AS who,
               (occurred_at AT TIME ZONE 'UTC')::date AS day
          FROM {fact}
         WHERE mod(abs(hashtext({who}::text)::bigint), {shares}) = {share}),
    stored AS (
        INSERT INTO {fact}_presence (project_id, segment, digest, day, previous_day)
        SELECT project_id, segment, substr(sha256(presence_key || convert_to(who::text, 'UTF8')), 1, 16) AS digest, day,
               lag(day, 1, '-infinity') OVER (PARTITION BY project_id, segment, who ORDER BY day)
          FROM seen JOIN project USING (project_id)
         ORDER BY 1, 2, 3, 4
     RETURNING project_id, segment, day, previous_day)
    INSERT INTO {fact}_distinct (project_id, segment, day, previous_day, slot, present_count)
    SELECT project_id, segment, day, previous_day, {share}, count(*)
      FROM stored
     GROUP BY 1, 2, 3, 4
"""


class Part(NamedTuple):
    """The events `first` to `last`, which happened on one day. Event n did at `begin` + n * `step`."""

    begin: datetime
    step: timedelta
    first: int
    last: int

    @property
    def day(self) -> date:
        """The day (UTC) on which they happened."""
        return (self.begin + self.first * self.step).date()

    @property
    def numbers(self) -> str:
        """The rows of the events in FROM."""
        return f"generate_series({self.first}, {self.last}) AS n"

    @property
    def occurred_at(self) -> str:
        """The time of event n."""
        return f"('{self.begin.isoformat()}'::timestamptz + n * interval '{self.step / timedelta(microseconds=1)} us')"


def parts(rows: int, days: int) -> Iterator[Part]:
    """Return the events 0 to `rows` - 1 of the last days, day by day (UTC)."""
    end = datetime.now(UTC)
    begin, step = end - timedelta(days=days), timedelta(days=days) // rows
    first = 0
    while first < rows:
        midnight = (begin + first * step).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
        following = min(rows, -((begin - midnight) // step))
        yield Part(begin, step, first, following - 1)
        first = following


def run(url: str, statements: Sequence[str]) -> None:
    """Run an administrator's statements, each committed; two of them at the same time."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(
            threads.map(
                lambda share: execute(url, _SETTINGS, *statements[share::CONNECTIONS]),
                range(CONNECTIONS),
            )
        )


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run an administrator's statements, each committed; the rows of the last one, if it returns any."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def presences(fact: str, who: str, segments: str = "0") -> list[str]:
    """Return the statements that count who was present on which day (UTC), of facts without presences.

    `who` is the column that says who; `segments` are those of a fact.
    """
    return [
        _PRESENCES.format(fact=fact, who=who, segments=segments, shares=CONNECTIONS, share=share)
        for share in range(CONNECTIONS)
    ]
