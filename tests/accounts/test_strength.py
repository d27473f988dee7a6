"""The estimate of a password is bounded work, whatever the password is, and never milder for being bounded."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zxcvbn.matching import RANKED_DICTIONARIES

from device_registration_api.accounts.strength import LENGTHS, SEARCHES_MAX, estimated_part, searches, weakness
from tests.accounts.conftest import PHRASE

SIGNS = "4@8({[<369&#!1|0$57%2"


@given(st.text(st.sampled_from(SIGNS + "abcXYZ -"), max_size=100) | st.text(max_size=100))
def test_the_work_is_bounded(password: str) -> None:
    part = estimated_part(password)
    assert password.startswith(part)
    assert searches(part) <= SEARCHES_MAX or len(part) == LENGTHS[-1]
    # The shortest part has at most as many searches as there are ways.
    assert searches(part) <= 384 * LENGTHS[-1] ** 2
    assert len(part) in {min(length, len(password)) for length in LENGTHS}


@given(st.text(min_size=1, max_size=80) | st.text(st.sampled_from("İŉßﬁaA1$ \0\u200b"), min_size=1, max_size=80))
@settings(max_examples=60, deadline=None)
def test_any_text_is_estimated(password: str) -> None:
    found = weakness(password, [password[::-1], "İstanbul"])
    assert found is None or found.startswith("It is too easy to guess.")


def test_an_ordinary_password_is_estimated_up_to_72_characters() -> None:
    for password in (PHRASE, PHRASE * 50, "correct horse battery staple " * 5, "пароль" * 20):
        assert estimated_part(password) == password[:72]


@pytest.mark.parametrize(
    "password", [SIGNS * 4, "xK9!a@3$Lq7%zP1(", "T4&hb2$Lw9!pQz8^mX1@vN5#", PHRASE, "b7" + SIGNS[::-1]]
)
def test_a_strong_password_with_many_signs_is_strong(password: str) -> None:
    assert weakness(password, []) is None


@pytest.mark.parametrize("password", ["p4$$w0rd", "P@ssw0rd1!", "1111111111111111", "qwertyuiop", "a" * 72, "0$" * 36])
def test_a_weak_password_is_weak(password: str) -> None:
    assert weakness(password, []) is not None


def test_what_is_known_of_one_owner_is_not_used_for_another() -> None:
    """The library keeps it in a variable of its module."""
    names = [f"Quellmaltz{number}Ophirwynne" for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        own = list(threads.map(lambda name: weakness(name, [name]), names * 5))
    assert None not in own
    assert "user_inputs" not in RANKED_DICTIONARIES
    assert weakness(names[0], []) is None
