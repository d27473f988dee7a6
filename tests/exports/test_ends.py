"""An export has an end. A file without it is not whole, however it was cut; parts that follow each other are."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.exports import CHECKPOINT_ROWS
from device_registration_api.imports.own_export import checked_files
from device_registration_api.schema.connect import CommandError
from tests.database import rows
from tests.exports.conftest import Source
from tests.servers import run_command
from tests.waiting import wait_until

FORMS = ("ndjson", "csv")
# In either form.
CHECKPOINT_LINE = re.compile(rb"^.*(?P<cursor>eyJ[\w-]+).*\n", re.MULTILINE)
EVENTS = 4
FILL = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT %(project)s, clock_timestamp(), gen_random_uuid(), now(), 'TV', %(name)s || number
      FROM generate_series(1, %(rows)s) AS number
"""


def fill(source: Source, number: int, name: str) -> None:
    """Store events, and wait until an export has them."""
    rows(source.product.database, FILL, {"project": source.project_id, "rows": number, "name": name})
    wait_until(lambda: source.are_exported("auth_event"))


def of_route(source: Source, form: str, _: Path) -> list[bytes]:
    return source.export("auth_events", format=form).raise_for_status().content.splitlines(keepends=True)


def of_command(source: Source, form: str, folder: Path) -> list[bytes]:
    chosen = ("--kind", "auth_events", "--format", form)
    run_command(source.product.database.writer_env, "export", source.project, str(folder), *chosen)
    [file] = folder.glob(f"*.{form}")
    return file.read_bytes().splitlines(keepends=True)


def rows_of(folder: Path, content: bytes, *, are_incomplete: bool = False) -> int:
    """How many rows are found in a file with this content."""
    file = folder / "content"
    file.write_bytes(content)
    [found] = checked_files([str(file)], are_incomplete=are_incomplete)
    return found.rows


@pytest.mark.parametrize("coded", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("written", [of_route, of_command])
def test_a_file_that_is_cut_at_the_end_of_any_line_is_not_whole(
    source: Source,
    tmp_path: Path,
    written: Callable[[Source, str, Path], list[bytes]],
    form: str,
    coded: Callable[[bytes], bytes],
) -> None:
    fill(source, EVENTS, "=\n")
    lines = written(source, form, tmp_path)
    assert rows_of(tmp_path, coded(b"".join(lines))) == EVENTS
    assert len(lines) > EVENTS
    for length in range(len(lines)):
        with pytest.raises(CommandError, match=r"has no end|has no events|cut off"):
            rows_of(tmp_path, coded(b"".join(lines[:length])))
    one_less = coded(b"".join(lines[:-1]))
    assert rows_of(tmp_path, one_less, are_incomplete=True) == EVENTS


@pytest.mark.parametrize("coded", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMS)
def test_parts_that_go_on_from_a_checkpoint_are_whole_together(
    source: Source, tmp_path: Path, form: str, coded: Callable[[bytes], bytes]
) -> None:
    number = 2 * CHECKPOINT_ROWS + 500
    fill(source, number, "=\n")
    text = source.export("auth_events", format=form).raise_for_status().content
    begins = [found.end() for found in CHECKPOINT_LINE.finditer(text)]
    assert len(begins) >= 3
    first, part = text[: begins[1]], went_on(source, form, text[: begins[1]])
    with pytest.raises(CommandError, match="has no end"):
        rows_of(tmp_path, coded(first))
    assert rows_of(tmp_path, coded(first) + coded(part)) == number
    # An export of what came since, behind one that has ended.
    fill(source, EVENTS, "=")
    later = went_on(source, form, text)
    assert rows_of(tmp_path, coded(first) + coded(part) + coded(later)) == number + EVENTS
    # A row of the last part is missing, or comes twice.
    lines = later.splitlines(keepends=True)
    row = next(place for place, line in enumerate(lines) if b"TV" in line)
    for wrong in ([*lines[:row], *lines[row + 1 :]], [*lines[: row + 1], *lines[row:]]):
        with pytest.raises(CommandError, match="has other rows before an end"):
            rows_of(tmp_path, coded(text) + coded(b"".join(wrong)))


def went_on(source: Source, form: str, text: bytes) -> bytes:
    """What an export has behind the last checkpoint of this text."""
    *_, last = CHECKPOINT_LINE.finditer(text)
    return source.export("auth_events", format=form, cursor=last["cursor"].decode()).raise_for_status().content
