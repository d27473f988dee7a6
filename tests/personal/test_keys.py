"""Sealing, wrapping and blind indexes, as rules over any input."""

from __future__ import annotations

import base64
import unicodedata
from typing import Literal
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from device_registration_api.personal.blind_index import BlindIndex, IndexedField
from device_registration_api.personal.keeper import Keeper, WrappedKey
from device_registration_api.personal.keys import NumberedKeys
from device_registration_api.personal.sealing import SealBroken, new_key, seal, unseal

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON: st.SearchStrategy[JsonValue] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
FIELDS = st.dictionaries(st.text(), JSON, max_size=5)
PROJECTS = st.integers(-(2**31), 2**31 - 1)
KEYS = st.binary(min_size=32, max_size=32)
UUIDS = st.uuids()


def listed(*numbers: int, salt: bytes = b"k") -> NumberedKeys:
    return NumberedKeys(",".join(f"{number}:{encoded(salt + bytes([number]))}" for number in numbers))


def encoded(key: bytes) -> str:
    return base64.b64encode(key.ljust(32, b"-")).decode()


@given(KEYS, FIELDS, PROJECTS, UUIDS, UUIDS)
def test_any_fields_come_back(
    key: bytes, fields: dict[str, JsonValue], project_id: int, person_id: UUID, key_id: UUID
) -> None:
    sealed = seal(key, fields, project_id=project_id, person_id=person_id, key_id=key_id)
    assert unseal(key, sealed, project_id=project_id, person_id=person_id, key_id=key_id) == fields


def test_the_same_fields_are_never_sealed_to_the_same_bytes() -> None:
    owner = {"person_id": UUID(int=1), "key_id": UUID(int=2)}
    assert len({seal(bytes(32), {"a": 1}, project_id=1, **owner) for _ in range(50)}) == 50


@given(FIELDS, st.data())
def test_any_changed_bit_is_refused(fields: dict[str, JsonValue], data: st.DataObject) -> None:
    owner = {"person_id": UUID(int=1), "key_id": UUID(int=2)}
    key = new_key()
    sealed = bytearray(seal(key, fields, project_id=1, **owner))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(SealBroken):
        unseal(key, bytes(sealed), project_id=1, **owner)


