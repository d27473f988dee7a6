"""The kinds of event that the spine is tested with: those that are delivered, and one that uses what they do not.

A body is a small number: what an event says. A kind turns bodies into its columns; two events say the same if and
only if their bodies are equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from psycopg2 import sql
from pydantic import JsonValue

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import DeviceType
from contract.delivery import EventColumns
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events.counting import per_minute
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import Counted, EventTable, FactColumn, Rollup
from servicekit.database.copy_encoding import FLOAT8, JSONB, TEXT

# Bodies that only the database refuses, or that cannot even be sent to it.
POISON = {100: "refused-by-the-database", 101: "a\0b", 102: "\ud800"}
BODIES = range(6)


@dataclass(frozen=True)
class KindUnderTest:
    """A kind, how its events are made, and what must be stored of them."""

    table: EventTable[Any]
    columns: Callable[[Sequence[int]], EventColumns]
    # (event_id, body) of every fact of project %(project_id)s.
    facts: sql.SQL
    # Takes the fact %(event_id)s of project %(project_id)s away.
    erase: sql.SQL
    # Must find nothing: rollups that differ from what the facts of project %(project_id)s say.
    drift: Sequence[sql.SQL]
    # What a client gets back of a stored event, if anything.
    row: Callable[[int], JsonValue] = field(default=lambda _: None)
    # Run by the administrator in the migrated database.
    schema: sql.SQL = field(default_factory=lambda: sql.SQL(""))


def auth_event_columns(bodies: Sequence[int]) -> AuthEventColumns:
    return AuthEventColumns.model_construct(
        user_keys=[POISON.get(body, f"body-{body}") for body in bodies],
        device_types=[list(DeviceType)[body % 4] for body in bodies],
    )


_AUTH_EVENT_FACTS = "SELECT project_id, device_type, occurred_at FROM auth_event WHERE project_id = %(project_id)s"

AUTH_EVENTS_UNDER_TEST = KindUnderTest(
    AUTH_EVENTS,
    auth_event_columns,
    facts=sql.SQL("SELECT event_id::text, substr(user_key, 6)::int FROM auth_event WHERE project_id = %(project_id)s"),
    erase=sql.SQL("DELETE FROM auth_event WHERE project_id = %(project_id)s AND event_id = %(event_id)s"),
    drift=[
        sql.SQL(f"""
            SELECT bucket, sum(counted), sum(found)
              FROM (SELECT {bucket} AS bucket, event_count AS counted, 0 AS found, device_type
                      FROM auth_event_{rollup} WHERE project_id = %(project_id)s
                     UNION ALL
                    SELECT {expression}, 0, 1, device_type FROM ({_AUTH_EVENT_FACTS}) AS fact) AS both_ways
             GROUP BY bucket, device_type HAVING sum(counted) <> sum(found)
        """)  # noqa: S608 - names of ours
        for rollup, bucket, expression in (
            ("total", "NULL::timestamptz", "NULL::timestamptz"),
            ("quarter_hour", "bucket_start", "date_bin('15 minutes', occurred_at, 'epoch')"),
            ("minute", "bucket_start", "date_bin('1 minute', occurred_at, 'epoch')"),
        )
    ],
    schema=sql.SQL("ALTER TABLE auth_event ADD CONSTRAINT no_poison CHECK (user_key <> 'refused-by-the-database')"),
)


class ReadingColumns(EventColumns):
    """A kind whose clients get the stored row, with a column that few events have and a rollup of sums."""

    names: list[str]
    values: list[float]
    details: dict[int, JsonValue]


def reading_columns(bodies: Sequence[int]) -> ReadingColumns:
    return ReadingColumns.model_construct(
        names=[POISON.get(body, "name") for body in bodies],
        values=[body / 4 for body in bodies],
        details={position: {"body": [body]} for position, body in enumerate(bodies) if body % 2},
    )


def count_readings(rows: Rows[ReadingColumns]) -> list[Counted]:
    minutes = per_minute(rows, rows.columns.values)
    return [
        [
            {"project_id": each.project_id, "bucket_start": each.bucket_start, "total": each.group * each.events}
            for each in minutes
        ]
    ]


READINGS: EventTable[ReadingColumns] = EventTable(
    "readings",
    "reading",
    model=ReadingColumns,
    columns=(
        FactColumn("name", TEXT, "names"),
        FactColumn("value", FLOAT8, "values"),
        FactColumn("detail", JSONB, "details"),
    ),
    rollups=(
        Rollup(
            "reading_minute",
            """
            INSERT INTO reading_minute AS m (project_id, bucket_start, slot, total)
            SELECT project_id, bucket_start, {slot}, sum(total)
              FROM json_to_recordset({counted}::json)
                AS counted(project_id int, bucket_start timestamptz, total float8)
             GROUP BY 1, 2
             ORDER BY 1, 2
                ON CONFLICT (project_id, bucket_start, slot) DO UPDATE SET total = m.total + excluded.total
            """,
        ),
    ),
    count=count_readings,
    exported={"eventId": "event_id", "name": "name", "value": "value", "detail": "detail"},
    returned="number, value, detail",
)

READINGS_UNDER_TEST = KindUnderTest(
    READINGS,
    reading_columns,
    facts=sql.SQL("SELECT event_id::text, (value * 4)::int FROM reading WHERE project_id = %(project_id)s"),
    erase=sql.SQL("DELETE FROM reading WHERE project_id = %(project_id)s AND event_id = %(event_id)s"),
    drift=[
        sql.SQL("""
            SELECT sum(total) FROM (
                SELECT total FROM reading_minute WHERE project_id = %(project_id)s
                 UNION ALL SELECT -value FROM reading WHERE project_id = %(project_id)s) AS both_ways
            HAVING sum(total) <> 0
        """)
    ],
    row=lambda body: {"value": body / 4, "detail": cast("JsonValue", {"body": [body]} if body % 2 else None)},
    schema=sql.SQL("""
        CREATE TABLE reading (
            project_id int, received_at timestamptz, event_id uuid, occurred_at timestamptz NOT NULL,
            number bigint GENERATED ALWAYS AS IDENTITY, name text CHECK (name <> 'refused-by-the-database'),
            value float8, detail jsonb,
            PRIMARY KEY (project_id, received_at, event_id));
        CREATE TABLE reading_minute (
            project_id int, bucket_start timestamptz, slot smallint, total float8,
            PRIMARY KEY (project_id, bucket_start, slot));
        GRANT SELECT, INSERT, UPDATE, DELETE ON reading, reading_minute TO registration_writer;
    """),
)

KINDS = [AUTH_EVENTS_UNDER_TEST, READINGS_UNDER_TEST]
