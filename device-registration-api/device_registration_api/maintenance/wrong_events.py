"""Deletes events that were sent by mistake, of one type or of one time; what was counted of them stays counted.

A count that was published does not change, as with any other deletion: `<fact>_retired` gets the sums.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from psycopg2 import sql

from device_registration_api.events.json_parameter import as_json
from device_registration_api.followers import FOLLOWERS
from device_registration_api.maintenance.arguments import project_id_of
from device_registration_api.maintenance.catalogue import FACT_TABLES, FactTable
from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.process.progress import NOT_SHOWN, Progress

# The rows that one transaction deletes: it takes some tens of milliseconds.
BATCH_ROWS = 5_000

NAMED_TYPE = sql.SQL("SELECT {column}::text FROM {types} WHERE project_id = %(project_id)s AND type = %(type)s")
COUNT = sql.SQL("""
    SELECT count(*) FROM {fact}
     WHERE project_id = %(project_id)s AND occurred_at >= %(starts)s AND occurred_at < %(ends)s
       AND (%(value)s::text IS NULL OR {column}::text = %(value)s)
""")
RETIRE = """
    SELECT maintenance.retire_group_rows(
           %(fact)s, %(project_id)s, %(groups)s::jsonb, %(starts)s, %(ends)s, %(rows)s)
"""


class WrongEvents(NamedTuple):
    """Which events of a project were sent by mistake. The times are those of the events; None is without a bound."""

    kind: str
    project_key: str
    type: str | None
    starts: datetime | None
    ends: datetime | None


class _Chosen(NamedTuple):
    table: FactTable
    parameters: dict[str, object]
    column: str
    value: str | None


def count_wrong_events(conn: Connection, wrong: WrongEvents) -> int:
    """Return how many they are.

    Raises:
        CommandError: there is no such project, kind or type, or the choice has no bound at all.
    """
    with conn:
        chosen = _choose(conn, wrong)
        statement = COUNT.format(fact=chosen.table.table(), column=sql.Identifier(chosen.column))
        [found] = fetch_all(conn, statement, chosen.parameters | {"value": chosen.value}, int)
    return found


def delete_wrong_events(
    conn: Connection,
    wrong: WrongEvents,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = NOT_SHOWN,
) -> int:
    """Delete them in small transactions, and return how many they were. It may be stopped and repeated at any time.

    Raises:
        CommandError: as `count_wrong_events`.
    """
    with conn:
        chosen = _choose(conn, wrong)
    groups = {} if chosen.value is None else {chosen.column: chosen.value}
    batch = chosen.parameters | {"fact": chosen.table.fact, "groups": as_json(groups), "rows": BATCH_ROWS}
    deleted = 0
    if chosen.table.presence_follows:
        # Or they would stay: the number of users counts them, too.
        FOLLOWERS[chosen.table.fact].catch_up(conn)
    while not stopping():
        with conn:
            [rows] = fetch_all(conn, RETIRE, batch, lambda count: count)
        if rows is None:
            break
        deleted += rows
        progress.advance(rows)
    return deleted


def _choose(conn: Connection, wrong: WrongEvents) -> _Chosen:
    if wrong.type is None and wrong.starts is None and wrong.ends is None:
        raise CommandError("name a type, a begin or an end: without one, all events of the project would be deleted")
    tables = {f"{table.fact}s": table for table in fetch_all(conn, FACT_TABLES, {}, FactTable)}
    if wrong.kind not in tables:
        message = f"there are no events of the kind {wrong.kind}, only {', '.join(tables)}"
        raise CommandError(message)
    table = tables[wrong.kind]
    project_id = project_id_of(conn, wrong.project_key)
    parameters: dict[str, object] = {
        "project_id": project_id,
        "starts": wrong.starts or "-infinity",
        "ends": wrong.ends or "infinity",
    }
    value = None if wrong.type is None else _value(conn, table, project_id, wrong.type)
    return _Chosen(table, parameters, table.type_column or "project_id", value)


def _value(conn: Connection, table: FactTable, project_id: int, type_: str) -> str:
    """Return the value of the type's column in the facts."""
    if table.type_column is None:
        message = f"events of the kind {table.fact}s have no type"
        raise CommandError(message)
    if table.type_table is None:
        return type_
    statement = NAMED_TYPE.format(
        column=sql.Identifier(table.type_column), types=sql.Identifier("public", table.type_table)
    )
    found: list[str] = fetch_all(conn, statement, {"project_id": project_id, "type": type_}, str)
    if not found:
        message = f"the project has no event of the type {type_}"
        raise CommandError(message)
    return found[0]
