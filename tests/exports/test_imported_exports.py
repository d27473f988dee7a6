"""What an export wrote is imported: the same events with their ids and times, each once. What is damaged is refused."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.database import assert_counts_are_exact, rows
from tests.exports.conftest import Source
from tests.servers import Finished, finished_command, run_command

KINDS = ("auth_events", "api_requests", "measurements", "store_events")
EVENTS = 5
# A measurement or a store event has the numbers that this database gave it.
OWN_NUMBERS = {"id"}
COPY_USERS = """
    INSERT INTO project_person (project_id, person_id)
    SELECT %(to)s, person_id FROM project_person WHERE project_id = %(from)s
"""


def run_import(source: Source, *arguments: str | Path) -> Finished:
    chosen = ("import", "--from", "export", "--project", source.project)
    return finished_command(source.product.database.writer_env, *chosen, *map(str, arguments))


def imported(source: Source, *arguments: str | Path) -> str:
    finished = run_import(source, *arguments)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def refused(source: Source, *arguments: str | Path) -> str:
    finished = run_import(source, *arguments)
    assert finished.returncode != 0
    return str(finished.stderr)


def events(source: Source, kind: str) -> list[dict[str, object]]:
    found, _ = source.exported(kind)
    return sorted(({name: value for name, value in row.items() if name not in OWN_NUMBERS} for row in found), key=str)


def written(source: Source, kind: str, file: Path, form: str) -> Path:
    text = source.export(kind, format=form).raise_for_status().content
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    return file


@pytest.mark.parametrize("name", ["events.ndjson", "events.csv", "events.csv.gz"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_event_comes_once_as_it_was(
    new_source: Callable[[], Source], tmp_path: Path, kind: str, name: str
) -> None:
    there, here = new_source(), new_source()
    there.record(kind, EVENTS)
    rows(there.product.database, COPY_USERS, {"from": there.project_id, "to": here.project_id})
    file = written(there, kind, tmp_path / name, name.split(".")[1])
    assert f"{EVENTS} rows = {EVENTS} registered + 0 duplicate + 0 refused" in imported(here, file, "--dry-run")
    assert events(here, kind) == []
    assert f"{EVENTS} rows = {EVENTS} registered + 0 duplicate + 0 refused" in imported(here, file)
    assert events(here, kind) == events(there, kind) != []
    assert f"{EVENTS} rows = 0 registered + {EVENTS} duplicate + 0 refused" in imported(here, file)
    assert_counts_are_exact(here.product)


def test_files_of_the_command_are_imported_together(new_source: Callable[[], Source], tmp_path: Path) -> None:
    there, here = new_source(), new_source()
    for kind in ("auth_events", "measurements"):
        there.record(kind, EVENTS)
    run_command(there.product.database.writer_env, "export", there.project, str(tmp_path), "--gzip", "--rows", "3")
    files = sorted(tmp_path.glob("*.ndjson.gz"))
    assert len(files) == 4
    imported(here, *files)
    for kind in ("auth_events", "measurements"):
        assert events(here, kind) == events(there, kind)


def test_a_store_event_whose_user_is_not_there_is_refused(new_source: Callable[[], Source], tmp_path: Path) -> None:
    there, here = new_source(), new_source()
    there.record("store_events", EVENTS)
    printed = imported(here, written(there, "store_events", tmp_path / "events.ndjson", "ndjson"))
    assert f"{EVENTS} rows = 0 registered + 0 duplicate + {EVENTS} refused" in printed


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "is cut off"),
        (lambda text: text.replace(b'"end":true', b'"more":1'), "has no end"),
        (lambda text: text.replace(b'"rows":5', b'"rows":6'), "has other rows before an end than the 6"),
        (lambda text: b"".join(text.splitlines(keepends=True)[1:]), "has other rows before an end than the 5"),
        (lambda text: b"{}\n" + text, "is no export of events"),
        (lambda text: b'{"a":1}\n' + text, "is no export of events"),
        (lambda text: text.replace(b'"deviceType"', b'"device"', 1), "is no export of events"),
        (lambda text: text + b"[]\n", "is no line of an export"),
        (lambda _: b"", "has no events"),
        (lambda text: gzip.compress(text)[:-20], "is cut off or damaged"),
    ],
)
def test_of_a_damaged_file_nothing_is_stored(
    new_source: Callable[[], Source], tmp_path: Path, damage: Callable[[bytes], bytes], sentence: str
) -> None:
    there, here = new_source(), new_source()
    there.record("auth_events", EVENTS)
    text = there.export("auth_events").raise_for_status().content
    file = tmp_path / "events"
    file.write_bytes(damage(text))
    assert sentence in refused(here, file)
    assert here.facts("auth_event") == 0


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_what_is_there_of_an_export_without_its_end_is_stored_if_that_is_asked_for(
    new_source: Callable[[], Source], tmp_path: Path, form: str
) -> None:
    there, here = new_source(), new_source()
    there.record("auth_events", EVENTS)
    file = written(there, "auth_events", tmp_path / f"events.{form}", form)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-2]))
    sentence = refused(here, file)
    assert "has no end: it was cut off" in sentence
    assert "--incomplete" in sentence
    assert f"{EVENTS - 1} rows = {EVENTS - 1} registered" in imported(here, "--incomplete", file)
    assert here.facts("auth_event") == EVENTS - 1


def test_a_cut_csv_and_a_missing_file_are_refused(source: Source, tmp_path: Path) -> None:
    source.record("auth_events", EVENTS)
    file = written(source, "auth_events", tmp_path / "events.csv", "csv")
    file.write_bytes(file.read_bytes()[:-2])
    assert "is cut off in its last line" in refused(source, file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))
    assert "has no end" in refused(source, file)
    file.write_bytes(b"".join([*lines[:-2], lines[-2].replace(b",", b"", 1), lines[-1]]))
    assert "has 6 fields and not 7" in refused(source, file)
    assert "cannot be read: No such file" in refused(source, tmp_path / "none")


def test_a_row_that_is_wrong_is_refused_and_no_other(new_source: Callable[[], Source], tmp_path: Path) -> None:
    there, here = new_source(), new_source()
    there.record("auth_events", EVENTS)
    found, _ = there.exported("auth_events")
    found[0]["deviceType"] = "Windows"
    found[1]["eventId"] = "mine"
    found[2]["receivedAt"] = "yesterday"
    found.append(found[3])
    file = tmp_path / "events.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in found))
    file_refused = tmp_path / "refused"
    printed = imported(here, "--incomplete", file, "--refused", file_refused)
    assert f"{EVENTS + 1} rows = 2 registered + 1 duplicate + 3 refused" in printed
    assert [json.loads(line)["id"] for line in file_refused.read_text().splitlines()] == [1, 2, 3]
    assert_counts_are_exact(here.product)


@pytest.mark.parametrize(
    ("kind", "field", "values"),
    [
        ("measurements", "device_id", ["", " +device", None, ["+device"], 7]),
        ("measurements", "x", ["", "one", None, True, {}]),
        ("api_requests", "ip_hash", ["", "0", "zz", 7, ["00"]]),
        ("store_events", "data", ["[", None, 7, "x", []]),
        (
            "auth_events",
            "receivedAt",
            [None, 7, "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"],
        ),
    ],
)
def test_a_field_that_no_export_writes_is_refused(
    new_source: Callable[[], Source], tmp_path: Path, kind: str, field: str, values: list[object]
) -> None:
    there, here = new_source(), new_source()
    there.record(kind, EVENTS)
    rows(there.product.database, COPY_USERS, {"from": there.project_id, "to": here.project_id})
    found, _ = there.exported(kind)
    file = tmp_path / "events.ndjson"
    file.write_text("".join(json.dumps({**row, field: value}) + "\n" for row, value in zip(found, values, strict=True)))
    printed = imported(here, "--incomplete", file)
    assert f"{EVENTS} rows = 0 registered + 0 duplicate + {EVENTS} refused" in printed
