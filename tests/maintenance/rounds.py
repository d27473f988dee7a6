"""What the tests of maintenance share: facts with their counts, rounds at a given time, and looking at the outcome."""

from __future__ import annotations

from contextlib import closing
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2

from device_registration_api.followers import FOLLOWERS
from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.maintain import maintain
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.maintenance.verify_counts import Verdict, verify_counts
from tests.database import rows

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

# An event with everything that is counted in its transaction, as the service does it.
RECORD = """
    WITH fact AS (
        INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
        VALUES (1, %(received_at)s, gen_random_uuid(), %(occurred_at)s, %(device_type)s, 'u')
        RETURNING project_id, device_type, occurred_at),
    total AS (
        INSERT INTO auth_event_total AS t (project_id, device_type, slot, event_count)
        SELECT project_id, device_type, 0, 1 FROM fact
            ON CONFLICT (project_id, device_type, slot) DO UPDATE SET event_count = t.event_count + 1),
    minute AS (
        INSERT INTO auth_event_minute AS m (project_id, device_type, bucket_start, slot, event_count)
        SELECT project_id, device_type, date_bin('1 minute', occurred_at, '2000-01-01Z'), 0, 1 FROM fact
            ON CONFLICT (project_id, device_type, bucket_start, slot) DO UPDATE SET event_count = m.event_count + 1)
    INSERT INTO auth_event_quarter_hour AS q (project_id, device_type, bucket_start, slot, event_count)
    SELECT project_id, device_type, date_bin('15 minutes', occurred_at, '2000-01-01Z'), 0, 1 FROM fact
        ON CONFLICT (project_id, device_type, bucket_start, slot) DO UPDATE SET event_count = q.event_count + 1
"""
WHERE_ROWS_ARE = """
    SELECT tableoid::regclass::text, count(*)::int FROM auth_event GROUP BY tableoid ORDER BY 1
"""


def settings(database: MigratedDatabase) -> DatabaseSettings:
    return DatabaseSettings.model_validate({name.lower(): value for name, value in database.writer_env.items()})


def as_writer(database: MigratedDatabase, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
    chosen = settings(database)
    with (
        closing(
            psycopg2.connect(
                host=chosen.db_host,
                port=chosen.db_port,
                dbname=chosen.db_name,
                user=chosen.db_user,
                password=chosen.db_password.get_secret_value(),
                # As the service has it: what maintenance makes a writer wait longer than this for, fails here.
                options="-c lock_timeout=500 -c statement_timeout=2000",
            )
        ) as conn,
        conn,
        conn.cursor() as cur,
    ):
        cur.execute(statement, parameters)
        return cur.fetchall() if cur.description else []


def as_administrator(database: MigratedDatabase, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
    return rows(database, statement, parameters)


def record(
    database: MigratedDatabase, *received: datetime, device_type: str = "iOS", occurred_at: datetime | None = None
) -> None:
    for moment in received:
        as_writer(database, RECORD, received_at=moment, occurred_at=occurred_at or moment, device_type=device_type)


def run_round(
    database: MigratedDatabase, now: datetime | None = None, retention_days: int = 400
) -> tuple[bool, list[str]]:
    """Whether all was well, and the lines that were reported."""
    lines: list[str] = []
    ok = maintain(settings(database), retention_days, lines.append, now=now)
    return ok, lines


def follow(database: MigratedDatabase) -> None:
    """Count the users of all events that are stored."""
    with closing(connect(settings(database), statement_seconds_max=60)) as conn:
        FOLLOWERS["auth_event"].catch_up(conn)


def create_partition(database: MigratedDatabase, week: date, fact: str = "auth_event") -> None:
    as_writer(database, "SELECT maintenance.create_partition(%(fact)s, %(week)s)", fact=fact, week=week)


def places(database: MigratedDatabase) -> dict[str, int]:
    """Partition -> number of rows."""
    return dict(as_writer(database, WHERE_ROWS_ARE))


def verify(database: MigratedDatabase) -> Verdict:
    chosen = settings(database)
    with closing(
        psycopg2.connect(
            host=chosen.db_host,
            port=chosen.db_port,
            dbname=chosen.db_name,
            user=chosen.db_user,
            password=chosen.db_password.get_secret_value(),
        )
    ) as conn:
        return verify_counts(conn, partial(connect, chosen, statement_seconds_max=60))
