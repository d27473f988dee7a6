"""People over two real databases."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from pydantic import JsonValue

from device_registration_api.personal.blind_index import IndexedField
from device_registration_api.personal.people import PEOPLE_READ_MAX, Person, Taken
from device_registration_api.personal.sealing import SealBroken
from servicekit.errors import Conflict, NotFound, NotRecorded
from tests.personal.conftest import Apart
from tests.personal_databases import key_list

EMAIL, USERNAME = IndexedField.EMAIL, IndexedField.USERNAME
BOTH = (EMAIL, USERNAME)
ANN: dict[str, JsonValue] = {"email": "ann@example.org", "username": "Ann", "phone": 49301234, "name": "Ann Marker"}
SECONDS = 10.0
COUNTS = "SELECT (SELECT count(*)::int FROM person), (SELECT count(*)::int FROM person_index)"
KEYS = "SELECT count(*)::int FROM person_key"


async def test_a_person_is_found_and_read_within_its_project_alone(apart: Apart) -> None:
    people = apart.people()
    person_id = await people.create(1, ANN, BOTH, SECONDS)

    assert await people.find(1, EMAIL, " ANN@example.org", SECONDS) == person_id
    assert await people.find(1, USERNAME, "ann", SECONDS) == person_id
    assert await people.find(1, USERNAME, "ann@example.org", SECONDS) is None
    assert await people.find(2, EMAIL, "ann@example.org", SECONDS) is None
    assert await people.read(1, [uuid4(), person_id, person_id], SECONDS) == [Person(person_id, ANN)]
    assert await people.read(2, [person_id], SECONDS) == []


async def test_nothing_readable_is_stored(apart: Apart) -> None:
    await apart.people().create(1, ANN, BOTH, SECONDS)
    stored = apart.rows("personal", "SELECT sealed FROM person UNION ALL SELECT digest FROM person_index")
    assert len(stored) == 3
    assert not any(b"ann" in bytes(value).lower() or b"Marker" in bytes(value) for (value,) in stored)


async def test_a_taken_value_is_a_conflict_that_names_the_field_and_stores_nothing(apart: Apart) -> None:
    people = apart.people()
    await people.create(1, ANN, BOTH, SECONDS)
    before = apart.rows("personal", COUNTS)
    with pytest.raises(Conflict, match="same email"):
        await people.create(1, {"email": "Ann@Example.org", "username": "other"}, BOTH, SECONDS)
    with pytest.raises(Conflict, match="same username"):
        await people.create(1, {"email": "other@example.org", "username": "ANN"}, BOTH, SECONDS)
    assert apart.rows("personal", COUNTS) == before
    await people.create(2, ANN, BOTH, SECONDS)
    await people.create(1, {**ANN, "username": "third"}, [USERNAME], SECONDS)  # not found by its e-mail address


async def test_of_twenty_at_once_one_is_stored(apart: Apart) -> None:
    people = [apart.people(), apart.people()]
    outcomes = await asyncio.gather(
        *(people[number % 2].create(1, ANN, BOTH, SECONDS) for number in range(20)), return_exceptions=True
    )
    assert [type(each) for each in outcomes].count(Taken) == 19
    assert apart.rows("personal", COUNTS) == [(1, 2)]


async def test_an_update_seals_again_and_moves_the_index(apart: Apart) -> None:
    people = apart.people()
    person_id = await people.create(1, ANN, BOTH, SECONDS)
    other = await people.create(1, {"email": "bob@example.org"}, BOTH, SECONDS)
    await people.update(1, person_id, {"email": "new@example.org", "phone": None}, BOTH, SECONDS)

    assert await people.find(1, EMAIL, "ann@example.org", SECONDS) is None
    assert await people.find(1, EMAIL, "new@example.org", SECONDS) == person_id
    assert await people.find(1, USERNAME, "Ann", SECONDS) == person_id
    changed = Person(person_id, {**ANN, "email": "new@example.org", "phone": None})
    assert await people.read(1, [person_id], SECONDS) == [changed]

    with pytest.raises(Conflict, match="same email"):
        await people.update(1, other, {"email": "NEW@example.org"}, BOTH, SECONDS)
    assert await people.find(1, EMAIL, "bob@example.org", SECONDS) == other
    for project_id, nobody in ((2, person_id), (1, uuid4())):
        with pytest.raises(NotFound):
            await people.update(project_id, nobody, {"email": "x@example.org"}, BOTH, SECONDS)


async def test_an_erased_person_is_gone_and_a_repeat_finishes_what_was_begun(apart: Apart) -> None:
    people = apart.people()
    person_id = await people.create(1, ANN, BOTH, SECONDS)
    half = apart.people(keyring="absent")
    with pytest.raises(NotRecorded):
        await half.erase(1, person_id, SECONDS)
    assert apart.rows("keyring", KEYS) == [(1,)]

    for _ in range(2):
        await people.erase(1, person_id, SECONDS)
        assert (apart.rows("personal", COUNTS), apart.rows("keyring", KEYS)) == ([(0, 0)], [(0,)])
    assert await people.find(1, EMAIL, "ann@example.org", SECONDS) is None
    assert await people.create(1, ANN, BOTH, SECONDS) != person_id


@pytest.mark.parametrize("absent", ["personal", "keyring"])
async def test_without_a_database_nothing_is_recorded(apart: Apart, absent: str) -> None:
    person_id = await apart.people().create(1, ANN, BOTH, SECONDS)
    before = apart.rows("personal", COUNTS)
    people = apart.people(**{absent: "absent"})
    for work in (
        people.create(1, {"email": "b@example.org"}, BOTH, SECONDS),
        people.read(1, [person_id], SECONDS),
        people.update(1, person_id, {"email": "b@example.org"}, BOTH, SECONDS),
        people.erase(2, person_id, SECONDS),
    ):
        with pytest.raises(NotRecorded):
            await work
    assert apart.rows("personal", COUNTS) == before
    assert apart.rows("keyring", KEYS) == [(2 if absent == "personal" else 1,)]


async def test_a_value_is_unique_and_found_while_an_index_key_is_replaced(apart: Apart) -> None:
    old, rolling = apart.people(index=key_list(1)), apart.people(index=key_list(2, 1))
    before = await old.create(1, ANN, BOTH, SECONDS)
    assert await rolling.find(1, EMAIL, "ann@example.org", SECONDS) == before
    with pytest.raises(Conflict, match="same email"):
        await rolling.create(1, ANN, BOTH, SECONDS)
    during = await rolling.create(1, {"email": "b@example.org"}, BOTH, SECONDS)
    for people in (old, rolling, apart.people(index=key_list(2))):
        assert await people.find(1, EMAIL, "b@example.org", SECONDS) == during


async def test_a_row_moved_to_another_person_or_project_does_not_open(apart: Apart) -> None:
    people = apart.people()
    one = await people.create(1, ANN, BOTH, SECONDS)
    two = await people.create(1, {"email": "b@example.org"}, BOTH, SECONDS)
    apart.rows(
        "personal", "UPDATE person SET sealed = other.sealed FROM person AS other WHERE other.sealed <> person.sealed"
    )
    for person_id in (one, two):
        with pytest.raises(SealBroken):
            await people.read(1, [person_id], SECONDS)


async def test_no_more_than_a_hundred_are_read_at_once(apart: Apart) -> None:
    ids = [uuid4() for _ in range(PEOPLE_READ_MAX)]
    assert await apart.people().read(1, ids, SECONDS) == []
    with pytest.raises(ValueError, match="at most 100"):
        await apart.people().read(1, [*ids, uuid4()], SECONDS)


async def test_pages_have_the_order_of_creation(apart: Apart) -> None:
    people = apart.people()
    ids = [await people.create(1, {"email": f"{number}@example.org"}, [EMAIL], SECONDS) for number in range(5)]
    await people.create(2, ANN, BOTH, SECONDS)
    # Two of one moment are told apart by their ids.
    apart.rows("personal", "UPDATE person SET created_at = '2026-11-01T00:00:00Z' WHERE project_id = 1")
    pages = [await people.page(1, skip, 2, SECONDS) for skip in (0, 2, 4, 6)]
    assert [each.person_id for page in pages for each in page] == sorted(ids)
    # One of them is being erased.
    apart.rows("keyring", f"DELETE FROM person_key WHERE person_id = '{ids[0]}'")  # noqa: S608 - an id of this test
    assert {each.person_id for each in await people.page(1, 0, 100, SECONDS)} == {*ids[1:]}
    with pytest.raises(ValueError, match="at most 100"):
        await people.page(1, 0, 101, SECONDS)


async def test_an_imported_number_finds_within_its_project(apart: Apart) -> None:
    people = apart.people()
    person_id = await people.create(1, ANN, BOTH, SECONDS)
    apart.rows("personal", "UPDATE person SET imported_id = '7'")
    assert await people.find_imported(1, "7", SECONDS) == person_id
    assert await people.find_imported(1, "07", SECONDS) is None
    assert await people.find_imported(2, "7", SECONDS) is None
