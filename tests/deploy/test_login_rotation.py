"""The rotation of docs/operations.md on a real server: new logins work beside the old ones, and the old ones can go."""

import os
import re

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from device_registration_api.schema.migrate import migrate
from device_registration_api.schema.settings import AdministratorSettings, LoginSettings
from tests.deploy.rendering import ROOT


def logins(letter: str) -> LoginSettings:
    return LoginSettings(
        writer_db_user=f"device_statistics_writer_{letter}",
        writer_db_password=f"writer-{letter}",
        reader_db_user=f"device_statistics_reader_{letter}",
        reader_db_password=f"reader-{letter}",
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


def test_two_logins_in_turn(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith(("_DB_USER", "_DB_PASSWORD"))]:
        monkeypatch.delenv(name)
    administrator = AdministratorSettings(database_url=fresh_database)
    migrate(administrator, logins("a"))
    migrate(administrator, logins("b"))
    assert can_read(fresh_database, "device_statistics_reader_a", "reader-a")
    assert can_read(fresh_database, "device_statistics_reader_b", "reader-b")

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
