"""Measurements are recorded once, come back as they are stored, and are read the newest first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.measurements.events import Measurement
from statistics_api.measurements.kind import MEASUREMENTS, parse_columns
from statistics_api.measurements.router import DIRECT_ROUTES
from tests.database import assert_counts_are_exact, rows
from tests.delivery.both_ways import assert_both_ways_record_the_same
from tests.devices.conftest import Fleet, assert_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

POINT = {"x": 0.25, "y": -1.5, "z": 9.81}
WITHIN_A_DAY = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def device(fleet: Fleet) -> Fleet:
    """A project with the device `d`."""
    fleet.create("d")
    return fleet


@pytest.mark.parametrize("zone", ["", "Z", "+01:00"], ids=["none", "utc", "offset"])
def test_a_recorded_measurement_comes_back_as_it_is_stored(device: Fleet, zone: str) -> None:
    shift = timedelta(hours=1) if zone == "+01:00" else timedelta(0)
    at = WITHIN_A_DAY.replace(microsecond=125_000)
    sent = POINT | {"timestamp": (at + shift).replace(tzinfo=None).isoformat() + zone}

    answer = device.measure("d", sent)

    row = answer.json()
    assert answer.status_code == 201
    assert str(UUID(row["id"])) == row["id"]
    assert datetime.fromisoformat(row["timestamp"]) == at
    assert {name: row[name] for name in ("device_id", "x", "y", "z")} == {"device_id": "d", **POINT}
    assert device.http.get(device.path("d")).json() == [row]


def test_a_repeat_gets_the_first_row_and_counts_nothing(device: Fleet) -> None:
    device.create("e")
    first = device.measure("d", POINT, **{"Idempotency-Key": "k"})
    spelt = {"x": 2.5e-1, "y": -1.50, "z": 9.81, "device_number": 7, "device_id": "e"}
    for again in (
        device.measure("d", spelt, **{"Idempotency-Key": "k"}),
        device.measure("d", POINT | {"eventId": "k"}),
    ):
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotent-replayed"] == "true"
    batch = device.http.post(f"{device.path('d')}/batch", json=[POINT | {"eventId": "k"}]).json()
    assert (batch["registered"], batch["duplicate"]) == (0, 1)
    for other in (
        device.measure("d", POINT | {"x": 1}, **{"Idempotency-Key": "k"}),
        device.measure("e", POINT, **{"Idempotency-Key": "k"}),
    ):
        assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")
    assert device.analyze("d").json()["x"]["count"] == 1
    assert_counts_are_exact(device.product)


def test_a_replay_of_an_erased_measurement_is_410(device: Fleet) -> None:
    key = {"Idempotency-Key": "erased"}
    row = device.measure("d", POINT, **key).json()
    retire = """
        SELECT maintenance.add_to_retired(
               maintenance.known_fact_table('measurement'),
               format('DELETE FROM public.measurement WHERE event_id = %%L RETURNING *', %(id)s))
    """
    rows(device.product.database, retire, {"id": row["id"]})
    answer = device.measure("d", POINT, **key)
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")
    assert device.analyze("d").json()["x"]["count"] == 1


@pytest.mark.parametrize(
    "body",
    [
        '{"x":NaN,"y":1,"z":1}',
        '{"x":Infinity,"y":1,"z":1}',
        '{"x":1e999,"y":1,"z":1}',
        f'{{"x":{10**400},"y":1,"z":1}}',
        '{"x":true,"y":1,"z":1}',
        '{"x":"1","y":1,"z":1}',
        '{"x":null,"y":1,"z":1}',
        '{"x":1,"y":1}',
        '{"x":1,"y":1,"z":1,"timestamp":"2026-11-30"}',
        '{"x":1,"y":1,"z":1,"timestamp":"2020-01-01T00:00:00"}',
        "[1,2,3]",
        "",
    ],
    ids=["nan", "inf", "overflow", "digits", "bool", "text", "null", "two", "date", "old", "array", "empty"],
)
def test_what_is_no_measurement_is_refused(device: Fleet, body: str) -> None:
    answer = device.http.post(device.path("d"), content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert device.http.get(device.path("d")).json() == []


def test_an_unknown_device_is_not_found_until_it_exists(fleet: Fleet) -> None:
    assert_problem(fleet.measure("d", POINT), 404, "Device not found")
    assert_problem(fleet.http.post(f"{fleet.path('d')}/batch", json=[POINT]), 404, "Device not found")
    fleet.create("d")
    assert fleet.measure("d", POINT).status_code == 201


def test_a_bad_item_of_a_batch_harms_no_other(device: Fleet) -> None:
    items = [POINT, POINT | {"x": "1"}, POINT | {"eventId": "e"}, POINT | {"eventId": "e"}, 7]
    answer = device.http.post(f"{device.path('d')}/batch", json=items).json()
    assert (answer["registered"], answer["duplicate"], answer["rejected"]) == (2, 1, 2)
    assert [each["index"] for each in answer["results"]] == [1, 3, 4]
    assert device.analyze("d").json()["x"]["count"] == 2


def test_the_newest_rows_come_first_and_a_link_leads_through_all(device: Fleet) -> None:
    start = WITHIN_A_DAY.replace(microsecond=0)
    # Two of them have one time.
    times = [start - timedelta(seconds=each) for each in (3, 1, 2, 1, 5)]
    device.measure_all("d", [POINT | {"x": n, "timestamp": at.isoformat()} for n, at in enumerate(times)])
    everything = device.http.get(device.path("d")).json()
    assert [each["x"] for each in everything][2:] == [2, 0, 4]

    found, url = [], f"{device.path('d')}?limit=2&start_time={(start - timedelta(seconds=5)).isoformat()[:-6]}"
    while url:
        answer = device.http.get(url)
        found += answer.json()
        link = answer.headers.get("link", "")
        url = link.partition(">")[0].removeprefix("<")
    assert found == everything
    assert device.http.get(device.path("d"), params={"skip": 3}).json() == everything[3:]


def test_both_ends_of_a_range_are_included(device: Fleet) -> None:
    at = WITHIN_A_DAY.replace(microsecond=1)
    device.measure("d", POINT | {"timestamp": at.isoformat()}).raise_for_status()
    smallest = timedelta(microseconds=1)
    for start, end, expected in ((at, at, 1), (at - smallest, at - smallest, 0), (at + smallest, at + smallest, 0)):
        period = {"start_time": start.isoformat(), "end_time": end.isoformat()}
        assert len(device.http.get(device.path("d"), params=period).json()) == expected
        assert device.analyze("d", **period).status_code == (200 if expected else 404)


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"skip": "-1"},
        {"cursor": "x"},
        {"start_time": "now"},
        {"start_time": "2026-11-30T10:00:00", "end_time": "2026-11-30T09:00:00"},
        {"from": "2026-11-30T10:00:00"},
    ],
    ids="-".join,
)
def test_a_malformed_parameter_is_refused(device: Fleet, parameters: Mapping[str, str]) -> None:
    assert device.http.get(device.path("d"), params=parameters).status_code == 422


@pytest.mark.usefixtures("device")
def test_another_project_does_not_see_a_device(new_fleet: Callable[[], Fleet]) -> None:
    stranger = new_fleet()
    for answer in (
        stranger.measure("d", POINT),
        stranger.http.get(stranger.path("d")),
        stranger.analyze("d"),
        stranger.http.get(f"{stranger.path('d')}/series"),
    ):
        assert_problem(answer, 404, "Device not found")


def test_the_rows_of_a_deleted_project_have_all_tables_of_devices(device: Fleet) -> None:
    device.measure("d", POINT).raise_for_status()
    device.create("e")
    device.http.delete("/api/v1/devices/e").raise_for_status()
    project = {"project": device.project_id}
    deleted = "UPDATE project SET deleted_at = now() - interval '2 minutes' WHERE project_id = %(project)s"
    rows(device.product.database, deleted, project)
    tables = set()
    while True:
        remove = "SELECT table_name FROM maintenance.delete_project_rows(%(project)s, 100)"
        [(table,)] = rows(device.product.database, remove, project)
        if table is None:
            break
        tables.add(table.removeprefix("public."))
    assert tables >= {"device", "device_deletion", "device_latest", "measurement_quarter_hour"}
    assert rows(device.product.database, "SELECT FROM measurement WHERE project_id = %(project)s", project) == []


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.integers(10**300, 10**320)
items = st.dictionaries(
    st.sampled_from(["x", "y", "z", "eventId"]), numbers | st.booleans() | st.none() | st.text(max_size=2), max_size=4
)


@settings(max_examples=200, deadline=None)
@given(st.lists(items, min_size=1, max_size=3))
def test_the_fast_reader_of_plain_items_reads_as_the_model_does(sent: list[dict[str, object]]) -> None:
    kind = MEASUREMENTS.at_path(device_number=7)
    columns = kind.plain_columns(sent)
    if columns is None:
        return
    for position, item in enumerate(sent):
        event = kind.read(item)
        assert isinstance(event, Measurement)
        assert [column[position] for column in columns] == list(kind.values(event))
    assert parse_columns([]) == [[], [], []]


@pytest.mark.parametrize("device_id", ["plain", "*", "a b", "a%2Fanalyze", "\u00e9"])
def test_a_direct_route_records_as_the_long_way(fleet: Fleet, device_id: str) -> None:
    fleet.create(device_id)
    fleet.measure(device_id, POINT)  # from here on, the key and the device are remembered
    assert_both_ways_record_the_same(fleet.http, fleet.path(device_id), POINT, POINT | {"x": 1})
    assert fleet.http.get(fleet.path(device_id)).json()[0]["device_id"] == device_id


def test_only_a_remembered_device_is_ordinary() -> None:
    class Remembered:
        def remembered(self, project_id: int, device_id: str) -> int | None:
            return 5 if (project_id, device_id) == (7, "d") else None

    state = {"devices": Remembered()}
    [route] = DIRECT_ROUTES
    kind = route.kind_at(7, "d", state)
    assert kind is not None
    assert kind.path_fields == {"device_number": 5}
    assert route.kind_at(7, "e", state) is None
    assert route.kind_at(8, "d", state) is None
