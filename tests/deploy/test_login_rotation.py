"""The rotation of docs/operations.md on a real server: new logins work beside the old ones, and the old ones can go."""

import os
import re
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from device_registration_api.schema.migrate import migrate
from device_registration_api.schema.schemas import KEYRING, PERSONAL, named_beside
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from tests.deploy.rendering import ROOT
from tests.schema.schema_steps import rows


def logins(letter: str) -> LoginSettings:
    return LoginSettings(
        writer_db_user=f"device_statistics_writer_{letter}",
        writer_db_password=f"writer-{letter}",
        reader_db_user=f"device_statistics_reader_{letter}",
        reader_db_password=f"reader-{letter}",
        personal_db_user=f"device_statistics_personal_{letter}",
        personal_db_password=f"personal-{letter}",
    )


def can_read(url: str, login: str, password: str) -> bool:
    server = parse_dsn(url)
    try:
        conn = psycopg2.connect(host=server["host"], dbname=server["dbname"], user=login, password=password)
    except psycopg2.OperationalError:
        return False
    with conn, conn.cursor() as cur:
        cur.execute("SELECT revision FROM stats.schema_revision")
        found = cur.fetchone() is not None
    conn.close()
    return found


def can_enter(url: str, database: str, login: str, password: str) -> bool:
    server = parse_dsn(url)
    try:
        psycopg2.connect(host=server["host"], dbname=database, user=login, password=password).close()
    except psycopg2.OperationalError:
        return False
    return True


@pytest.fixture
def three(fresh_database: str) -> Iterator[str]:
    """The administrator's URL of the first database; those beside it are dropped afterwards."""
    yield fresh_database
    for name in beside(fresh_database):
        rows(make_dsn(fresh_database, dbname="postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def beside(url: str) -> list[str]:
    return [named_beside(parse_dsn(url)["dbname"], schema) for schema in (PERSONAL, KEYRING)]


def test_two_logins_in_turn(three: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh_database = three
    for name in [name for name in os.environ if name.endswith(("_DB_USER", "_DB_PASSWORD"))]:
        monkeypatch.delenv(name)
    administrator = AdministratorSettings(database_url=fresh_database)
    migrate(administrator, logins("a"))
    migrate(administrator, logins("b"))
    assert can_read(fresh_database, "device_statistics_reader_a", "reader-a")
    assert can_read(fresh_database, "device_statistics_reader_b", "reader-b")

    for name in beside(fresh_database):
        assert can_enter(fresh_database, name, "device_statistics_personal_a", "personal-a")
        assert can_enter(fresh_database, name, "device_statistics_personal_b", "personal-b")

    # The very statements that the document gives.
    statements = re.findall(r"-c '(DROP [^']+)'", (ROOT / "docs/operations.md").read_text())
    assert [statement.split()[1] for statement in statements] == ["OWNED", "ROLE"]
    conn = psycopg2.connect(fresh_database)
    conn.autocommit = True
    with conn.cursor() as cur:
        for statement in statements:
            cur.execute(statement)
    conn.close()

    assert not can_read(fresh_database, "device_statistics_reader_a", "reader-a")
    assert can_read(fresh_database, "device_statistics_reader_b", "reader-b")
    assert can_read(fresh_database, "device_statistics_writer_b", "writer-b")
    for name in beside(fresh_database):
        assert not can_enter(fresh_database, name, "device_statistics_personal_a", "personal-a")
        assert can_enter(fresh_database, name, "device_statistics_personal_b", "personal-b")
