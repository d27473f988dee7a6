"""A key of another system is found by its digest, and no text is taken for another one."""

import hmac
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from contract.access import imported_key_id, key_id_of, new_key, proofs_of

SECRET = b"secret of another system"
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


@given(KEYS)
def test_a_key_is_looked_for_as_each_system_stores_it(text: str) -> None:
    digests = [sha256(text.encode()).digest(), hmac.digest(SECRET, text.encode(), sha256)]
    assert proofs_of(text, SECRET) == [(imported_key_id(each), each) for each in digests]
    assert proofs_of(text) == proofs_of(text, SECRET)[:1]


@given(st.text(max_size=300) | st.text(st.characters(categories=["Cs", "Cc", "Zs"]), max_size=20))
def test_no_text_is_an_error(text: str) -> None:
    is_sendable = 1 <= len(text) <= 255 and all("!" <= each <= "~" for each in text)
    assert bool(proofs_of(text, SECRET)) == is_sendable


def test_a_key_of_ours_is_nothing_else() -> None:
    key = new_key()
    assert proofs_of(key.text, SECRET) == [(key.key_id, key.digest)]
    assert key_id_of(key.text) == key.key_id
    for text in (key.text[:-1], key.text + "0", key.text[:-1] + ("0" if key.text[-1] != "0" else "1"), "ds_live_"):
        assert proofs_of(text, SECRET) == []


@given(KEYS, KEYS)
def test_two_keys_have_two_ids(one: str, other: str) -> None:
    ids = {each.key_id for text in {one, other} for each in proofs_of(text, SECRET)}
    assert len(ids) == 2 * len({one, other})
    assert all(len(each) == 12 and each.isalnum() for each in ids)
