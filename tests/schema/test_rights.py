"""Who may do what: asked of the catalogue, so that a table made tomorrow is covered, and tried by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import psycopg2
import pytest
from psycopg2 import errors

from tests.schema.schema_steps import LOGINS, migrate, rows

if TYPE_CHECKING:
    from tests.servers import Cluster, MigratedDatabase

Environment: TypeAlias = dict[str, str]

# Everything a role may do by itself or through a group, on everything that is not PostgreSQL's own.
TABLE_RIGHTS = """
    SELECT relnamespace::regnamespace::text, relname, privilege
      FROM pg_class
     CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
     WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
       AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
       AND CASE WHEN privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                THEN has_any_column_privilege(pg_class.oid, privilege)
                ELSE has_table_privilege(pg_class.oid, privilege) END
"""
SCHEMA_RIGHTS = """
    SELECT nspname::text, privilege
      FROM pg_namespace CROSS JOIN unnest(ARRAY['USAGE', 'CREATE']) AS privilege
     WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
       AND has_schema_privilege(pg_namespace.oid, privilege)
"""
FUNCTION_RIGHTS = """
    SELECT oid::regprocedure::text FROM pg_proc
     WHERE pronamespace::regnamespace::text IN ('public', 'stats', 'maintenance')
       AND has_function_privilege(oid, 'EXECUTE')