@given(st.binary(max_size=40))
def test_what_was_never_sealed_is_refused(anything: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(bytes(32), anything, project_id=1, person_id=UUID(int=1), key_id=UUID(int=2))


@given(st.tuples(KEYS, PROJECTS, UUIDS, UUIDS), st.tuples(KEYS, PROJECTS, UUIDS, UUIDS), st.integers(0, 3))
def test_another_key_project_or_person_is_refused(
    owner: tuple[bytes, int, UUID, UUID], other: tuple[bytes, int, UUID, UUID], at: int
) -> None:
    assume(owner[at] != other[at])
    key, project_id, person_id, key_id = owner
    sealed = seal(key, {"email": "a@b.c"}, project_id=project_id, person_id=person_id, key_id=key_id)
    swapped = list(owner)
    swapped[at] = other[at]
    with pytest.raises(SealBroken):
        unseal(swapped[0], sealed, project_id=swapped[1], person_id=swapped[2], key_id=swapped[3])  # type: ignore[arg-type]  # a list of four types


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        seal(bytes(32), {"age": float("nan")}, project_id=1, person_id=UUID(int=1), key_id=UUID(int=2))


@given(KEYS, UUIDS)
def test_a_key_is_wrapped_under_the_current_kek_and_unwrapped_under_any(key: bytes, key_id: UUID) -> None:
    wrapped = Keeper(listed(2, 1)).wrap(key, key_id)
    assert wrapped.kek == 2
    assert Keeper(listed(3, 2)).unwrap(wrapped, key_id) == key


@given(KEYS, UUIDS, UUIDS)
def test_a_wrapped_key_is_refused_for_another_id_number_or_kek(key: bytes, key_id: UUID, other: UUID) -> None:
    assume(key_id != other)
    same_key_twice = NumberedKeys(f"2:{encoded(b'same')},1:{encoded(b'same')}")
    keeper = Keeper(same_key_twice)
    wrapped = keeper.wrap(key, key_id)
    with pytest.raises(SealBroken):
        keeper.unwrap(wrapped, other)
    with pytest.raises(SealBroken):
        keeper.unwrap(WrappedKey(1, wrapped.wrapped), key_id)
    with pytest.raises(SealBroken, match="key-encryption key 2 is not in PERSONAL_KEKS"):
        Keeper(listed(3)).unwrap(wrapped, key_id)
    with pytest.raises(SealBroken):
        Keeper(listed(2, salt=b"x")).unwrap(wrapped, key_id)


@pytest.mark.parametrize(
    "text",
    ["", "1", f"0:{encoded(b'a')}", f"-1:{encoded(b'a')}", f"32768:{encoded(b'a')}", "1:c2hvcnQ=", "1:%%%", "1:",
     f"1:{encoded(b'a')},1:{encoded(b'b')}", f"1:{encoded(b'a')},"],
    ids=["empty", "no-key", "zero", "negative", "too-large", "short", "not-base64", "nothing", "twice", "comma"],
)  # fmt: skip
def test_a_list_of_keys_that_is_wrong_is_refused_without_its_keys(text: str) -> None:
    with pytest.raises(ValueError, match=r"needed|twice|is not the base64") as refused:
        NumberedKeys(text)
    assert "Y" not in str(refused.value).replace("key", "")


def test_the_first_key_is_the_current_one_whatever_its_number() -> None:
    assert listed(2, 9).current == 2
    assert list(listed(2, 9).by_number) == [2, 9]


INDEX = BlindIndex(listed(2, 1))


@given(
    st.tuples(PROJECTS, st.sampled_from(IndexedField), st.text()), st.tuples(PROJECTS, st.sampled_from(IndexedField))
)
def test_digests_of_two_projects_or_fields_are_never_equal(
    one: tuple[int, IndexedField, str], other: tuple[int, IndexedField]
) -> None:
    assume(one[:2] != other)
    assert not {*INDEX.digests(*one)} & {*INDEX.digests(*other, one[2])}


@given(st.text(), st.sampled_from(["NFC", "NFD"]))
def test_normal_forms_and_surrounding_white_space_are_equal(value: str, form: Literal["NFC", "NFD"]) -> None:
    other = f" {unicodedata.normalize(form, value)}\t"
    assert INDEX.digests(1, IndexedField.EMAIL, other) == INDEX.digests(1, IndexedField.EMAIL, value)


@given(st.text())
def test_upper_and_lower_case_are_equal(value: str) -> None:
    # Unicode's own rule does not hold for a combining iota below: it folds to a letter that does not combine.
    assume("\u0345" not in unicodedata.normalize("NFD", value))
    assert INDEX.digests(1, IndexedField.EMAIL, value.casefold()) == INDEX.digests(1, IndexedField.EMAIL, value)


@pytest.mark.parametrize(
    ("one", "other"),
    [("José@Example.org", "jose\N{COMBINING ACUTE ACCENT}@EXAMPLE.ORG "), ("STRASSE", "straße")],
    ids=["accent", "sharp-s"],
)
def test_known_equal_values(one: str, other: str) -> None:
    assert INDEX.digests(1, IndexedField.EMAIL, one) == INDEX.digests(1, IndexedField.EMAIL, other)


def test_different_values_and_keys_have_different_digests_of_32_bytes() -> None:
    digests = INDEX.digests(1, IndexedField.EMAIL, "a") + INDEX.digests(1, IndexedField.EMAIL, "b")
    assert [each.index_key for each in digests] == [2, 1, 2, 1]
    assert len({each.digest for each in digests}) == 4
    assert {len(each.digest) for each in digests} == {32}


@settings(max_examples=50)
@given(PROJECTS, st.text(), st.text())
def test_only_the_same_text_of_a_project_has_the_same_exact_digest(project: int, one: str, other: str) -> None:
    digests = {*INDEX.exact_digests(project, one)}
    assert [each.index_key for each in INDEX.exact_digests(project, one)] == [2, 1]
    assert (digests == {*INDEX.exact_digests(project, other)}) == (one == other)
    assert not digests & {*INDEX.exact_digests(project + 1, one)}
    assert not any(digests & {*INDEX.digests(project, field, one)} for field in IndexedField)
