"""No published figure moves when rows leave: any history, any weeks and any project's old rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_registration_api.maintenance.partitions import WEEK, week_of
from tests.events.test_presences import Writer, distinct, rows_of
from tests.maintenance.rounds import as_administrator, create_partition, run_round, verify
from tests.servers import Cluster, MigratedDatabase

NOW = datetime.now(UTC)
# All that figures are made of, but minutes, which end by themselves.
SOURCES = ("quarter_hour", "day", "endpoint_quarter_hour", "endpoint_day", "distinct")
EVENTS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 29), st.integers(0, 3), st.integers(0, 10**6)), min_size=1, max_size=12
)


class Retaining(NamedTuple):
    database: MigratedDatabase
    writer: Writer


@pytest.fixture(scope="module")
def retaining(cluster: Cluster, template: str) -> Iterator[Retaining]:
    with cluster.new_database(template) as name:
        database = MigratedDatabase(cluster.admin_url(name))
        for weeks in range(1, 10):
            create_partition(database, week_of(NOW) - weeks * WEEK, "api_request")
        writer = Writer(database, 0)
        yield Retaining(database, writer)
        writer.database.close()


def published(database: MigratedDatabase) -> list[object]:
    """Every row that a figure of API requests is made of, and distinct numbers of some ranges."""
    rows = [
        as_administrator(database, f"SELECT each::text FROM stats.api_request_{source} AS each ORDER BY 1")  # noqa: S608
        for source in SOURCES
    ]
    days = [(NOW - timedelta(days=back)).date() for back in (90, 45, 20, 5, -1)]
    return [rows, [distinct(database, 1, first, end) for first, end in pairwise(days)]]


@settings(max_examples=8, deadline=None)
@given(EVENTS, st.sampled_from([None, 3, 10, 25]), st.sampled_from([0, 15, 40]))
def test_figures_are_the_same_before_and_after_a_round(
    retaining: Retaining, events: list[tuple[int, int, int, int]], project_days: int | None, days: int
) -> None:
    for received_back, late, who, response_us in events:
        received_at = NOW - timedelta(days=received_back)
        rows = rows_of(1, [(f"c-{who}" if who else None, received_at - timedelta(days=late))])
        rows.columns.response_us[0] = response_us
        retaining.writer.write_rows(replace(rows, received_at=[received_at]))
    as_administrator(
        retaining.database, "UPDATE project SET retention_days = %(days)s WHERE project_id = 1", days=project_days
    )
    before = published(retaining.database)

    assert run_round(retaining.database, retention_days=days)[0]

    assert published(retaining.database) == before
    assert verify(retaining.database).drifts == []
    kept = 10_000 if project_days is None else project_days
    oldest = "SELECT count(*)::int FROM api_request WHERE received_at < now() - %(days)s * interval '1 day'"
    assert as_administrator(retaining.database, oldest, days=kept) == [(0,)]
