"""Counts how many different ones are present, exactly, for any range of days. Callers own the transaction.

Each presence (someone, on a day) is stored once, with the previous day on which the same one was present. Rollups count
presences by both days, and init.sql says how a range is read. Days arrive in any order: a new day between two others
becomes the previous day of the later one.
"""

import hashlib
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence, Set
from datetime import date
from typing import Any, LiteralString, NamedTuple, TypeVar

from contract.delivery import Columns
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.projects import Projects
from device_registration_api.events.rows import ProjectSettings, Rows
from servicekit.database.copy_encoding import Repeated
from servicekit.database.lease import Lease
from servicekit.database.prepared import Prepared

DIGEST_BYTES = 16
ALL_EVENTS = 0  # the segment that has all events of a project
# Of about 300 bytes each.
PRESENCES_REMEMBERED = 50_000

_SENT: LiteralString = """
    SELECT project_id, segment, decode(digest, 'hex') AS digest, day
      FROM json_to_recordset({sent}::json) AS each(project_id int, segment int, digest text, day date)
"""
_FRESH: LiteralString = """
      FROM (SELECT DISTINCT project_id, segment, digest, day FROM (%s) AS each) AS sent
     WHERE NOT EXISTS (SELECT FROM %s_presence AS p
                        WHERE p.project_id = sent.project_id AND p.segment = sent.segment
                          AND p.digest = sent.digest AND p.day = sent.day)
"""

Name = TypeVar("Name", bound=Hashable)


class Presence(NamedTuple):
    """Someone, in the client's own words, on a day of the project's zone."""

    project_id: int
    segment: int
    who: str
    day: date


class Presences:
    """What a kind declares to have its different ones counted: the column that says who is present.

    The catalogue (init.sql, section 5) names the same column.
    """

    def __init__(self, fact: LiteralString, field: str, segments: Callable[[Any], Sequence[int]] | None = None) -> None:
        """`field` is a list of the kind's `EventColumns`; None in it is nobody.

        `segments` returns the segment of each event, from 1: the different ones of each are counted apart, too.
        """
        self._field = field
        self._segments = segments
        self._projects = Projects()
        # What this process has committed. Presences are not deleted while their project records events.
        self._known: set[Presence] = set()
        # In two statements, because the second must see what the holders of the locks before have committed. A lock is
        # for a sixteenth of a project; a transaction that stores a new presence holds it until its commit.
        self._lock = Prepared(f"lock_{fact}_presence", _lock_statement(fact), {"sent": "json"})
        self._count = Prepared(f"count_{fact}_presence", count_statement(fact, _SENT), {"sent": "json", "slot": "int2"})

    def prepared(self) -> list[Prepared]:
        """Return the statements that a connection prepares."""
        return [self._lock, self._count]

    def complete(self, lease: Lease, rows: Rows[Columns]) -> Rows[Columns]:
        """Return the rows with what their presences depend on. Call it outside of a transaction."""
        return self._projects.complete(lease, rows)

    def unknown(self, rows: Rows[Columns]) -> Set[Presence]:
        """Return the presences of the rows that this process has not committed yet."""
        whos = getattr(rows.columns, self._field)
        days = _days(rows)
        sent = {Presence(project_id, ALL_EVENTS, who, day) for project_id, who, day in _seen(rows, whos, days)}
        if self._segments is not None:
            # As if each segment's events had names of their own.
            apart = [
                None if who is None else (segment, who)
                for segment, who in zip(self._segments(rows.columns), whos, strict=True)
            ]
            sent |= {
                Presence(project_id, segment, who, day) for project_id, (segment, who), day in _seen(rows, apart, days)
            }
        return sent - self._known

    def statements(
        self, rows: Rows[Columns], presences: Collection[Presence], slot: int
    ) -> list[tuple[Prepared, Mapping[str, object]]]:
        """Return the statements that store and count these presences of the rows, with their parameters."""
        if not presences:
            return []
        sent = as_json([_row(each, rows.projects[each.project_id]) for each in presences])
        return [(self._lock, {"sent": sent}), (self._count, {"sent": sent, "slot": slot})]

    def remember(self, presences: Collection[Presence]) -> None:
        """Do not ask the database for these again: they are committed."""
        if len(self._known) + len(presences) > PRESENCES_REMEMBERED:
            self._known.clear()
        self._known.update(presences)


