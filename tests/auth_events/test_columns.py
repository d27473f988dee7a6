"""A batch read in columns is read exactly as item by item, only faster: the rules of the contract, stated twice."""

import json
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contract.auth_events.events import AuthEvent
from contract.text import ShortText, ValidatedText, all_stripped, all_valid
from servicekit.errors import BadRequest, Invalid
from statistics_api.auth_events.kind import AUTH_EVENTS, parse_columns
from tests.auth_events.payloads import DEVICE_TYPES, event

# Everything that a JSON string can hold: no surrogates.
_CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
# Words whose boundaries matter: white space of every kind, controls, lengths at the bound, more than two bytes.
_EDGES = ["", " ", " a", "a ", "\u00a0a", "a\u2003b", "\x1ca", "a\x85", "a\tb", "\x7f", "\u200d", "k" * 255, "k" * 256]
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from([*_EDGES, "😀" * 255])
_VALUES: st.SearchStrategy[object] = (
    _TEXTS | st.none() | st.booleans() | st.integers() | st.lists(_TEXTS, max_size=1) | st.just({})
)
_ITEMS = st.fixed_dictionaries(
    {"userKey": _TEXTS, "deviceType": st.sampled_from([*DEVICE_TYPES, "Windows", "ios"])}
) | st.dictionaries(
    st.sampled_from(["userKey", "deviceType", "user_key", "eventId", "occurredAt", "more"]), _VALUES, max_size=3
)


def one_by_one(items: list[Any]) -> list[AuthEvent] | None:
    """Every item as the contract's model has it, or None if one is refused."""
    try:
        return [AUTH_EVENTS.read(item) for item in items]
    except (BadRequest, Invalid):
        return None


@settings(max_examples=500, deadline=None)
@given(st.lists(_ITEMS | _VALUES, max_size=6))
def test_whatever_is_read_in_columns_is_what_the_model_reads(items: list[Any]) -> None:
    columns = parse_columns(items)
    if columns is not None:
        events = one_by_one(items)
        assert events is not None
        assert columns == ([each.user_key for each in events], [each.device_type.value for each in events])
        assert all(each.event_id is None and each.occurred_at is None for each in events)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.builds(event, _TEXTS, st.sampled_from(DEVICE_TYPES)), max_size=6))
@example([event("\u200d"), event("a\u00a0b")])  # neither is printable, both are fine
def test_whatever_the_model_takes_as_it_is_is_read_in_columns(items: list[Any]) -> None:
    events = one_by_one(items)
    as_it_is = events is not None and all(
        each.user_key == item["userKey"] for each, item in zip(events, items, strict=True)
    )
    assert (parse_columns(items) is not None) == as_it_is


@pytest.mark.parametrize("place", [0, 500, 999])
@pytest.mark.parametrize("odd", [event(" u"), event("u", "Windows"), event("u", eventId="e"), "event", {}], ids=str)
def test_one_odd_item_anywhere_sends_the_batch_the_other_way(place: int, odd: object) -> None:
    items: list[object] = [event(f"u-{index}", DEVICE_TYPES[index % 4]) for index in range(1_000)]
    assert parse_columns(items) == (
        [f"u-{index}" for index in range(1_000)],
        [DEVICE_TYPES[index % 4] for index in range(1_000)],
    )
    items[place] = odd
    assert parse_columns(items) is None


def passing(rule: Callable[[list[str]], bool], texts: list[str]) -> list[str]:
    """Those of so many texts that pass a rule which a list passes if each of its texts does."""
    if rule(texts):
        return texts
    half = len(texts) // 2
    return passing(rule, texts[:half]) + passing(rule, texts[half:]) if half else []


def test_of_every_character_there_is_the_bulk_rules_say_what_the_contract_says() -> None:
    accepted = passing(all_valid, _CHARACTERS)
    assert TypeAdapter(list[ValidatedText]).validate_python(accepted) == accepted
    refused = set(_CHARACTERS) - set(accepted)
    assert {each for each in _CHARACTERS if unicodedata.category(each) in ("Cc", "Zs", "Zl", "Zp")} <= refused
    short_texts = TypeAdapter(list[ShortText])
    is_short_text = TypeAdapter(ShortText).validator.isinstance_python
    assert refused == {each for each in _CHARACTERS if not is_short_text(each)}
    for sides in ("{}a", "a{}", "a{}a"):
        every = list(map(sides.format, accepted))
        texts = passing(all_stripped, every)
        assert short_texts.validate_python(texts) == texts
        # ... and the other way round: nothing is taken for white space that the contract would keep.
        others = sorted(set(every) - set(texts))
        assert all(len(each) == 1 for each in short_texts.validate_python(others))


@settings(deadline=None)
@given(st.lists(_TEXTS, max_size=4))
def test_many_texts_are_accepted_if_each_is(texts: list[str]) -> None:
    try:
        TypeAdapter(list[ValidatedText]).validate_python(texts)
    except ValidationError:
        assert not all_valid(texts)
    else:
        assert all_valid(texts)


def test_a_field_is_known_by_its_name_on_the_wire_alone(public: httpx2.Client) -> None:
    items = [event("by-its-name", eventId="by-its-name"), {"user_key": "by-pythons", "device_type": "iOS"}]
    alone = public.post("/Log/auth/batch", content=json.dumps(items[1:])).json()
    assert (alone["registered"], alone["rejected"]) == (0, 1)
    assert alone["results"][0]["detail"].startswith("userKey: ")
    beside = public.post("/Log/auth/batch", content=json.dumps(items)).json()
    assert (beside["registered"], beside["rejected"]) == (1, 1)
