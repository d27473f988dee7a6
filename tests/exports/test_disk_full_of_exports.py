"""What is written to a full disk ends with one sentence, and goes on when there is room."""

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from load.old_systems import OLD_SYSTEMS
from local.database import base_environment
from tests.database import rows
from tests.exports.conftest import Source, csv_rows, rows_and_checkpoint
from tests.imports.old_systems import FOR_EVER, execute, old_database
from tests.servers import Cluster, MigratedDatabase, finished_process, run_command
from tests.waiting import wait_until

DISK_BYTES = 8 * 1024 * 1024
ROWS = 12_000
ROWS_OF_FILE = 3_000
# What is beside the files.
BYTES_BESIDE = 32 * 1024
FILL = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT %(project)s, clock_timestamp(), gen_random_uuid(), now(), 'TV', 'user-' || number
      FROM generate_series(1, %(rows)s) AS number
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root makes a file system")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], check=False)
    if made.returncode != 0:
        pytest.skip("no file system can be made here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("form", ["ndjson", "csv", "ndjson.gz"])
def test_an_export_to_a_full_disk_goes_on_when_there_is_room(
    source: Source, disk: Path, tmp_path: Path, form: str
) -> None:
    rows(source.product.database, FILL, {"project": source.project_id, "rows": ROWS})
    wait_until(lambda: source.are_exported("auth_event"))
    chosen = ["--kind", "auth_events", "--rows", str(ROWS_OF_FILE), "--format", form.removesuffix(".gz")]
    chosen += ["--gzip"] if form.endswith(".gz") else []
    run_command(source.product.database.writer_env, "export", source.project, str(tmp_path / "large"), *chosen)
    size = (tmp_path / "large" / f"auth_events-000001.{form}").stat().st_size
    filler = disk / "filler"
    filler.write_bytes(bytes(DISK_BYTES - BYTES_BESIDE - size - size // 2))
    export = ["export", source.project, str(disk), *chosen]
    stopped = finished_process(source.product.database.writer_env, *export)
    stays = "the files that are whole stay: the same command goes on behind them"
    assert (stopped.returncode, stopped.stderr) == (1, f"export: {disk}: No space left on device; {stays}\n")
    assert [path.name for path in disk.glob("auth_events-*")] == [f"auth_events-000001.{form}"]
    filler.unlink()
    ended = finished_process(source.product.database.writer_env, *export)
    assert ended.returncode == 0, ended.stderr
    texts = [_text(path) for path in sorted(disk.glob(f"auth_events-*.{form}"))]
    found = [row["userKey"] for text in texts for row in _rows(text, form)]
    assert len(texts) == ROWS / ROWS_OF_FILE
    assert sorted(found) == sorted(f"user-{number}" for number in range(1, ROWS + 1))


def _text(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


def _rows(text: str, form: str) -> list[dict[str, str]]:
    return csv_rows(text) if form == "csv" else rows_and_checkpoint(text)[0]


def test_an_import_whose_list_of_refusals_cannot_be_written_goes_on(
    cluster: Cluster, database: MigratedDatabase
) -> None:
    env = database.writer_env | FOR_EVER
    system = "device-statistics-api"
    stays = "what is stored stays: the same command goes on where this one stopped"
    with old_database(cluster, *OLD_SYSTEMS[system].statements(ROWS)) as old:
        execute(old, "UPDATE device_registrations SET device_type = 'Fridge' WHERE id % 2 = 0")
        command = ("import", "--from", system, old)
        stopped = finished_process(env, *command, "--refused", "/dev/full")
        assert stopped.returncode == 1
        assert stopped.stderr == f"import: /dev/full cannot be written: No space left on device; {stays}\n"
        ended = finished_process(env, *command)
    assert f"{ROWS} rows = {ROWS // 2} registered + 0 duplicate + {ROWS // 2} refused" in ended.stdout


@pytest.mark.parametrize("command", ["verify-counts", "current"])
def test_a_report_that_cannot_be_written_is_a_sentence(database: MigratedDatabase, command: str) -> None:
    env = base_environment() | database.writer_env | {"DATABASE_URL": database.admin_url}
    with Path("/dev/full").open("wb") as full:
        program = [sys.executable, "-m", "device_registration_api", command]
        ended = subprocess.run(program, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, f"{command}: No space left on device\n")