def digest_of(who: str, presence_key: bytes) -> bytes:
    """Return what is stored in place of who is present; `verify-counts` computes the same in SQL."""
    return hashlib.sha256(presence_key + who.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def _row(presence: Presence, project: ProjectSettings) -> dict[str, object]:
    project_id, segment, who, day = presence
    digest = digest_of(who, project.presence_key).hex()
    return {"project_id": project_id, "segment": segment, "digest": digest, "day": day}


def _days(rows: Rows[Any]) -> Sequence[date]:
    """Return the day of each row in its project's zone."""
    if isinstance(rows.project_ids, Repeated) and isinstance(rows.received_at, Repeated) and not rows.occurred_at:
        day = rows.projects[rows.project_ids.value].days.day_of(rows.received_at.value)
        return Repeated(day, len(rows))
    day_of = {project_id: project.days.day_of for project_id, project in rows.projects.items()}
    return [day_of[project_id](at) for project_id, at in zip(rows.project_ids, rows.happened_at(), strict=True)]


def _seen(rows: Rows[Any], names: Sequence[Name | None], days: Sequence[date]) -> Iterable[tuple[int, Name, date]]:
    """Return project, name and day of all rows that have a name, each at least once."""
    if isinstance(rows.project_ids, Repeated) and isinstance(days, Repeated):
        # A batch without times: no Python code runs per row.
        return [(rows.project_ids.value, name, days.value) for name in set(names) if name is not None]
    different = set(zip(rows.project_ids, names, days, strict=True))
    return [(project_id, name, day) for project_id, name, day in different if name is not None]


def _lock_statement(fact: LiteralString) -> LiteralString:
    return f"""
    SELECT pg_advisory_xact_lock('public.{fact}_presence'::regclass::oid::int, part)
      FROM (SELECT DISTINCT hashint8(project_id::bigint * 16 + (get_byte(digest, 0) & 15)) AS part
            {_FRESH % (_SENT, fact)}
             ORDER BY part) AS parts
    """  # noqa: S608 - of constants of this package


def count_statement(fact: LiteralString, seen: LiteralString) -> LiteralString:
    """Return the statement that stores and counts the presences that are not stored yet, in the slot {slot}.

    `seen` is a SELECT of project_id, segment, digest, day. A fresh day that is the last one before a stored day moves
    that day's previous day.
    """
    return f"""
    WITH fresh AS (SELECT project_id, segment, digest, day {_FRESH % (seen, fact)}),
    placed AS (
        SELECT fresh.project_id, fresh.segment, fresh.digest, fresh.day,
               coalesce(greatest(earlier.day, lag(fresh.day) OVER of_one), '-infinity') AS previous_day,
               CASE WHEN later.day < coalesce(lead(fresh.day) OVER of_one, 'infinity') THEN later.day END AS next_day,
               later.previous_day AS moved_from
          FROM fresh
          LEFT JOIN LATERAL (
               SELECT p.day FROM {fact}_presence AS p
                WHERE p.project_id = fresh.project_id AND p.segment = fresh.segment
                  AND p.digest = fresh.digest AND p.day < fresh.day
                ORDER BY p.day DESC LIMIT 1) AS earlier ON true
          LEFT JOIN LATERAL (
               SELECT p.day, p.previous_day FROM {fact}_presence AS p
                WHERE p.project_id = fresh.project_id AND p.segment = fresh.segment
                  AND p.digest = fresh.digest AND p.day > fresh.day
                ORDER BY p.day LIMIT 1) AS later ON true
        WINDOW of_one AS (PARTITION BY fresh.project_id, fresh.segment, fresh.digest ORDER BY fresh.day)),
    stored AS (
        INSERT INTO {fact}_presence (project_id, segment, digest, day, previous_day)
        SELECT project_id, segment, digest, day, previous_day FROM placed ORDER BY 1, 2, 3, 4),
    moved AS (
        UPDATE {fact}_presence AS p SET previous_day = placed.day FROM placed
         WHERE p.project_id = placed.project_id AND p.segment = placed.segment
           AND p.digest = placed.digest AND p.day = placed.next_day)
    INSERT INTO {fact}_distinct AS d (project_id, segment, day, previous_day, slot, present_count)
    SELECT project_id, segment, day, previous_day, {{slot}}, sum(change)
      FROM (SELECT project_id, segment, day, previous_day, 1 AS change FROM placed
             UNION ALL
            SELECT project_id, segment, next_day, moved_from, -1 FROM placed WHERE next_day IS NOT NULL
             UNION ALL
            SELECT project_id, segment, next_day, day, 1 FROM placed WHERE next_day IS NOT NULL) AS changes
     GROUP BY 1, 2, 3, 4
    HAVING sum(change) <> 0
     ORDER BY 1, 2, 3, 4
        ON CONFLICT (project_id, segment, day, previous_day, slot)
        DO UPDATE SET present_count = d.present_count + excluded.present_count
    """  # noqa: S608 - of constants of this package
