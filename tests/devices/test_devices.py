"""Devices are created, listed, changed and deleted; a deleted one is gone at once, and its figures stay counted."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from contract.devices import DEVICE_EXISTS, DEVICE_NOT_FOUND, USER_NOT_FOUND
from tests.access.conftest import make_key
from tests.database import assert_counts_are_exact, command, rows
from tests.devices.conftest import DEVICES, Fleet, assert_problem

if TYPE_CHECKING:
    from collections.abc import Callable

# Each of them has a character or an end that a path could take for its own.
IDS = ["kg/s", "foo", "foo/analyze", "foo/batch", "%", "a b", "ä?#&", "100%25", "a\\b", "...", "+"]


@pytest.mark.parametrize("slash", ["", "/"], ids=["bare", "slash"])
def test_a_created_device_is_found_listed_and_refused_again(fleet: Fleet, slash: str) -> None:
    user = fleet.person()
    answer = fleet.http.post(f"{DEVICES}{slash}", json={"device_id": " sensor-7 ", "name": "Boiler", "user_id": user})
    created = answer.json()
    assert answer.status_code == 201
    assert created == {"id": created["id"], "device_id": "sensor-7", "name": "Boiler", "user_id": user}
    assert fleet.http.get(f"{DEVICES}/sensor-7{slash}").json() == created
    assert fleet.http.get(f"{DEVICES}{slash}").json() == [{**created, "last_seen": None, "latest": None}]
    assert_problem(fleet.http.post(f"{DEVICES}{slash}", json={"device_id": "sensor-7"}), 409, DEVICE_EXISTS)
    assert fleet.create("other")["name"] is None


def test_a_device_id_may_have_every_character(fleet: Fleet) -> None:
    for device_id in IDS:
        fleet.create(device_id)
    for number, device_id in enumerate(IDS):
        assert fleet.http.get(fleet.path(device_id, base=DEVICES)).json()["device_id"] == device_id
        recorded = fleet.measure(device_id, {"x": number, "y": 0, "z": 0})
        assert (recorded.status_code, recorded.json()["device_id"]) == (201, device_id)
    found = [fleet.analyze(device_id).json()["x"] for device_id in IDS]
    assert [(each["count"], each["sum"]) for each in found] == [(1, float(number)) for number in range(len(IDS))]


@pytest.mark.parametrize(
    "body",
    [{}, {"device_id": ""}, {"device_id": " "}, {"device_id": ".."}, {"device_id": "a\u0000"}, {"device_id": 7},
     {"device_id": "d" * 256}, {"device_id": "d", "name": ""}, {"device_id": "d", "user_id": "x"}, []],
    ids=["none", "empty", "blank", "dots", "nul", "number", "long", "no-name", "no-uuid", "array"],
)  # fmt: skip
def test_a_malformed_device_is_refused(fleet: Fleet, body: object) -> None:
    assert fleet.http.post(DEVICES, json=body).status_code == 422
    assert fleet.http.get(DEVICES).json() == []


def test_a_user_of_another_project_or_none_or_an_erased_one_is_not_found(
    fleet: Fleet, new_fleet: Callable[[], Fleet]
) -> None:
    erased, others = fleet.person(), new_fleet().person()
    rows(fleet.product.database, "UPDATE project_person SET erased_at = now() WHERE person_id = %(id)s", {"id": erased})
    fleet.create("d")
    for user in (str(uuid4()), others, erased):
        created = fleet.http.post(DEVICES, json={"device_id": "new", "user_id": user})
        assert_problem(created, 404, USER_NOT_FOUND)
        assert_problem(fleet.http.put(f"{DEVICES}/d", json={"user_id": user}), 404, USER_NOT_FOUND)
    assert fleet.http.get(f"{DEVICES}/d").json()["user_id"] is None


def test_a_change_applies_null_and_leaves_what_is_absent(fleet: Fleet) -> None:
    user = fleet.person()
    device = fleet.create("d", name="n", user_id=user)

    def change(**fields: object) -> object:
        answer = fleet.http.put(f"{DEVICES}/d", json=fields)
        assert answer.status_code == 200
        return answer.json()

    assert change() == device
    assert change(user_id=None) == device | {"user_id": None}
    assert change(name="m", device_id="ignored") == device | {"user_id": None, "name": "m"}
    assert change(name=None, user_id=user) == device | {"name": None}
    assert_problem(fleet.http.put(f"{DEVICES}/other", json={}), 404, DEVICE_NOT_FOUND)
    assert fleet.http.put(f"{DEVICES}/d", json={"name": 1}).status_code == 422


def test_the_list_has_a_total_order_and_pages(fleet: Fleet) -> None:
    names = [f"d{number}" for number in (3, 1, 2)]
    for name in names:
        fleet.create(name)
    assert [each["device_id"] for each in fleet.http.get(DEVICES).json()] == names
    assert [each["device_id"] for each in fleet.http.get(DEVICES, params={"skip": 1, "limit": 1}).json()] == ["d1"]
    for wrong in ({"limit": 0}, {"limit": 101}, {"skip": -1}, {"skip": "x"}, {"other": 1}):
        assert fleet.http.get(DEVICES, params=wrong).status_code == 422, wrong


def test_a_repeat_under_an_idempotency_key_creates_one_device(fleet: Fleet) -> None:
    key = {"Idempotency-Key": "k"}
    first, again = (fleet.http.post(DEVICES, json={"device_id": "d"}, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
    assert again.headers["idempotent-replayed"] == "true"
    other = fleet.http.post(DEVICES, json={"device_id": "e"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")


def test_the_latest_is_the_one_that_was_measured_last(fleet: Fleet) -> None:
    fleet.create("d")
    at = fleet.measure("d", {"x": 1, "y": 2, "z": 3}).json()["timestamp"]
    fleet.measure("d", {"x": 9, "y": 9, "z": 9, "timestamp": "2026-11-29T10:00:00"}).raise_for_status()
    [listed] = fleet.http.get(DEVICES).json()
    latest = listed["latest"]
    assert {axis: latest[axis] for axis in "xyz"} == {"x": 1, "y": 2, "z": 3}
    assert latest["timestamp"] == listed["last_seen"]
    # The same instant: the row that a post returns has no zeros at the end of a fraction.
    assert datetime.fromisoformat(latest["timestamp"]) == datetime.fromisoformat(at)


def test_a_deleted_device_is_gone_at_once_and_its_id_is_free(fleet: Fleet) -> None:
    number = fleet.create("d")["id"]
    for _ in range(3):
        fleet.measure("d", {"x": 1, "y": 2, "z": 3}, **{"Idempotency-Key": "k"}).raise_for_status()
    assert fleet.http.delete(f"{DEVICES}/d").status_code == 204
    for answer in (
        fleet.http.get(f"{DEVICES}/d"),
        fleet.http.delete(f"{DEVICES}/d"),
        fleet.measure("d", {"x": 1, "y": 2, "z": 3}),
        fleet.measure("d", {"x": 1, "y": 2, "z": 3}, **{"Idempotency-Key": "k"}),
        fleet.http.post(f"{fleet.path('d')}/batch", json=[{"x": 1, "y": 2, "z": 3}]),
        fleet.http.get(fleet.path("d")),
        fleet.analyze("d"),
    ):
        assert_problem(answer, 404, DEVICE_NOT_FOUND)
    assert fleet.create("d")["id"] > number
    assert fleet.http.get(fleet.path("d")).json() == []
    assert_counts_are_exact(fleet.product)


def test_maintain_removes_the_measurements_of_a_deleted_device_and_their_sums_stay(fleet: Fleet) -> None:
    number = fleet.create("d")["id"]
    fleet.measure_all("d", [{"x": 0.1, "y": 1e300, "z": -1}] * 30)
    fleet.http.delete(f"{DEVICES}/d").raise_for_status()
    command(fleet.product, "maintain")
    of_device = {"number": number}
    facts = "SELECT count(*)::int FROM measurement WHERE device_number = %(number)s"
    assert rows(fleet.product.database, facts, of_device) == [(30,)]  # too early: a process may still store some

    age = "UPDATE device_deletion SET deleted_at = now() - interval '61 seconds' WHERE device_number = %(number)s"
    rows(fleet.product.database, age, of_device)
    report = command(fleet.product, "maintain")

    assert "deleted devices: 30 measurements of 1 devices removed, they stay counted" in report
    assert rows(fleet.product.database, facts, of_device) == [(0,)]
    retired = "SELECT event_count::int, x_sum::text, y_max FROM measurement_retired WHERE device_number = %(number)s"
    assert rows(fleet.product.database, retired, of_device) == [(30, "3.0", 1e300)]
    left = "SELECT FROM device_deletion UNION ALL SELECT FROM device_latest WHERE device_number = %(number)s"
    assert rows(fleet.product.database, left, of_device) == []
    assert_counts_are_exact(fleet.product)


def test_nothing_is_recorded_for_a_device_whose_end_was_not_noticed(fleet: Fleet) -> None:
    kept, lost, replaced = (fleet.create(name)["id"] for name in ("kept", "lost", "replaced"))
    for name in ("kept", "lost", "replaced"):
        fleet.measure(name, {"x": 1, "y": 1, "z": 1}).raise_for_status()  # the process remembers the number
    fleet.forget_row(lost)
    fleet.forget_row(replaced)
    again = rows(
        fleet.product.database,
        "INSERT INTO device (project_id, device_id) VALUES (%(project)s, 'replaced') RETURNING device_number",
        {"project": fleet.project_id},
    )[0][0]

    assert_problem(fleet.measure("lost", {"x": 2, "y": 2, "z": 2}), 404, DEVICE_NOT_FOUND)
    answer = fleet.measure("replaced", {"x": 2, "y": 2, "z": 2})
    assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
    fleet.measure("replaced", {"x": 2, "y": 2, "z": 2}).raise_for_status()

    found = dict(
        rows(
            fleet.product.database,
            "SELECT device_number, count(*)::int FROM measurement WHERE project_id = %(project)s GROUP BY 1",
            {"project": fleet.project_id},
        )
    )
    assert found == {kept: 1, lost: 1, replaced: 1, again: 1}
    assert_counts_are_exact(fleet.product)


def test_each_scope_opens_its_own_routes(fleet: Fleet) -> None:
    fleet.create("d")
    project = rows(
        fleet.product.database, "SELECT project_key FROM project WHERE project_id = %(id)s", {"id": fleet.project_id}
    )[0][0]
    reading, writing = ({"X-API-Key": make_key(fleet.product, project, scope)} for scope in ("read", "ingest"))
    point = {"x": 1, "y": 1, "z": 1}
    assert fleet.http.get(DEVICES, headers=reading).status_code == 200
    assert fleet.http.get(DEVICES, headers=writing).status_code == 403
    assert fleet.http.post(fleet.path("d"), json=point, headers=reading).status_code == 403
    assert fleet.http.post(fleet.path("d"), json=point, headers=writing).status_code == 201
    assert fleet.http.delete(f"{DEVICES}/d", headers=writing).status_code == 403
    assert fleet.http.get(DEVICES, headers={"X-API-Key": ""}).status_code == 401
