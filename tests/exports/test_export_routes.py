"""Everything that a project has recorded is taken away, in both formats, and goes on from any checkpoint."""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable

import pytest

from contract.exports import CHECKPOINT_ROWS
from tests.access.conftest import make_key
from tests.database import rows
from tests.exports.conftest import FORMULA, Source, csv_rows, rows_and_checkpoint

KINDS = ("auth_events", "api_requests", "measurements", "store_events")
FACTS = {kind: kind.removesuffix("s") for kind in KINDS}
# What is the name of the time when an event was received, and of its id where the document of its family has one.
OF_STORING = {"eventId", "receivedAt", "received_at", "id"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_exported_and_can_be_sent_again(new_source: Callable[[], Source], kind: str) -> None:
    source, other = new_source(), new_source()
    source.record(kind, 3)
    other.record(kind, 1)
    found, _ = source.exported(kind)
    assert len(found) == source.facts(FACTS[kind]) == 3
    assert source.send_again(kind, found)["registered"] == 3
    again, _ = source.exported(kind)
    assert again[:3] == found
    of_event = [{name: value for name, value in row.items() if name not in OF_STORING} for row in again]
    assert of_event[3:] == of_event[:3]
    assert {each["eventId"] for each in found}.isdisjoint(each["eventId"] for each in other.exported(kind)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_leads_to_what_came_later_and_to_nothing_twice(source: Source, kind: str) -> None:
    empty, checkpoint = source.exported(kind)
    assert empty == []
    source.record(kind, 2)
    found, checkpoint = source.exported(kind, cursor=checkpoint)
    assert len(found) == 2
    assert source.exported(kind, cursor=checkpoint)[0] == []
    source.record(kind, 1)
    assert len(source.exported(kind, cursor=checkpoint)[0]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_csv_has_the_same_rows_and_no_formula(source: Source, kind: str) -> None:
    source.record(kind, 3)
    lines, _ = source.exported(kind)
    answer = source.export(kind, format="csv").raise_for_status()
    assert answer.headers["content-type"].startswith("text/csv")
    assert csv_rows(answer.text) == [{name: cell_of(value) for name, value in line.items()} for line in lines]
    cells = [cell for line in csv.reader(io.StringIO(answer.text, newline="")) for cell in line]
    numbers = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?")
    assert not [cell for cell in cells if cell[:1] in {*"=+-@\t\r"} and not numbers.fullmatch(cell)]
    if kind != "measurements":
        assert any(cell.startswith(f"'{FORMULA}") for cell in cells) or f'["{FORMULA}"]' in answer.text


def cell_of(value: object) -> str:
    """What a member of a line is in CSV."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, separators=(",", ":"))


def test_a_checkpoint_in_csv_leads_on(source: Source) -> None:
    source.record("auth_events", 2)
    answer = source.export("auth_events", format="csv").text
    *_, last = csv.reader(io.StringIO(answer, newline=""))
    assert last[:-2] == [""] * (len(last) - 2)
    source.record("auth_events", 1)
    assert len(csv_rows(source.export("auth_events", format="csv", cursor=last[-1]).text)) == 1
    assert len(source.exported("auth_events", cursor=last[-1])[0]) == 1


def test_the_format_is_what_the_client_prefers(source: Source) -> None:
    path = source.path("measurements")
    assert source.http.get(path, headers={"Accept": "text/csv"}).headers["content-type"].startswith("text/csv")
    assert source.http.get(path, headers={"Accept": "*/*"}).headers["content-type"] == "application/x-ndjson"


def test_it_is_compressed_for_those_who_take_it(source: Source) -> None:
    source.record("auth_events", 500)
    with source.http.stream("GET", source.path("auth_events"), headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        coded = b"".join(answer.iter_raw())
    whole = source.http.get(source.path("auth_events"), headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in whole.headers
    found = rows_and_checkpoint(gzip.decompress(coded).decode())[0]
    assert found == rows_and_checkpoint(whole.text)[0]
    assert len(found) == 500
    assert len(coded) < len(whole.content) / 3


def test_there_is_a_checkpoint_every_ten_thousand_rows_and_each_leads_on(source: Source) -> None:
    """Of one large transaction and of many small ones."""
    statement = """
        INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
        SELECT %(project)s, now() + number * interval '1 microsecond', gen_random_uuid(), now(), 'TV', number::text
          FROM generate_series(1, %(rows)s) AS number
    """
    rows(source.product.database, statement, {"project": source.project_id, "rows": 2 * CHECKPOINT_ROWS + 500})
    for _ in range(20):
        rows(source.product.database, statement, {"project": source.project_id, "rows": 3})
    text = source.export("auth_events").text
    lines = [json.loads(line) for line in text.splitlines()]
    places = [place for place, line in enumerate(lines) if "checkpoint" in line]
    assert max(b - a for a, b in zip([-1, *places], places, strict=False)) <= CHECKPOINT_ROWS + 1
    found = [line["eventId"] for line in lines if "eventId" in line]
    assert len(found) == len(set(found)) == 2 * CHECKPOINT_ROWS + 560
    for place in places:
        before = [line["eventId"] for line in lines[:place] if "eventId" in line]
        later = source.exported("auth_events", cursor=lines[place]["checkpoint"])[0]
        assert before + [each["eventId"] for each in later] == found


def test_head_has_the_headers_and_reads_one_page(source: Source) -> None:
    source.record("auth_events", 2)
    answer = source.http.head(source.path("auth_events"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert source.http.head(source.path("auth_events"), params={"cursor": "x"}).status_code == 422


def test_from_leaves_out_what_was_received_earlier(source: Source) -> None:
    source.record("auth_events", 2)
    [(now,)] = rows(source.product.database, "SELECT to_json(clock_timestamp()) #>> '{}'")
    source.record("auth_events", 1)
    found, checkpoint = source.exported("auth_events", **{"from": now})
    assert len(found) == 1
    assert source.exported("auth_events", cursor=checkpoint)[0] == []
    assert len(source.exported("auth_events", **{"from": "2000-01-01T00:00:00Z"})[0]) == 3


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"format": "xlsx"}, "format"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "x" * 3_000}, "cursor"),
        ({"cursor": "eyJraW5kIjoibWVhc3VyZW1lbnRzIn0"}, "cursor"),
        ({"from": "yesterday"}, "from"),
        ({"from": ""}, "from"),
        ({"since": "2000-01-01T00:00:00Z"}, "since"),
    ],
)
def test_a_wrong_parameter_is_named(source: Source, parameters: dict[str, str], field: str) -> None:
    answer = source.export("measurements", **parameters)
    assert answer.status_code == 422, answer.text
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert source.export("auth_events", **parameters).status_code == 422


def test_a_checkpoint_is_of_one_kind_and_one_project(new_source: Callable[[], Source]) -> None:
    source, other = new_source(), new_source()
    _, checkpoint = source.exported("measurements")
    assert other.export("measurements", cursor=checkpoint).status_code == 422
    assert source.export("store_events", cursor=checkpoint).status_code == 422
    both = source.export("measurements", cursor=checkpoint, **{"from": "2000-01-01T00:00:00Z"})
    assert [each["field"] for each in both.json()["errors"]] == ["from"]


def test_rows_with_personal_data_need_the_scope_to_manage(source: Source) -> None:
    reads = {"X-API-Key": make_key(source.product, source.project, "read")}
    for kind, status in (("auth_events", 403), ("store_events", 403), ("api_requests", 200), ("measurements", 200)):
        assert source.http.get(source.path(kind), headers=reads).status_code == status
    assert source.http.get(source.path("auth_events"), headers={"X-API-Key": ""}).status_code == 401


def test_after_a_restore_a_checkpoint_is_refused(source: Source) -> None:
    """As a restored dump does: the table is another one, and so is what was counted."""
    source.record("measurements", 1)
    _, checkpoint = source.exported("measurements")
    database = source.product.database
    rows(database, "CREATE TABLE restored (LIKE measurement INCLUDING ALL) PARTITION BY RANGE (received_at)")
    rows(database, "CREATE TABLE restored_default PARTITION OF restored DEFAULT")
    rows(database, "GRANT SELECT ON restored TO registration_writer")
    rows(database, "BEGIN; ALTER TABLE measurement RENAME TO lost; ALTER TABLE restored RENAME TO measurement; COMMIT")
    try:
        refused = source.export("measurements", cursor=checkpoint)
        assert refused.status_code == 409
        assert "restored" in refused.json()["detail"]
        assert source.exported("measurements")[0] == []
    finally:
        rows(database, "BEGIN; DROP TABLE measurement; ALTER TABLE lost RENAME TO measurement; COMMIT")
    assert source.exported("measurements", cursor=checkpoint)[0] == []