"""
INSTANT = "timestamp with time zone"
VIEWS = "SELECT 'stats', viewname, 'SELECT' FROM pg_views WHERE schemaname = 'stats'"


def as_login(database: MigratedDatabase, environment: Environment, statement: str) -> list[tuple[object, ...]]:
    return rows(database.admin_url, statement, user=environment["DB_USER"], password=environment["DB_PASSWORD"])


def test_the_reader_may_select_the_views_of_schema_stats_and_nothing_else(database: MigratedDatabase) -> None:
    reader = database.reader_env
    views = set(rows(database.admin_url, VIEWS))
    assert len(views) == 27
    assert set(as_login(database, reader, TABLE_RIGHTS)) == views
    assert set(as_login(database, reader, SCHEMA_RIGHTS)) == {("stats", "USAGE"), ("public", "USAGE")}
    assert set(as_login(database, reader, FUNCTION_RIGHTS)) == {
        ("stats.total(bigint)",),
        # It returns two numbers, and nothing of a user.
        (f"stats.auth_event_users(integer,device_type,date,date,{INSTANT},{INSTANT})",),
    }
    for _, view, _ in views:
        as_login(database, reader, f"TABLE stats.{view}")


def test_a_table_of_a_later_revision_is_closed_to_the_reader(database: MigratedDatabase) -> None:
    """Shows that the test above can fail, and that nothing is granted by default."""
    rows(database.admin_url, "CREATE TABLE later (id int); ALTER TABLE later OWNER TO stats_owner")
    assert "later" not in {name for _, name, _ in as_login(database, database.reader_env, TABLE_RIGHTS)}
    rows(database.admin_url, "GRANT SELECT ON later TO PUBLIC")
    assert "later" in {name for _, name, _ in as_login(database, database.reader_env, TABLE_RIGHTS)}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM auth_event",
        "SELECT * FROM auth_event_default",
        "SELECT * FROM auth_event_total",
        "SELECT * FROM idempotency",
        "SELECT * FROM api_request_presence",
        "SELECT * FROM auth_event_presence",
        "SELECT * FROM project",
        "SELECT * FROM api_key",
        "UPDATE stats.api_key SET is_active = true",
        "INSERT INTO auth_event_total VALUES (1, 'iOS', 0, 1)",
        "INSERT INTO stats.auth_event_total VALUES (1, 'iOS', 1)",
        "UPDATE stats.auth_event_total SET event_count = 1",
        "DELETE FROM stats.auth_event_total",
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE stats.mine (id int)",
        "SELECT maintenance.make_week('2001-01-01')",
        "SELECT maintenance.retire_week('2001-01-01')",
        "SELECT maintenance.create_partition('auth_event', '2001-01-01')",
        "SELECT maintenance.retire_partition('auth_event', '2001-01-01')",
        "SELECT maintenance.retire_rows('auth_event', 1, 1)",
        "SELECT maintenance.summarize('auth_event')",
        "SELECT * FROM maintenance.fact_table",
        "SET ROLE stats_owner",
        "SET ROLE registration_writer",
    ],
)
def test_the_reader_is_refused(session_database: MigratedDatabase, statement: str) -> None:
    with pytest.raises(psycopg2.Error, match=r"permission denied|cannot .* view"):
        as_login(session_database, session_database.reader_env, statement)


def test_the_writer_has_exactly_these_rights(database: MigratedDatabase) -> None:
    found: dict[str, set[object]] = {}
    for schema, table, privilege in as_login(database, database.writer_env, TABLE_RIGHTS):
        found.setdefault(f"{schema}.{table}", set()).add(privilege)
    counting = {"SELECT", "INSERT", "UPDATE"}
    assert found == {
        "public.api_request": {"SELECT", "INSERT"},
        "public.api_endpoint": {"SELECT", "INSERT"},
        "public.api_request_default": {"SELECT"},
        "public.api_request_retired": {"SELECT"},
        "public.api_request_quarter_hour": counting,
        "public.api_request_day": counting,
        "public.api_request_endpoint_quarter_hour": counting,
        "public.api_request_endpoint_day": counting,
        "public.api_request_minute": {*counting, "DELETE"},
        "public.api_request_presence": counting,
        "public.api_request_distinct": counting,
        "public.store_event": {"SELECT", "INSERT"},
        "public.event_type": {"SELECT", "INSERT"},
        "public.store_event_default": {"SELECT"},
        "public.store_event_retired": {"SELECT"},
        "public.store_event_distinct_retired": {"SELECT"},
        "public.store_event_day": counting,
        "public.store_event_all_day": counting,
        "public.store_event_presence": counting,
        "public.store_event_distinct": counting,
        "public.dropped_event": counting,
        "public.project_retention": counting,
        "public.auth_event": {"SELECT", "INSERT"},
        "public.auth_event_default": {"SELECT"},
        "public.auth_event_retired": {"SELECT"},
        "public.auth_event_total": counting,
        "public.auth_event_quarter_hour": counting,
        "public.auth_event_minute": {*counting, "DELETE"},
        "public.auth_event_presence": counting,
        "public.auth_event_distinct": counting,
        "public.idempotency": {*counting, "DELETE"},
        "public.project": counting,
        "public.api_key": {*counting, "DELETE"},
        "public.project_member": {"SELECT", "INSERT", "DELETE"},
        "public.device": {*counting, "DELETE"},
        "public.device_deletion": {"SELECT", "INSERT"},
        "public.device_latest": counting,
        "public.measurement": {"SELECT", "INSERT"},
        "public.measurement_default": {"SELECT"},
        "public.measurement_retired": {"SELECT"},
        "public.measurement_quarter_hour": counting,
        "public.project_person": counting,
        "public.erasure": counting,
        "public.share": {"SELECT", "INSERT", "DELETE"},
        **{
            f"public.{each}": {*counting, "DELETE"}
            for each in (
                "webhook",
                "webhook_secret",
                "webhook_rule",
                "webhook_sample",
                "webhook_delivery",
                "webhook_stream",
            )
        },
        "maintenance.fact_table": {"SELECT"},
        "maintenance.command_run": {"SELECT", "INSERT", "UPDATE"},
        "maintenance.follower": {"SELECT", "UPDATE"},
        **{f"stats.{view}": {"SELECT"} for _, view, _ in rows(database.admin_url, VIEWS)},
    }
    assert set(as_login(database, database.writer_env, FUNCTION_RIGHTS)) == {
        ("latency_bounds()",),
        ("existing_device(integer,bigint)",),
        ("auth_event_segment(device_type)",),
        ("maintenance.not_followed(text)",),
        ("maintenance.create_partition(text,date)",),
        ("maintenance.retire_partition(text,date)",),
        ("maintenance.retire_rows(text,integer,integer)",),
        ("maintenance.retire_device_rows(integer,bigint,integer)",),
        ("maintenance.retire_person_rows(text,integer,uuid,integer)",),
        ("maintenance.retire_person_presences(text,integer,uuid,integer)",),
        ("maintenance.delete_person_devices(integer,uuid)",),
        (f"maintenance.retire_group_rows(text,integer,jsonb,{INSTANT},{INSTANT},integer)",),
        ("maintenance.delete_project_rows(integer,integer)",),
        ("maintenance.hold_writers(text)",),
        ("maintenance.summarize(text)",),
        ("maintenance.make_week(date)",),
        ("maintenance.retire_week(date)",),
    }


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM auth_event",
        "DELETE FROM api_request_presence",
        "DELETE FROM maintenance.follower",
        "SELECT maintenance.renew_latest(1, '{1}')",
        "SELECT maintenance.add_to_retired(f, 'DELETE FROM public.project') FROM maintenance.fact_table AS f",
        "UPDATE auth_event SET user_key = 'other'",
        "TRUNCATE auth_event",
        "DROP TABLE auth_event",
        "DROP TABLE auth_event_default",
        "ALTER TABLE auth_event ADD COLUMN more text",
        "ALTER TABLE auth_event DETACH PARTITION auth_event_default",
        "UPDATE idempotency SET body_sha256 = body_sha256",
        "UPDATE auth_event_retired SET event_count = 0",
        "UPDATE project SET project_key = 'other'",
        "DELETE FROM project",
        "UPDATE api_key SET digest = digest",
        "UPDATE api_key SET scopes = scopes",
        "UPDATE api_key SET key_id = key_id",
        "UPDATE project SET created_by = created_by",
        "UPDATE project_member SET role = 'owner'",
        "UPDATE project_person SET person_id = person_id",
        "DELETE FROM project_person",
        "CREATE TABLE public.mine (id int)",
        "SELECT maintenance.lock_with_retry('DROP TABLE public.auth_event')",
        "SET ROLE stats_owner",
    ],
)
def test_the_writer_is_refused(session_database: MigratedDatabase, statement: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.WrongObjectType)):
        as_login(session_database, session_database.writer_env, statement)


def test_the_writer_can_do_its_work(database: MigratedDatabase) -> None:
    as_login(
        database,
        database.writer_env,
        """
        INSERT INTO auth_event VALUES (1, now(), gen_random_uuid(), now(), 'iOS', 'u')
            ON CONFLICT DO NOTHING RETURNING *;
        INSERT INTO auth_event_total AS t VALUES (1, 'iOS', 15, 1)
            ON CONFLICT (project_id, device_type, slot)
            DO UPDATE SET event_count = t.event_count + excluded.event_count;
        INSERT INTO idempotency (project_id, key, body_sha256, event_id, received_at)
            VALUES (1, 'k', sha256('x'), gen_random_uuid(), now()) ON CONFLICT DO NOTHING;
        UPDATE idempotency SET answer = '{}';
        """,
    )


def test_views_run_with_the_rights_of_an_owner_that_cannot_log_in(database: MigratedDatabase) -> None:
    owners = rows(
        database.admin_url,
        """
        SELECT DISTINCT relowner::regrole::text FROM pg_class
         WHERE relnamespace::regnamespace::text IN ('public', 'stats', 'maintenance')
        UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace::regnamespace::text = 'maintenance'
        UNION SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname IN ('stats', 'maintenance')
        """,
    )
    assert owners == [("stats_owner",)]
    groups = ("stats_owner", "stats_reader", "registration_writer")
    assert not rows(database.admin_url, f"SELECT FROM pg_roles WHERE rolcanlogin AND rolname IN {groups}")
    assert not rows(database.admin_url, "SELECT FROM pg_class WHERE 'security_invoker=true' = ANY (reloptions)")


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE project SET deleted_at = now() WHERE project_id = 1", errors.CheckViolation),
        ("SELECT maintenance.delete_project_rows(1, 1)", errors.InvalidParameterValue),
        ("SELECT maintenance.delete_project_rows(2, 1)", errors.InvalidParameterValue),
    ],
)
def test_the_writer_deletes_no_default_project_and_none_that_is_in_use(
    database: MigratedDatabase, statement: str, refusal: type[psycopg2.Error]
) -> None:
    as_login(database, database.writer_env, "INSERT INTO project (name, project_key) VALUES ('shop', 'shop')")
    with pytest.raises(refusal):
        as_login(database, database.writer_env, statement)


def test_functions_that_act_as_the_owner_have_a_pinned_search_path(database: MigratedDatabase) -> None:
    definers = rows(
        database.admin_url,
        "SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND pronamespace::regnamespace::text = 'maintenance'",
    )
    assert len(definers) == 11
    assert all("search_path=pg_catalog, pg_temp" in settings for _, settings in definers)


def test_a_login_of_one_installation_cannot_connect_to_another(cluster: Cluster) -> None:
    other = {**LOGINS, "WRITER_DB_USER": "other_writer", "READER_DB_USER": "other_reader"}
    with cluster.new_database() as first, cluster.new_database() as second:
        migrate(cluster.admin_url(first))
        migrate(cluster.admin_url(second), other)
        for role in ("WRITER", "READER"):
            user, password = other[f"{role}_DB_USER"], other[f"{role}_DB_PASSWORD"]
            assert rows(cluster.admin_url(second), "SELECT 1", user=user, password=password)
            with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                rows(cluster.admin_url(first), "SELECT 1", user=user, password=password)


def test_a_personal_column_says_why_it_is_there_and_how_long(database: MigratedDatabase) -> None:
    [(comment,)] = rows(
        database.admin_url,
        "SELECT col_description('auth_event'::regclass, attnum) FROM pg_attribute "
        "WHERE attrelid = 'auth_event'::regclass AND attname = 'user_key'",
    )
    assert "pseudonym" in str(comment)
    assert "RETENTION_DAYS" in str(comment)


def test_a_bucket_view_is_read_through_the_index(database: MigratedDatabase) -> None:
    plan = rows(
        database.admin_url,
        """
        SET enable_seqscan = off; SET enable_bitmapscan = off;
        EXPLAIN SELECT sum(event_count) FROM stats.auth_event_quarter_hour
                 WHERE project_id = 1 AND device_type = 'iOS' AND bucket_start >= now() AND bucket_start < now()
        """,
    )
    condition = next(str(line) for (line,) in plan if "Index Cond" in str(line))
    assert all(column in condition for column in ("project_id", "device_type", "bucket_start"))
