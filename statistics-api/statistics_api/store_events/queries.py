"""Reads of store events: SELECT from the `stats` schema and nothing else."""

from datetime import date

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from statistics_api.pages import Page
from statistics_api.time_series.users import Users

# By the primary key, from its end: the slots of a day follow each other, so a page costs its days and those before it.
AMOUNTS = """
    SELECT day, sum(event_count)::bigint
      FROM stats.store_event_day
     WHERE project_id = %(project_id)s
       AND type_id = (SELECT type_id FROM stats.event_type WHERE project_id = %(project_id)s AND type = %(type)s)
     GROUP BY day
     ORDER BY day DESC
    OFFSET %(offset)s LIMIT %(limit)s
"""
TYPES = """
    SELECT type
      FROM stats.event_type
     WHERE project_id = %(project_id)s
     ORDER BY type_id
    OFFSET %(offset)s LIMIT %(limit)s
"""
AMOUNTS_OF_ALL_TYPES = """
    SELECT day, sum(event_count)::bigint
      FROM stats.store_event_all_day
     WHERE project_id = %(project_id)s
     GROUP BY day
     ORDER BY day DESC
    OFFSET %(offset)s LIMIT %(limit)s
"""
# Everyone who was present on a day is counted there once, whatever the day before was.
AVERAGES = """
    WITH asked AS (SELECT type_id FROM stats.event_type WHERE project_id = %(project_id)s AND type = %(type)s),
    page AS (
        SELECT day, sum(event_count) AS events
          FROM stats.store_event_day
         WHERE project_id = %(project_id)s AND type_id = (SELECT type_id FROM asked)
         GROUP BY day
         ORDER BY day DESC
        OFFSET %(offset)s LIMIT %(limit)s)
    SELECT page.day, (page.events / present.users)::float8
      FROM page
      JOIN LATERAL (
           SELECT sum(present_count) AS users FROM stats.store_event_distinct
            WHERE project_id = %(project_id)s AND segment = (SELECT type_id FROM asked) AND day = page.day) AS present
        ON present.users > 0
     ORDER BY page.day DESC
"""
# init.sql, section 3, says why each user is counted once. Segment 0 has the events of all types.
USERS = """
    SELECT coalesce(sum(present_count), 0)::bigint,
           coalesce(sum(present_count) FILTER (WHERE previous_day = '-infinity'), 0)::bigint
      FROM stats.store_event_distinct
     WHERE project_id = %(project_id)s
       AND segment = CASE WHEN %(type)s::text IS NULL THEN 0
                          ELSE (SELECT type_id FROM stats.event_type
                                 WHERE project_id = %(project_id)s AND type = %(type)s) END
       AND day BETWEEN %(first)s AND %(last)s
       AND previous_day < %(first)s
"""


def types(lease: Lease, project_id: int, page: Page) -> list[str]:
    """Return the types of events that a store has recorded, in the order of their first event."""
    with lease.transaction() as conn:
        return fetch_all(conn, TYPES, {"project_id": project_id, **page._asdict()}, str)


def amounts(lease: Lease, project_id: int, type_: str | None, page: Page) -> list[tuple[date, int]]:
    """Return the number of events of each day that had any, of one type or of all."""
    statement = AMOUNTS_OF_ALL_TYPES if type_ is None else AMOUNTS
    parameters = {"project_id": project_id, "type": type_, **page._asdict()}
    with lease.transaction() as conn:
        return fetch_all(conn, statement, parameters, lambda day, events: (day, events))


def averages(lease: Lease, project_id: int, type_: str, page: Page) -> list[tuple[date, float]]:
    """Return the number of events of a type for each user of the day, for the same days."""
    parameters = {"project_id": project_id, "type": type_, **page._asdict()}
    with lease.transaction() as conn:
        return fetch_all(conn, AVERAGES, parameters, lambda day, average: (day, average))


def users(lease: Lease, project_id: int, type_: str | None, first: date, last: date) -> Users:
    """Return the numbers of users from the first day to the last, both included."""
    parameters = {"project_id": project_id, "type": type_, "first": first, "last": last}
    with lease.transaction() as conn:
        [found] = fetch_all(conn, USERS, parameters, Users)
    return found
