"""The form of an API key: its id and checksum are found, and a changed key is refused without its secret."""

import hashlib
import re
import string
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.access import KEY_PATTERN, checksum, key_digest, key_id_of, new_key

BASE_62 = string.digits + string.ascii_letters
EXAMPLE = new_key()


def test_a_new_key_has_the_form_that_is_documented() -> None:
    assert re.fullmatch(r"ds_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", EXAMPLE.text)
    assert re.fullmatch(KEY_PATTERN, EXAMPLE.text)
    assert key_id_of(EXAMPLE.text) == EXAMPLE.key_id
    assert EXAMPLE.digest == hashlib.sha256(EXAMPLE.text.encode()).digest() == key_digest(EXAMPLE.text)


def test_keys_differ() -> None:
    keys = [new_key() for _ in range(200)]
    assert len({each.key_id for each in keys}) == len({each.digest for each in keys}) == 200


def test_the_checksum_is_the_crc_of_what_precedes_it() -> None:
    """A known value: a key that was given out must be accepted by every later release."""
    unchecked = "ds_live_" + "0" * 12 + "_" + "0" * 43
    assert checksum(unchecked) == "47n0G9"
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    value = sum(digits.index(digit) * 62**place for place, digit in enumerate(reversed("47n0G9")))
    assert value == crc32(unchecked.encode())


@given(st.integers(0, len(EXAMPLE.text) - 1), st.sampled_from(BASE_62 + "_-' \n"))
def test_any_one_other_character_is_refused(position: int, character: str) -> None:
    text = EXAMPLE.text[:position] + character + EXAMPLE.text[position + 1 :]
    assert (key_id_of(text) is None) == (text != EXAMPLE.text)


@given(st.integers(0, len(EXAMPLE.text) - 1))
def test_a_truncated_key_is_refused(length: int) -> None:
    assert key_id_of(EXAMPLE.text[:length]) is None


@given(st.text(max_size=200))
def test_other_text_is_refused(text: str) -> None:
    assert key_id_of(text) is None


@pytest.mark.parametrize("changed", ["{}\n", " {}", "{}x", "{}{}", "x{}"])
def test_a_key_with_something_around_it_is_refused(changed: str) -> None:
    assert key_id_of(changed.format(EXAMPLE.text, EXAMPLE.text)) is None


@given(st.text(BASE_62, min_size=12, max_size=12), st.text(BASE_62, min_size=43, max_size=43))
def test_every_id_and_secret_make_a_key(key_id: str, secret: str) -> None:
    unchecked = f"ds_live_{key_id}_{secret}"
    assert len(checksum(unchecked)) == 6
    assert key_id_of(unchecked + checksum(unchecked)) == key_id
