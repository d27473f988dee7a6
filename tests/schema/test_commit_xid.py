"""A reader of facts that goes on where it stopped skips none, however late it was committed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2

from tests.schema.schema_steps import rows

if TYPE_CHECKING:
    from servicekit.database import Connection
    from tests.servers import MigratedDatabase

NEXT = """
    SELECT user_key, pg_snapshot_xmin(pg_current_snapshot())::text::bigint
      FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS stop) AS bound
      LEFT JOIN auth_event ON commit_xid >= %(start)s AND commit_xid < stop
"""


def record(conn: Connection, user_key: str) -> None:
    with conn.cursor() as cur:
        cur.execute(
            "INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key) "
            "VALUES (1, now(), gen_random_uuid(), now(), 'iOS', %(user_key)s)",
            {"user_key": user_key},
        )


class Reader:
    """Remembers where it stopped, and what it has read."""

    def __init__(self, conn: Connection) -> None:
        self.read: list[str] = []
        self._conn = conn
        self._start = 0

    def go_on(self) -> list[str]:
        with self._conn, self._conn.cursor() as cur:
            cur.execute(NEXT, {"start": self._start})
            found = cur.fetchall()
        self._start = found[0][1]
        self.read += [user_key for user_key, _ in found if user_key is not None]
        return self.read


def test_a_fact_that_was_committed_late_is_read_once_and_not_skipped(database: MigratedDatabase) -> None:
    with (
        closing(psycopg2.connect(database.admin_url)) as slow,
        closing(psycopg2.connect(database.admin_url)) as fast,
        closing(psycopg2.connect(database.admin_url)) as third,
    ):
        reader = Reader(third)
        record(slow, "late")
        record(fast, "early")
        fast.commit()
        # The early one waits for the late one, whose number is smaller.
        assert reader.go_on() == []
        slow.commit()
        assert sorted(reader.go_on()) == ["early", "late"]
        record(fast, "next")
        fast.commit()
        assert sorted(reader.go_on()) == ["early", "late", "next"]


def test_copied_facts_carry_their_transaction_too(database: MigratedDatabase) -> None:
    found = rows(
        database.admin_url,
        """
        BEGIN;
        CREATE TEMPORARY TABLE now_xid ON COMMIT DROP AS SELECT pg_current_xact_id()::text::bigint AS xid;
        COPY auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
            FROM PROGRAM $$printf '1,2030-01-01,018f0000-0000-7000-8000-000000000001,2030-01-01,iOS,u\n'$$ (FORMAT csv);
        SELECT count(*)::int FROM auth_event JOIN now_xid ON commit_xid = xid;
        """,
    )
    assert found == [(1,)]


def test_the_reader_needs_no_scan_of_every_fact(database: MigratedDatabase) -> None:
    plan = rows(
        database.admin_url,
        "SET enable_seqscan = off; EXPLAIN SELECT FROM auth_event WHERE commit_xid >= 7 AND commit_xid < 9",
    )
    assert all("Seq Scan" not in str(line) for (line,) in plan)
    assert any("Bitmap Index Scan" in str(line) and "commit_xid" in str(line) for (line,) in plan)
