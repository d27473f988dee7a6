"""Which constraint a node means: what it says has the names of shards, in the language of the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_registration_api.citus.errors import name_in

NAMES = ["no_poison", "auth_event_pkey", "auth_event_20261130_pkey", "poison"]
IDENTIFIERS = st.from_regex(r"[a-z][a-z_]{0,20}[a-z]", fullmatch=True)


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ('new row for relation "auth_event_20261130_102041" violates check constraint "no_poison"', "no_poison"),
        ('duplicate key value violates unique constraint "auth_event_pkey_102008"', "auth_event_pkey"),
        (
            'duplicate key value violates unique constraint "auth_event_20261130_pkey_102041"',
            "auth_event_20261130_pkey",
        ),
        ("neue Zeile für Relation »auth_event_20261130_102041« verletzt Check-Constraint »no_poison«", "no_poison"),
        ('null value in column "event_id" of relation "auth_event_d_102041" violates not-null constraint', None),
        ('invalid input syntax for type uuid: "no_poisonous"', None),
        ("", None),
    ],
)
def test_the_name_is_that_of_one_server(sentence: str, name: str | None) -> None:
    assert name_in(sentence, NAMES) == name


@given(IDENTIFIERS, IDENTIFIERS, st.integers(102008, 2**31), st.sampled_from(['"{}"', "»{}«", "„{}“", "« {} »"]))
def test_a_name_is_found_with_and_without_the_number_of_its_shard(
    name: str, other: str, shard: int, quotes: str
) -> None:
    sentence = f"x {quotes.format(f'table_{shard}')} y {quotes.format(name)} z"
    numbered = f"x {quotes.format(f'table_{shard}')} y {quotes.format(f'{name}_{shard}')} z"
    others = [] if other in {name, "x", "y", "z", "table"} else [other]
    assert name_in(sentence, [name, *others]) == name
    assert name_in(numbered, [name, *others]) == name
    assert name_in(sentence, others) is None
