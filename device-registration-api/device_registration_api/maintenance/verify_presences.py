"""Compares presences with the facts, with each other, and with the rollup that distinct numbers come from."""

from collections.abc import Iterator

from psycopg2 import sql

from device_registration_api.maintenance.catalogue import FactTable
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

# The facts that a follower will reach later, as a condition.
NOT_FOLLOWED = "SELECT maintenance.not_followed(%(fact)s)"
# A day of any zone begins and ends within a day of the day (UTC) of the same name. The zone may have changed since.
FACTS_OF_NOBODY = sql.SQL("""
    SELECT project_id, count(*)
      FROM (SELECT DISTINCT project_id, {who} AS who, (occurred_at AT TIME ZONE 'UTC')::date AS day
              FROM {facts} AS f
             WHERE {who} IS NOT NULL AND NOT {not_followed}) AS seen
      LEFT JOIN project USING (project_id)
     WHERE deleted_at IS NULL AND NOT EXISTS (
           SELECT FROM {presence} AS p
            WHERE p.project_id = seen.project_id AND p.segment = 0 AND p.day BETWEEN seen.day - 1 AND seen.day + 1
              AND p.digest = substr(sha256(coalesce(presence_key, '') || convert_to(who::text, 'UTF8')), 1, 16))
     GROUP BY project_id
     ORDER BY project_id
""")
# The rows of a project that is being deleted leave table by table.
IS_THERE = sql.SQL("project_id NOT IN (SELECT project_id FROM project WHERE deleted_at IS NOT NULL)")
WRONG_PREVIOUS_DAYS = sql.SQL("""
    SELECT project_id, count(*)
      FROM (SELECT project_id, previous_day,
                   lag(day, 1, '-infinity') OVER (PARTITION BY project_id, segment, digest ORDER BY day) AS expected
              FROM {presence}) AS placed
     WHERE previous_day <> expected AND {is_there}
     GROUP BY project_id
     ORDER BY project_id
""")
WRONG_DISTINCT = sql.SQL("""
    SELECT project_id, segment, day::text, previous_day::text, sum(counted), sum(found)
      FROM (SELECT project_id, segment, day, previous_day, present_count AS counted, 0 AS found FROM {distinct}
             UNION ALL
            SELECT project_id, segment, day, previous_day, 0, 1 FROM {presence}
            {retired}) AS both_ways
     WHERE {is_there}
     GROUP BY project_id, segment, day, previous_day
    HAVING sum(counted) <> sum(found)
     ORDER BY project_id, segment, day, previous_day
""")
# The presences of erased persons stay counted.
RETIRED = sql.SQL("UNION ALL SELECT project_id, segment, day, previous_day, 0, present_count FROM {distinct_retired}")


def presence_drifts(conn: Connection, table: FactTable) -> Iterator[str]:
    """Return one sentence for each difference. The caller owns the snapshot."""
    if table.presence_column is None:
        return
    names = {
        "facts": table.table(),
        "who": sql.Identifier(table.presence_column),
        "presence": table.table("presence"),
        "distinct": table.table("distinct"),
        "not_followed": sql.SQL(fetch_all(conn, NOT_FOLLOWED, {"fact": table.fact}, str)[0]),
        "is_there": IS_THERE,
        "retired": RETIRED.format(distinct_retired=table.table("distinct_retired"))
        if table.has_presences_of_persons
        else sql.SQL(""),
    }
    for project_id, count in fetch_all(conn, FACTS_OF_NOBODY.format(**names), {}, lambda *row: row):
        yield f"{table.fact}, project {project_id}: {count} of those in the facts were present on no day"
    for project_id, count in fetch_all(conn, WRONG_PREVIOUS_DAYS.format(**names), {}, lambda *row: row):
        yield f"{table.fact}, project {project_id}: {count} presences have another previous day"
    for project_id, segment, day, previous_day, counted, found in fetch_all(
        conn, WRONG_DISTINCT.format(**names), {}, lambda *row: row
    ):
        yield (
            f"{table.fact}, project {project_id}, segment {segment}, {day} after {previous_day}: "
            f"{counted} counted, {found} presences ({counted - found:+f})"
        )
