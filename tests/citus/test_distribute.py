"""A migrated database becomes a distributed one, with what was recorded before, and it can be asked for again."""

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime

import psycopg2
import pytest

from local.database import base_environment, migrate
from tests.citus_nodes import CitusCluster
from tests.database import rows
from tests.maintenance.rounds import as_writer, record, run_round, verify
from tests.servers import READER, WRITER, Cluster, MigratedDatabase, finished_command, run_command

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DISTRIBUTED = "SELECT count(*) FROM pg_dist_partition"


@pytest.fixture
def nodes(cluster: Cluster) -> CitusCluster:
    assert isinstance(cluster, CitusCluster)
    return cluster


@pytest.fixture
def migrated(nodes: CitusCluster) -> Iterator[MigratedDatabase]:
    """A migrated database on a coordinator that has no worker yet; the extension is on each node."""
    with nodes.new_database() as name:
        migrate(nodes.admin_url(name), WRITER, READER, base_environment())
        yield MigratedDatabase(nodes.admin_url(name))


def distribute(database: MigratedDatabase, *arguments: str) -> str:
    return run_command({"DATABASE_URL": database.admin_url}, "distribute", *arguments)


def to_do(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("  to do:")]


def facts_of_node(url: str) -> int:
    """What one node has of the facts by itself: its shards, or the local table."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET citus.show_shards_for_app_name_prefixes = '*'")  # else a node hides them
        cursor.execute(
            "SELECT coalesce(sum(pg_relation_size(oid)), 0)::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relname ~ '^auth_event_(2|d)'"
        )
        return int(cursor.fetchall()[0][0])


def test_what_was_recorded_before_is_on_the_workers_and_counted_as_before(
    nodes: CitusCluster, migrated: MigratedDatabase
) -> None:
    record(migrated, *[NOW] * 50)
    before = verify(migrated).counts

    distribute(migrated, *nodes.worker_arguments())

    found = verify(migrated)
    assert found.drifts == []
    assert found.counts == before
    coordinator, *workers = [facts_of_node(url) for url in nodes.node_urls(name_of(migrated))]
    assert coordinator == 0
    assert all(workers)
    record(migrated, NOW)
    assert rows(migrated, "SELECT count(*) FROM auth_event") == [(51,)]


def test_a_dry_run_prints_the_plan_and_changes_nothing(nodes: CitusCluster, migrated: MigratedDatabase) -> None:
    printed = distribute(migrated, "--dry-run", *nodes.worker_arguments())
    assert any("distribute auth_event by event_id" in line for line in to_do(printed))
    assert rows(migrated, DISTRIBUTED) == [(0,)]
    assert rows(migrated, "SELECT count(*) FROM pg_dist_node") == [(0,)]


def test_a_second_time_only_what_is_done_each_time_is_left(nodes: CitusCluster, migrated: MigratedDatabase) -> None:
    distribute(migrated, *nodes.worker_arguments())
    before = rows(migrated, DISTRIBUTED)
    printed = distribute(migrated, *nodes.worker_arguments())
    assert not [line for line in to_do(printed) if "distribute " in line or "worker 1" in line]
    assert rows(migrated, DISTRIBUTED) == before


def test_a_run_that_was_stopped_half_way_goes_on(nodes: CitusCluster, migrated: MigratedDatabase) -> None:
    record(migrated, *[NOW] * 5)
    distribute(migrated, *nodes.worker_arguments(), "--dry-run")
    # What a run leaves that ended after its first table, and before the local rows were removed.
    url = migrated.admin_url
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(
            "SELECT citus_set_coordinator_host(%(host)s, %(port)s)", {"host": nodes.host, "port": nodes.port}
        )
        for host, port in nodes.workers:
            cursor.execute("SELECT citus_add_node(%(host)s, %(port)s)", {"host": host, "port": port})
        cursor.execute("SELECT create_distributed_table('auth_event', 'event_id', shard_count => 4)")
    assert facts_of_node(url) > 0
    printed = distribute(migrated)
    assert "  to do: remove what was auth_event on the coordinator" in printed
    assert facts_of_node(url) == 0
    assert verify(migrated).drifts == []
    assert to_do(distribute(migrated)) == to_do(distribute(migrated))


def test_without_a_worker_nothing_is_distributed(migrated: MigratedDatabase) -> None:
    refused = finished_command({"DATABASE_URL": migrated.admin_url}, "distribute")
    assert (refused.returncode, refused.stderr) == (
        1,
        "distribute: there is no worker: name each with --worker HOST:PORT\n",
    )


@pytest.mark.parametrize("dry_run", [("--dry-run",), ()], ids=["dry", "not dry"])
def test_a_worker_without_the_extension_is_refused_by_name_and_nothing_is_changed(
    nodes: CitusCluster, migrated: MigratedDatabase, dry_run: tuple[str, ...]
) -> None:
    host, port = nodes.workers[-1]
    with closing(psycopg2.connect(nodes.node_urls(name_of(migrated))[-1])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("DROP EXTENSION citus")
    refused = finished_command({"DATABASE_URL": migrated.admin_url}, "distribute", *dry_run, *nodes.worker_arguments())
    assert refused.returncode == 1
    assert f"node {host}:{port} has no extension citus" in refused.stderr
    assert rows(migrated, "SELECT count(*) FROM pg_dist_node") == [(0,)]


def test_a_worker_that_does_not_answer_is_refused_by_name(migrated: MigratedDatabase) -> None:
    refused = finished_command({"DATABASE_URL": migrated.admin_url}, "distribute", "--worker", "127.0.0.1:1")
    assert refused.returncode == 1
    assert "distribute: node 127.0.0.1:1: " in refused.stderr
    assert rows(migrated, "SELECT count(*) FROM pg_dist_node") == [(0,)]


def test_the_coordinator_is_no_worker(nodes: CitusCluster, migrated: MigratedDatabase) -> None:
    itself = f"{nodes.host}:{nodes.port}"
    refused = finished_command({"DATABASE_URL": migrated.admin_url}, "distribute", "--worker", itself)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"distribute: node {itself} is the same server as the coordinator\n",
    )
    assert rows(migrated, "SELECT count(*) FROM pg_dist_node") == [(0,)]


def test_a_worker_is_no_coordinator(nodes: CitusCluster, database: MigratedDatabase) -> None:
    url = nodes.node_urls(name_of(database))[1]
    refused = finished_command({"DATABASE_URL": url}, "distribute")
    assert refused.returncode == 1
    assert rows(database, "SELECT count(*) > 0 FROM pg_dist_partition") == [(True,)]


def test_migrate_goes_on_and_gives_a_new_login_to_the_workers(nodes: CitusCluster, database: MigratedDatabase) -> None:
    login = "test_writer_renewed"
    environment = {
        "DATABASE_URL": database.admin_url,
        "WRITER_DB_USER": login,
        "WRITER_DB_PASSWORD": "renewed",
        "READER_DB_USER": READER.user,
        "READER_DB_PASSWORD": READER.password,
    }
    try:
        run_command(environment, "migrate")
        renewed = database.writer_env | {"DB_USER": login, "DB_PASSWORD": "renewed"}
        assert "no drift" in run_command(renewed, "verify-counts")
    finally:
        for each in nodes.node_urls(name_of(database)):
            with closing(psycopg2.connect(each)) as connection, connection.cursor() as cursor, suppress(psycopg2.Error):
                connection.autocommit = True
                cursor.execute("SET citus.enable_ddl_propagation = off")
                cursor.execute(f"DROP OWNED BY {login}")
                cursor.execute(f"DROP ROLE {login}")


def test_the_reader_sees_on_a_worker_no_more_than_its_views(nodes: CitusCluster, database: MigratedDatabase) -> None:
    for url in nodes.node_urls(name_of(database)):
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SET ROLE stats_reader")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("SELECT user_key FROM auth_event")


def test_nobody_else_may_run_functions_of_maintenance_on_a_worker(
    nodes: CitusCluster, database: MigratedDatabase
) -> None:
    for url in nodes.node_urls(name_of(database)):
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_proc WHERE pronamespace = 'maintenance'::regnamespace"
                " AND has_function_privilege('stats_reader', oid, 'EXECUTE')"
            )
            assert cursor.fetchall() == [(0,)]


def test_a_new_week_and_an_old_one_are_made_and_retired(database: MigratedDatabase) -> None:
    old = datetime(2024, 5, 8, tzinfo=UTC)
    record(database, *[old] * 3)
    assert run_round(database, now=old)[0]
    [(kept,)] = as_writer(database, "SELECT count(*) FROM auth_event")
    ok, _ = run_round(database, now=NOW)
    assert (kept, ok) == (3, True)
    assert as_writer(database, "SELECT count(*) FROM auth_event") == [(0,)]
    assert verify(database).drifts == []


def test_the_rows_of_a_deleted_project_are_removed_from_the_workers_and_no_others(database: MigratedDatabase) -> None:
    projects = {"gone": 77, "stays": 78}
    rows(
        database,
        "INSERT INTO project (project_id, name, project_key, deleted_at) VALUES"
        " (%(gone)s, 'gone', 'gone', now() - interval '2 minutes'), (%(stays)s, 'stays', 'stays', NULL)",
        projects,
    )
    # Of both projects in the same shards, at the same places: a place alone names no row.
    rows(
        database,
        "INSERT INTO api_request (project_id, received_at, event_id, occurred_at, endpoint_id, url_path, method,"
        " status_code, response_us) SELECT project, now(), gen_random_uuid(), now(), 1, '/', 'GET', 200, 5"
        " FROM generate_series(1, 250), (VALUES (%(gone)s), (%(stays)s)) AS projects (project)",
        projects,
    )
    remove = "SELECT row_count FROM maintenance.delete_project_rows(%(gone)s, 100)"
    counts = [rows(database, remove, projects)[0][0]]
    while counts[-1]:
        counts += [rows(database, remove, projects)[0][0]]
    assert (len(counts) > 2, sum(counts)) == (True, 250)
    assert rows(database, "SELECT project_id, count(*) FROM api_request GROUP BY 1") == [(78, 250)]
    assert rows(database, "SELECT FROM project WHERE project_id = %(gone)s", projects) == []


def name_of(database: MigratedDatabase) -> str:
    """The name of a database, as its administrator's URL has it."""
    name: str = psycopg2.extensions.parse_dsn(database.admin_url)["dbname"]
    return name
