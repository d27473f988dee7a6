"""A database that was upgraded is the same as one that was made today."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from contract.schema import SCHEMA_NEEDED
from device_registration_api.schema import migrations
from device_registration_api.schema.schemas import STATISTICS
from tests.schema.schema_steps import downgrade_to, dump, migrate, rows, run, upgrade_to

if TYPE_CHECKING:
    from tests.servers import Cluster

CATALOGUE = "SELECT * FROM maintenance.fact_table ORDER BY fact"


@pytest.mark.parametrize("server", ["cluster", "postgres16"])
def test_fresh_and_upgraded_and_downgraded_schemas_are_identical(server: str, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue(server)
    with cluster.new_database() as fresh_name, cluster.new_database() as upgraded_name:
        fresh, upgraded = cluster.admin_url(fresh_name), cluster.admin_url(upgraded_name)
        migrate(fresh)
        older = {}
        for revision in ("0001", "0002", "0003", "0006", "0008", "0009"):
            upgrade_to(upgraded, revision)
            older[revision] = dump(cluster.binaries, upgraded)
        migrate(upgraded)
        newest = dump(cluster.binaries, fresh)

        assert len(newest) > 300
        assert dump(cluster.binaries, upgraded) == newest

        for url in (fresh, upgraded):
            for revision, before in reversed(older.items()):
                downgrade_to(url, revision)
                # `migrate` has made weeks in the meantime, so they are left out here.
                assert without_weeks(dump(cluster.binaries, url)) == without_weeks(before)
            migrate(url)
            assert dump(cluster.binaries, url) == newest
            assert rows(url, "SELECT project_id, name, project_key FROM project") == [(1, "default", "default")]
        assert rows(fresh, CATALOGUE) == rows(upgraded, CATALOGUE)


def without_weeks(lines: list[str]) -> list[str]:
    """The statements of a dump that do not name a week's partition, sorted: partitions change their order."""
    statements = "\n".join(line for line in lines if not line.startswith("--")).split(";\n")
    kept = [
        each.strip() for each in statements if not re.search("(auth_event|api_request|measurement|store_event)_2", each)
    ]
    assert len(kept) < len(statements) or "auth_event_2" not in "".join(lines)
    return sorted(kept)


def test_an_upgrade_keeps_what_was_counted_and_fills_in_the_minutes(fresh_database: str) -> None:
    migrate(fresh_database)
    rows(
        fresh_database,
        """
        INSERT INTO auth_event
        SELECT 1, now(), gen_random_uuid(), moment, 'iOS', 'u'
          FROM unnest(ARRAY[now(), now() - interval '3 days', now() - interval '3 days', now() - interval '36 days'])
               AS moment;
        INSERT INTO auth_event_total VALUES (1, 'iOS', 0, 4);
        """,
    )
    downgrade_to(fresh_database, "0001")
    migrate(fresh_database)

    assert rows(fresh_database, "SELECT sum(event_count)::int FROM stats.auth_event_total") == [(4,)]
    minutes = """
        SELECT bucket_start = date_trunc('minute', now() - interval '3 days'), event_count::int
          FROM stats.auth_event_minute ORDER BY bucket_start
    """
    assert sorted(count for _, count in rows(fresh_database, minutes)) == [1, 2]


def test_the_first_revision_is_never_taken_back(fresh_database: str) -> None:
    assert run("downgrade", {"DATABASE_URL": fresh_database})[0] == 1  # empty
    migrate(fresh_database)
    downgrade_to(fresh_database, "0001")
    code, printed = run("downgrade", {"DATABASE_URL": fresh_database})
    assert (code, len(printed.splitlines())) == (1, 1)
    assert "0001 is the first" in printed
    assert rows(fresh_database, "SELECT count(*)::int FROM auth_event") == [(0,)]


def test_the_services_need_the_newest_revision() -> None:
    assert migrations.newest_revision(STATISTICS) == SCHEMA_NEEDED
