"""Whatever a client writes as a device or a measurement is stored as it is, or refused with a reason; never a 500."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contract.devices import DEVICE_NOT_FOUND
from tests.database import assert_counts_are_exact
from tests.devices.conftest import DEVICES, STATS, Fleet, assert_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import httpx2

    from tests.servers import Product

POINT = {"x": 1, "y": 2, "z": 3}
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
FRAGMENTS = ["/", "//", ".", "..", "analyze", "batch", "series", "%2F", "%", "?", "#", ";", "\\", "+", " ", "\t",
             "\u200b", "\u202e", "\x00", "\x7f", "\ufeff", "e\u0301", "\u00e9", "\U0001f600"]  # fmt: skip
ids = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), min_size=1, max_size=4).map("".join)


@pytest.fixture(scope="module", autouse=True)
def counts_are_exact(product: Product) -> Iterator[None]:
    """After all tests of this module."""
    yield
    assert_counts_are_exact(product)


@pytest.fixture(scope="module")
def shared(new_fleet: Callable[[], Fleet]) -> Fleet:
    """A project with the device `d`, for all tests."""
    fleet = new_fleet()
    fleet.create("d")
    return fleet


def encoded(text: str) -> str:
    """Every byte, in small digits: what no client has to write and every one may."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


def everywhere(fleet: Fleet, segment: str) -> list[httpx2.Response]:
    """What every route of one device answers when its path has this in the place of the id."""
    device, stats = f"{DEVICES}/{segment}", f"{STATS}/devices/{segment}"
    return [
        fleet.http.get(device),
        fleet.http.put(device, json={}),
        fleet.http.post(stats, json=POINT),
        fleet.http.post(f"{stats}/batch", json=[POINT]),
        fleet.http.get(stats),
        fleet.http.post(f"{stats}/analyze"),
        fleet.http.get(f"{stats}/series"),
        fleet.http.delete(device),
    ]


def test_every_character_of_an_id_may_be_percent_encoded(shared: Fleet) -> None:
    for start in range(0, len(PRINTABLE), 12):
        device_id = f"a{PRINTABLE[start : start + 12]}b"
        shared.create(device_id)
        for spelt in (encoded(device_id), quote(device_id, safe=""), quote(device_id, safe="!$&'()*+,;=:@")):
            assert shared.http.get(f"{DEVICES}/{spelt}").json()["device_id"] == device_id
            recorded = shared.http.post(f"{STATS}/devices/{spelt}/", json=POINT)
            assert (recorded.status_code, recorded.json()["device_id"]) == (201, device_id)
        assert shared.analyze(device_id).json()["x"]["count"] == 3


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids)
@example("foo/series")
@example("a/")
@example("/a")
@example(".")
@example("users")
def test_an_id_is_either_refused_or_good_on_every_route(shared: Fleet, device_id: str) -> None:
    created = shared.http.post(DEVICES, json={"device_id": device_id})
    if created.status_code != 201:
        assert created.status_code == 422, created.text
        assert [each["field"] for each in created.json()["errors"]] == ["device_id"]
        return
    stored = created.json()["device_id"]
    assert stored == device_id.strip()
    assert [answer.status_code for answer in everywhere(shared, quote(stored, safe=""))] == [
        200, 200, 201, 200, 200, 200, 200, 204,
    ]  # fmt: skip
    assert_problem(shared.http.get(f"{DEVICES}/{encoded(stored)}"), 404, DEVICE_NOT_FOUND)


@pytest.mark.parametrize(
    "segment",
    ["%", "%zz", "%ff", "%c0%af", "%e2%80", "%00", "%ed%a0%80", "%2e%2e", "..%2f..%2fusers", "%252e", "D", "d%20%20x",
     "x" * 300, "x" * 10_000, "d;v=1", "%EF%BC%84"],
    ids=range(16),
)  # fmt: skip
def test_what_names_no_device_is_not_found(shared: Fleet, segment: str) -> None:
    for answer in everywhere(shared, segment):
        assert answer.status_code == 404, (answer.request.method, answer.text)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_slash_that_is_not_encoded_ends_the_id(shared: Fleet, method: str) -> None:
    shared.http.post(DEVICES, json={"device_id": "with/slash"})
    assert shared.http.request(method, f"{DEVICES}/with/slash", json={}).status_code == 404


def test_ids_that_look_alike_are_different_devices(fleet: Fleet) -> None:
    alike = ["a", "A", "\u0430", "\u00e9", "e\u0301", "\uff41", "a\u200bb", "ab"]
    numbers = {fleet.create(device_id)["id"] for device_id in alike}
    assert len(numbers) == len(alike)
    for place, device_id in enumerate(alike):
        fleet.measure(device_id, {"x": place, "y": 0, "z": 0}).raise_for_status()
    assert [fleet.analyze(device_id).json()["x"]["sum"] for device_id in alike] == list(range(len(alike)))


@pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])
def test_no_number_of_a_batch_harms_its_neighbours(fleet: Fleet, lines: bool) -> None:
    fleet.create("d")
    wrong = [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        str(10**400),
        "true",
        '"1"',
        '"NaN"',
        "null",
        "[1]",
        "{}",
    ]
    right = ["1", "-0.0", "5e-324", "1.7976931348623157e308", str(2**53 + 1), "1E0", "0.1"]
    bodies = [f'{{"x":{each},"y":0.5,"z":{each}}}' for pair in zip_all(wrong, right) for each in pair]
    content = "\n".join(bodies) if lines else f"[{','.join(bodies)}]"
    answer = fleet.http.post(f"{fleet.path('d')}/batch", content=content, headers=NDJSON if lines else JSON).json()
    assert (answer["registered"], answer["rejected"]) == (len(right), len(wrong)), answer
    assert {each["status"] for each in answer["results"]} == {"rejected"}
    found = fleet.http.get(fleet.path("d")).json()
    assert sorted(each["x"] for each in found) == sorted(float(each) for each in right)


def zip_all(first: Sequence[str], second: Sequence[str]) -> Iterator[list[str]]:
    """As `zip`, and what is left of the longer one at the end."""
    for place in range(max(len(first), len(second))):
        yield [*first[place : place + 1], *second[place : place + 1]]


@pytest.mark.parametrize("content", ["[", "{}", "null", '"x"', "\x00", "\ufeff"], ids=range(6))
def test_a_body_that_is_no_batch_is_refused(shared: Fleet, content: str) -> None:
    before = shared.http.get(shared.path("d")).json()
    answer = shared.http.post(f"{shared.path('d')}/batch", content=content.encode(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text
    assert shared.http.get(shared.path("d")).json() == before


@pytest.mark.parametrize(
    "content", [b"", b" ", b"null", b"[]", b"{", b"\xff", b"\xef\xbb\xbf", b'{"device_id":"\\ud800"}']
)
def test_an_empty_or_broken_body_is_no_device(shared: Fleet, content: bytes) -> None:
    before = shared.http.get(DEVICES).json()
    for method, path in (("POST", DEVICES), ("POST", f"{DEVICES}/"), ("PUT", f"{DEVICES}/d")):
        answer = shared.http.request(method, path, content=content, headers=JSON)
        if method == "PUT" and b"device_id" in content:
            continue  # a field that it does not read
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), (method, answer.text)
    assert shared.http.get(DEVICES).json() == before


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"name": "\u200b"}, "name"),
        ({"name": "a\u0000"}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"name": ["n"]}, "name"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"user_id": ["0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55"]}, "user_id"),
    ],
    ids=range(7),
)
def test_a_wrong_field_of_a_device_is_named(shared: Fleet, fields: dict[str, object], refused: str) -> None:
    for answer in (
        shared.http.post(DEVICES, json={"device_id": "new", **fields}),
        shared.http.put(f"{DEVICES}/d", json=fields),
    ):
        assert answer.status_code == 422, answer.text
        assert [each["field"] for each in answer.json()["errors"]] == [refused]
    assert shared.http.get(f"{DEVICES}/new").status_code == 404


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ('"timestamp":""', "timestamp"),
        ('"timestamp":1764500000', "timestamp"),
        ('"timestamp":"2026-11-30T10:00:00+24:00"', "timestamp"),
        ('"timestamp":"2026-11-30T10:00:60Z"', "timestamp"),
        ('"timestamp":"0000-01-01T00:00:00"', "timestamp"),
        ('"timestamp":"9999-12-31T23:59:59"', "timestamp"),
        ('"timestamp":["now"]', "timestamp"),
        ('"eventId":""', "eventId"),
        ('"eventId":"\\u200b"', "eventId"),
        ('"eventId":7', "eventId"),
        ('"eventId":"' + "e" * 256 + '"', "eventId"),
    ],
    ids=range(11),
)
def test_a_wrong_field_of_a_measurement_is_named(shared: Fleet, more: str, refused: str) -> None:
    body = f'{{"x":1,"y":2,"z":3,{more}}}'
    single = shared.http.post(shared.path("d"), content=body, headers=JSON)
    assert single.status_code == 422, single.text
    assert [each["field"] for each in single.json()["errors"]] == [refused]
    batch = shared.http.post(f"{shared.path('d')}/batch", content=f"[{body}]", headers=JSON).json()
    assert batch["rejected"] == 1
    assert batch["results"][0]["detail"].startswith(f"{refused}: ")


def test_fields_that_nobody_reads_may_hold_anything(shared: Fleet) -> None:
    deep: object = None
    for _ in range(50):
        deep = [deep]
    for unread in (deep, 10**300, "\u0000", {"x": "1"}, "x" * 10_000):
        body = json.dumps({"device_number": 1, "device_id": "other", "unread": unread, **POINT})
        answer = shared.http.post(shared.path("d"), content=body, headers=JSON)
        assert (answer.status_code, answer.json()["device_id"]) == (201, "d"), answer.text
