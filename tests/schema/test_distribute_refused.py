"""`distribute` on one server changes nothing and says what is missing; tests/citus has what it does on a cluster."""

import pytest

from tests.database import rows
from tests.servers import MigratedDatabase, finished_command


def test_a_server_without_citus_is_refused_and_stays_as_it_is(database: MigratedDatabase) -> None:
    refused = finished_command({"DATABASE_URL": database.admin_url}, "distribute", "--worker", "elsewhere")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert (
        "has no extension citus: run CREATE EXTENSION citus in a database of this name on each node" in refused.stderr
    )
    assert rows(database, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'stats_owner'") == [(False,)]


def test_a_database_that_is_not_migrated_is_refused(fresh_database: str) -> None:
    refused = finished_command({"DATABASE_URL": fresh_database}, "distribute", "--worker", "elsewhere")
    assert refused.returncode == 1
    assert "is at revision empty" in refused.stderr
    assert "run migrate first" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--worker", ":5432"), ("--worker", "one:port"), ("--worker", "one:65536"), ("--shards", "0"), ("--shards", "65")],
    ids=" ".join,
)
def test_arguments_that_name_nothing_are_refused(arguments: tuple[str, ...]) -> None:
    refused = finished_command({"DATABASE_URL": "postgresql:///none"}, "distribute", *arguments)
    assert refused.returncode == 2
    assert "usage:" in refused.stderr


def test_without_a_url_the_setting_is_named() -> None:
    refused = finished_command({}, "distribute")
    assert (refused.returncode, refused.stderr) == (1, "distribute: set DATABASE_URL in the environment\n")
