"""A fact table beside auth_event, as a kind of its own would add it: other groups, a sum, and no total."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.maintenance.rounds import as_administrator, as_writer

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

TABLES = """
    SET ROLE stats_owner;
    CREATE TABLE reading (
        project_id  int         NOT NULL,
        received_at timestamptz NOT NULL,
        event_id    uuid        NOT NULL,
        occurred_at timestamptz NOT NULL,
        "Room"      text        NOT NULL,
        sensor      int         NOT NULL,
        celsius     float8,
        commit_xid  bigint      NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
        PRIMARY KEY (project_id, received_at, event_id)
    ) PARTITION BY RANGE (received_at);
    CREATE INDEX reading_commit_xid ON reading USING brin (commit_xid);
    CREATE TABLE reading_default PARTITION OF reading DEFAULT;
    CREATE TABLE reading_quarter_hour (
        project_id   int         NOT NULL,
        "Room"       text        NOT NULL,
        sensor       int         NOT NULL,
        bucket_start timestamptz NOT NULL,
        slot         smallint    NOT NULL,
        event_count  bigint      NOT NULL,
        celsius_sum  numeric     NOT NULL,
        PRIMARY KEY (project_id, "Room", sensor, bucket_start, slot)
    );
    CREATE TABLE reading_minute (LIKE reading_quarter_hour INCLUDING ALL);
    CREATE TABLE reading_retired (
        project_id  int     NOT NULL,
        "Room"      text    NOT NULL,
        sensor      int     NOT NULL,
        event_count bigint  NOT NULL,
        celsius_sum numeric NOT NULL,
        PRIMARY KEY (project_id, "Room", sensor)
    );
    GRANT SELECT, INSERT ON reading TO registration_writer;
    GRANT SELECT ON reading_default, reading_retired TO registration_writer;
    GRANT SELECT, INSERT, UPDATE, DELETE ON reading_quarter_hour, reading_minute TO registration_writer;
    INSERT INTO maintenance.fact_table (fact, group_columns, sum_columns, rollups)
    VALUES ('reading', '{project_id,Room,sensor}', '{celsius}', '{quarter_hour,minute}');
"""
RECORD = """
    WITH fact AS (
        INSERT INTO reading (project_id, received_at, event_id, occurred_at, "Room", sensor, celsius)
        VALUES (1, %(at)s, gen_random_uuid(), %(at)s, %(room)s, 7, %(celsius)s)
        RETURNING project_id, "Room", sensor, occurred_at, coalesce(celsius::text::numeric, 0) AS celsius),
    minute AS (
        INSERT INTO reading_minute AS m
        SELECT project_id, "Room", sensor, date_bin('1 minute', occurred_at, '2000-01-01Z'), 0, 1, celsius FROM fact
            ON CONFLICT (project_id, "Room", sensor, bucket_start, slot)
            DO UPDATE SET event_count = m.event_count + 1, celsius_sum = m.celsius_sum + excluded.celsius_sum)
    INSERT INTO reading_quarter_hour AS q
    SELECT project_id, "Room", sensor, date_bin('15 minutes', occurred_at, '2000-01-01Z'), 0, 1, celsius FROM fact
        ON CONFLICT (project_id, "Room", sensor, bucket_start, slot)
        DO UPDATE SET event_count = q.event_count + 1, celsius_sum = q.celsius_sum + excluded.celsius_sum
"""


def add_reading(database: MigratedDatabase) -> None:
    as_administrator(database, TABLES)


def record_reading(
    database: MigratedDatabase, *moments: datetime, celsius: float | None = 0.1, room: str = "hall"
) -> None:
    for moment in moments:
        as_writer(database, RECORD, at=moment, celsius=celsius, room=room)
