"""The board of counts: its login reads what its queries need, and nothing else."""

import json
import re
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors, sql

from local.database import Login
from tests.database import dsn_of, rows
from tests.deploy.rendering import ROOT
from tests.monitoring.boards import FOLDER
from tests.servers import MigratedDatabase

READER = Login("grafana_reader", "a-password-of-the-tests")
SCRIPT = (ROOT / "monitoring/grafana_reader.sql").read_text()
BOARD = json.loads((FOLDER / "dashboards/device-statistics-counts.json").read_text())
QUERIES = {panel["title"]: panel["targets"][0]["rawSql"] for panel in BOARD["panels"]} | {
    variable["name"]: variable["query"] for variable in BOARD["templating"]["list"] if variable["type"] == "query"
}
VIEWS = {"auth_event_total", "auth_event_quarter_hour", "api_request_quarter_hour", "store_event_all_day"}
# Every relation of the product, and the columns of it that the login may read.
READABLE = """
    SELECT n.nspname || '.' || c.relname,
           array_agg(a.attname ORDER BY a.attname)
               FILTER (WHERE has_column_privilege('grafana_reader', c.oid, a.attnum, 'SELECT')),
           bool_or(has_table_privilege('grafana_reader', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                   OR has_any_column_privilege('grafana_reader', c.oid, 'INSERT, UPDATE, REFERENCES'))
      FROM pg_class AS c
      JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE n.nspname IN ('public', 'stats', 'maintenance') AND c.relkind IN ('r', 'p', 'v', 'm')
     GROUP BY 1
"""
FORBIDDEN = [
    "SELECT digest FROM stats.api_key",
    "SELECT project_key FROM stats.project",
    "SELECT * FROM stats.project_member",
    "SELECT user_key FROM auth_event",
    "SELECT * FROM erasure",
    "SELECT maintenance.make_week('2026-01-05')",
    "INSERT INTO auth_event_total VALUES (1, 'iOS', 1, 0)",
    "UPDATE stats.auth_event_total SET event_count = 0",
    "CREATE TABLE mine (a int)",
]


@pytest.fixture(scope="module")
def counts(session_database: MigratedDatabase) -> Iterator[MigratedDatabase]:
    """The database in which the script has made the login, twice, as psql runs it."""
    password = sql.Literal(READER.password)
    name = session_database.admin_url.rpartition("/")[2].partition("?")[0]
    with closing(psycopg2.connect(session_database.admin_url)) as connection, connection, connection.cursor() as cursor:
        text = SCRIPT.replace(":'password'", password.as_string(connection)).replace(':"DBNAME"', f'"{name}"')
        for _ in range(2):
            cursor.execute(text)
    yield session_database
    rows(session_database, "DROP OWNED BY grafana_reader; DROP ROLE grafana_reader")


@pytest.fixture
def connection(counts: MigratedDatabase) -> Iterator[psycopg2.extensions.connection]:
    with closing(psycopg2.connect(dsn_of(READER.environment(counts.admin_url)))) as connection:
        yield connection


def test_it_reads_counts_and_names_of_projects_and_can_write_nothing(counts: MigratedDatabase) -> None:
    found = {name: (columns, writes) for name, columns, writes in rows(counts, READABLE)}
    read = {name for name, (columns, _) in found.items() if columns}
    assert read == {f"stats.{view}" for view in (*VIEWS, "project")}
    assert found["stats.project"][0] == ["name", "project_id"]
    assert not any(writes for _, writes in found.values())


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_it_is_refused_anything_else(connection: psycopg2.extensions.connection, statement: str) -> None:
    connection.set_session(readonly=False)  # which any login may choose: the rights decide
    with connection.cursor() as cursor, pytest.raises(errors.InsufficientPrivilege):
        cursor.execute(statement)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_its_own_setting_is_to_read(connection: psycopg2.extensions.connection, database: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW default_transaction_read_only")
        assert cursor.fetchone() == ("on",)
        cursor.execute("SELECT has_database_privilege(%(name)s, 'CONNECT')", {"name": database})
        assert cursor.fetchone() == (False,)


@pytest.mark.parametrize("title", sorted(QUERIES))
def test_each_query_of_the_board_can_be_run(connection: psycopg2.extensions.connection, title: str) -> None:
    query = re.sub(r"\$__timeFilter\(([^()]+)\)", r"\1 BETWEEN now() - interval '7 days' AND now()", QUERIES[title])
    query = query.replace("$project", "1")
    assert "$" not in query
    with connection.cursor() as cursor:
        cursor.execute(query)
        cursor.fetchall()
