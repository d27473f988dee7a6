"""The command writes every row to one file, however often it is killed."""

import gzip
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from local.database import base_environment
from tests.database import rows
from tests.exports.conftest import Source, csv_rows, rows_and_checkpoint
from tests.servers import Finished, finished_command, run_command

FILL = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT %(project)s, clock_timestamp(), gen_random_uuid(), now(), 'TV', '=' || number
      FROM generate_series(1, %(rows)s) AS number
"""


def export(source: Source, folder: Path, *arguments: str) -> str:
    return run_command(source.product.database.writer_env, "export", source.project, str(folder), *arguments)


def refused(source: Source, folder: Path, *arguments: str) -> Finished:
    finished = finished_command(source.product.database.writer_env, "export", source.project, str(folder), *arguments)
    assert finished.returncode != 0
    return finished


def files(folder: Path, pattern: str = "*-*.ndjson") -> list[Path]:
    return sorted(folder.glob(pattern))


def ids(folder: Path) -> list[str]:
    return [row["eventId"] for path in files(folder) for row in rows_and_checkpoint(path.read_text())[0]]


def fill(source: Source, number: int) -> None:
    rows(source.product.database, FILL, {"project": source.project_id, "rows": number})


def test_every_kind_is_written_and_the_next_run_adds_what_came_since(source: Source, tmp_path: Path) -> None:
    for kind in ("auth_events", "api_requests", "measurements", "store_events"):
        source.record(kind, 3)
    said = export(source, tmp_path)
    assert "store_events: 3 rows" in said
    assert [path.name for path in files(tmp_path)] == [
        f"{kind}-000001.ndjson" for kind in ("api_requests", "auth_events", "measurements", "store_events")
    ]
    exported = source.exported("auth_events")[0]
    found, checkpoint = rows_and_checkpoint(files(tmp_path)[1].read_text())
    assert found == exported
    assert source.exported("auth_events", cursor=checkpoint)[0] == []
    before = ids(tmp_path)
    export(source, tmp_path)
    assert ids(tmp_path) == before
    source.record("measurements", 2)
    assert "measurements: 2 rows" in export(source, tmp_path)
    assert len(ids(tmp_path)) == len(set(ids(tmp_path))) == 14


def test_a_file_has_so_many_rows_and_csv_has_no_formula(source: Source, tmp_path: Path) -> None:
    fill(source, 25)
    export(source, tmp_path, "--kind", "auth_events", "--format", "csv", "--rows", "10", "--gzip")
    texts = [gzip.decompress(path.read_bytes()).decode() for path in files(tmp_path, "auth_events-*.csv.gz")]
    found = [csv_rows(text) for text in texts]
    assert [len(each) for each in found] == [10, 10, 5]
    assert {row["userKey"] for each in found for row in each} == {f"={number}" for number in range(1, 26)}
    assert all(f",'={number}," in "".join(texts) for number in range(1, 26))


def test_a_run_that_is_killed_leaves_nothing_out_and_nothing_twice(source: Source, tmp_path: Path) -> None:
    for _ in range(20):
        fill(source, 2_000)
    environment = base_environment() | source.product.database.writer_env
    arguments = ["export", source.project, str(tmp_path), "--kind", "auth_events", "--rows", "1500"]
    kills = 0
    for seconds in (1.2, 1.4, 1.6):
        running = subprocess.Popen(
            [sys.executable, "-m", "device_registration_api", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        running.kill()
        kills += running.wait() < 0
    export(source, tmp_path, "--kind", "auth_events", "--rows", "1500")
    found = ids(tmp_path)
    assert len(found) == len(set(found)) == 40_000
    assert not files(tmp_path, "*.part")
    assert kills


def test_what_cannot_be_exported_is_said(new_source: Callable[[], Source], tmp_path: Path) -> None:
    source, other = new_source(), new_source()
    export(source, tmp_path)
    assert "of another project" in refused(other, tmp_path).stderr
    assert "first run" in refused(source, tmp_path, "--from", "2026-01-01T00:00:00Z").stderr
    assert "a time with a zone" in refused(source, tmp_path, "--from", "yesterday").stderr
    assert "at least 1" in refused(source, tmp_path, "--rows", "0").stderr
    (tmp_path / "auth_events.ndjson.checkpoint").write_text("{}")
    assert "is not the checkpoint" in refused(source, tmp_path).stderr
    file = tmp_path / "file"
    file.touch()
    assert "export:" in refused(source, file).stderr
    unknown = finished_command(source.product.database.writer_env, "export", "unknown", str(tmp_path / "new"))
    assert "there is no project unknown" in unknown.stderr


@pytest.mark.skipif(find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_without_pyarrow_it_is_said_how_to_get_it(source: Source, tmp_path: Path) -> None:
    assert "device-registration-api[parquet]" in refused(source, tmp_path, "--format", "parquet").stderr
    assert not [*tmp_path.iterdir()]


def test_parquet_has_the_same_rows(source: Source, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra, and is not installed")
    for kind in ("auth_events", "api_requests", "measurements", "store_events"):
        source.record(kind, 3)
    export(source, tmp_path, "--format", "parquet", "--rows", "2")
    for kind in ("auth_events", "api_requests", "measurements", "store_events"):
        found = [row for path in files(tmp_path, f"{kind}-*.parquet") for row in parquet.read_table(path).to_pylist()]
        lines = source.exported(kind)[0]
        assert [row["eventId"] for row in found] == [line["eventId"] for line in lines]
        assert [*found[0]] == [*lines[0]]
