"""How many different consumers there were in a range of days, exactly."""

from datetime import date
from typing import NamedTuple

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

# Of the days in the range on which someone was present, only the first has a previous day before the range.
DISTINCT = """
    SELECT coalesce(sum(present_count), 0)::bigint,
           coalesce(sum(present_count) FILTER (WHERE previous_day = '-infinity'), 0)::bigint
      FROM stats.api_request_distinct
     WHERE project_id = %(project_id)s
       AND segment = 0
       AND day >= %(first)s
       AND day < %(end)s
       AND previous_day < %(first)s
"""


class Distinct(NamedTuple):
    """The number of different consumers, and of those among them who were never seen before the range."""

    total: int
    new: int


def distinct_consumers(conn: Connection, project_id: int, first: date, end: date) -> Distinct:
    """Count over the days from `first` until before `end`, which are those of the project's zone."""
    [found] = fetch_all(conn, DISTINCT, {"project_id": project_id, "first": first, "end": end}, Distinct)
    return found
