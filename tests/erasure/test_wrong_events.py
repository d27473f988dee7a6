"""Events that were sent by mistake are counted first, deleted on request, and stay in every figure."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg2
import pytest

from device_registration_api.maintenance import wrong_events
from tests.citus_nodes import forget_commits
from tests.maintenance.rounds import as_administrator, record, verify
from tests.schema.schema_steps import run

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

NOW = datetime.now(UTC)
DAYS = [NOW - timedelta(days=each) for each in range(6)]
COUNTS = "SELECT (SELECT count(*)::int FROM auth_event), (SELECT sum(event_count)::int FROM auth_event_total)"


def test_they_are_counted_first_and_deleted_on_request(
    database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrong_events, "BATCH_ROWS", 1)
    record(database, *DAYS)
    forget_commits(database.admin_url)
    chosen = ("auth_events", "default", "--type", "iOS", "--from", DAYS[3].isoformat(), "--to", DAYS[1].isoformat())
    code, printed = run("delete-events", database.writer_env, *chosen)
    assert (code, printed) == (0, "2 events would be deleted, and stay counted; repeat with --yes\n")
    assert as_administrator(database, COUNTS) == [(6, 6)]
    for deleted in (2, 0):
        code, printed = run("delete-events", database.writer_env, *chosen, "--yes")
        assert (code, printed) == (0, f"{deleted} events were deleted; they stay counted\n")
        assert as_administrator(database, COUNTS) == [(4, 6)]
    assert verify(database).drifts == []

    others = (("--type", "TV"), ("--to", DAYS[5].isoformat()))
    for other in others:
        assert run("delete-events", database.writer_env, "auth_events", "default", *other, "--yes")[1].startswith("0 ")
    assert as_administrator(database, COUNTS) == [(4, 6)]

    refused = {
        "name a type, a begin or an end": ("auth_events", "default"),
        "there are no events of the kind idempotency": ("idempotency", "default", "--type", "x"),
        "there is no project stranger": ("auth_events", "stranger", "--type", "iOS"),
        "events of the kind api_requests have no type": ("api_requests", "default", "--type", "x"),
        "no event of the type": ("store_events", "default", "--type", "x"),
    }
    for reason, arguments in refused.items():
        code, printed = run("delete-events", database.writer_env, *arguments, "--yes")
        assert (code, reason in printed) == (1, True), printed
    code, printed = run("delete-events", database.writer_env, "auth_events", "default", "--from", "yesterday")
    assert (code, "--from: a time with a zone is needed" in printed) == (2, True), printed


def test_those_behind_an_open_transaction_are_left_and_it_says_so(database: MigratedDatabase) -> None:
    chosen = ("auth_events", "default", "--type", "iOS", "--yes")
    with closing(psycopg2.connect(database.admin_url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        record(database, NOW)
        code, printed = run("delete-events", database.writer_env, *chosen)
        assert (code, printed.splitlines()[0]) == (1, "0 events were deleted; they stay counted")
        assert "1 are left, because a transaction is open" in printed
        assert as_administrator(database, COUNTS) == [(1, 1)]
    forget_commits(database.admin_url)
    assert run("delete-events", database.writer_env, *chosen) == (0, "1 events were deleted; they stay counted\n")
    assert as_administrator(database, COUNTS) == [(0, 1)]
