"""Estimates how hard a password is to guess, in bounded time and one at a time."""

import threading
from collections.abc import Sequence

from zxcvbn import zxcvbn
from zxcvbn.matching import L33T_TABLE, RANKED_DICTIONARIES, enumerate_l33t_subs, relevant_l33t_subtable

SCORE_MIN = 3
# The library raises an error for longer passwords.
CHARACTERS_MAX = 72
# Digits and signs may stand for letters. The library searches its dictionaries for every part of a password, again for
# each way to read it: 72 characters of such signs have 384 ways and took 3.3 s. A shorter part is enough to tell a good
# password, and is never judged better than the whole.
SEARCHES_MAX = 100_000
LENGTHS = (CHARACTERS_MAX, 48, 32, 24, 16)

# The library keeps what is known of a password's owner in a variable of its module.
_one_at_a_time = threading.Lock()


def weakness(password: str, known: Sequence[str]) -> str | None:
    """Return what makes the password weak and what to do, or None if it is strong enough.

    `known` is what an attacker may know of its owner. It blocks for up to a tenth of a second.
    """
    part = estimated_part(password)
    with _one_at_a_time:
        try:
            found = zxcvbn(part, user_inputs=list(known))
        finally:
            RANKED_DICTIONARIES.pop("user_inputs", None)
    if found["score"] >= SCORE_MIN:
        return None
    feedback = found["feedback"]
    sentences = ["It is too easy to guess.", feedback["warning"], *feedback["suggestions"]]
    return " ".join(f"{each.rstrip('.')}." for each in sentences if each)


def estimated_part(password: str) -> str:
    """Return the longest beginning of the password that is estimated in bounded time."""
    for length in LENGTHS:
        part = password[:length]
        if searches(part) <= SEARCHES_MAX:
            return part
    return password[: LENGTHS[-1]]


def searches(part: str) -> int:
    """Return a measure of the work: the ways to read a text, times the square of its length."""
    ways = len(list(enumerate_l33t_subs(relevant_l33t_subtable(part, L33T_TABLE))))
    return ways * len(part) ** 2
