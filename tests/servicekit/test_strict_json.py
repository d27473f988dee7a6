"""The grammar of RFC 8259, all of it and no more, however strange the text: and never any other failure."""

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from servicekit.http import rare_json
from servicekit.http.strict_json import MalformedJson, decode
from tests.processor_time import least_seconds, processor_seconds

MANY = 300
# More levels than these, and the fast parser gives up; the other keeps these, and replaces what is deeper by 0.
FAST_LEVELS_MAX, KEPT_LEVELS_MAX = 200, 100
# The promise: no body holds the event loop for longer.
TURN_SECONDS_MAX = 0.050
DEEPEST = rare_json.BYTES_MAX // 2


def arrays(depth: int, innermost: str = "") -> str:
    return "[" * depth + innermost + "]" * depth


def objects(depth: int, innermost: str = "{}") -> str:
    return '{"a":' * (depth - 1) + innermost + "}" * (depth - 1)


def mixed(depth: int, innermost: str = "") -> str:
    pairs, odd = divmod(depth, 2)
    return '[{"a":' * pairs + ("[" * odd + innermost + "]" * odd or "0") + "}]" * pairs


ACCEPTED: dict[str, tuple[str, Any]] = {
    "an object": ('{"userKey":"u","deviceType":"iOS"}', {"userKey": "u", "deviceType": "iOS"}),
    "white space around": (" \t\r\n[1]\n", [1]),
    "a scalar": ("true", True),
    "a byte order mark": ("\ufeff{}", {}),
    "an escaped pair of surrogates": (r'"\ud83d\ude00"', "😀"),
    "a character outside the basic plane": ('"😀"', "😀"),
    "a backslash before u0000": (r'"\\u0000"', r"\u0000"),
    "a NUL": (r'["a\u0000b"]', ["a\0b"]),
    "a NUL in a key": (r'{"a\u0000":1}', {"a\0": 1}),
    "the last of duplicate keys": ('{"a":1,"a":2}', {"a": 2}),
    "digits in a string": (f'"{"9" * 400}"', "9" * 400),
    "brackets in a string": (json.dumps({"a": "[{" * MANY}), {"a": "[{" * MANY}),
    "many shallow items": (f"[{','.join([arrays(2)] * MANY)}]", [[[]]] * MANY),
    "the largest double": ("1.7976931348623157e308", 1.7976931348623157e308),
    "a double too small to differ from zero": ("1e-999", 0.0),
    "numbers beyond a double": ('{"a":[1e999,-1E+400]}', {"a": [math.inf, -math.inf]}),
    "a long fraction": ("0." + "1" * 400, 0.1111111111111111),
    "an integer beyond 64 bits": (str(2**64), 2**64),
    "an integer of 4,000 digits": ("-" + "7" * 4_000, int("-" + "7" * 4_000)),
    "an integer of 60,000 digits": ('{"a":' + "7" * 60_000 + "}", {"a": math.inf}),
    "a fraction of 60,000 digits": ("0." + "3" * 60_000, 1 / 3),
    "an exponent of 60,000 digits": ("-1e" + "9" * 60_000, -math.inf),
    "a lone high surrogate": (r'"\ud800"', "\ud800"),
    "a lone low surrogate": (r'["\udc00x"]', ["\udc00x"]),
    "a lone surrogate in a key": (r'{"\ud800x":1}', {"\ud800x": 1}),
    "surrogates in the wrong order": (r'"\ude00\ud83d"', "\ude00\ud83d"),
    "a byte order mark before a lone surrogate": ("\ufeff" + r'"\ud800"', "\ud800"),
    "a deep array": (arrays(FAST_LEVELS_MAX - 1, "0"), None),
    "a deep object": (objects(FAST_LEVELS_MAX - 1, '{"a":0}'), None),
    "a deep mixture": (mixed(FAST_LEVELS_MAX - 1, "0"), None),
    "an array too deep for any stack": (arrays(DEEPEST), json.loads(arrays(KEPT_LEVELS_MAX, "0"))),
    "an object too deep for any stack": (
        objects(9_000, '{"a":0}'),
        json.loads(objects(KEPT_LEVELS_MAX + 1, "0")),
    ),
    "a deep value beside others": (
        '{"a":' + arrays(5_000, r'"]\"["') + ',"b":[1,' + mixed(301) + "]}",
        {"a": json.loads(arrays(KEPT_LEVELS_MAX - 1, "0")), "b": [1, json.loads(mixed(KEPT_LEVELS_MAX - 2, "0"))]},
    ),
    "everything at once": (
        r'{"a":"\ud800","b":' + "7" * 5_000 + ',"c":' + arrays(250) + "}",
        {"a": "\ud800", "b": math.inf, "c": json.loads(arrays(KEPT_LEVELS_MAX - 1, "0"))},
    ),
}

REFUSED = {
    "nothing": b"",
    "white space alone": b" ",
    "a byte order mark alone": b"\xef\xbb\xbf",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "a byte order mark inside": b"[\xef\xbb\xbf1]",
    "text after the value": b"{} x",
    "a second value": b"{}{}",
    "a comment": b"{} // x",
    "a trailing comma": b"[1,]",
    "single quotes": b"{'a':1}",
    "a leading zero": b"01",
    "a leading plus": b"+1",
    "a word": b"undefined",
    "NaN": b"NaN",
    "NaN inside": b'{"a":NaN}',
    "Infinity": b"Infinity",
    "minus Infinity": b"[-Infinity]",
    "a NUL byte": b'"a\x00b"',
    "a control character": b'"a\nb"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "broken UTF-8": b'"\xff"',
    "an overlong form": b'"\xc0\x80"',
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without a mark": "{}".encode("utf-16-le"),
    "UTF-32": "{}".encode("utf-32"),
    "half an escape": rb'"\ud8"',
    "an escape of no digits": rb'"\ud8zz"',
    "a lone surrogate in an open string": rb'"\ud800',
    "NaN beside a lone surrogate": rb'["\ud800",NaN]',
    "broken UTF-8 beside a lone surrogate": b'["\\ud800","\xff"]',
    "a control character beside a lone surrogate": b'["\\ud800","\n"]',
    "a second value after a lone surrogate": rb'"\ud800" 1',
    "a long number that is none": b"-" + b"7" * 5_000 + b".",
    "a long number and a trailing comma": b"[" + b"7" * 5_000 + b",]",
    "deep, and never closed": b"[" * DEEPEST,
    "deep objects, and never closed": b'{"a":' * 9_000,
    "deep, and closed once too often": arrays(MANY).encode() + b"]",
    "deep, and closed by the other bracket": b"[" * MANY + b"}" * MANY,
    "deep, with a mistake far down": arrays(DEEPEST - 10, "nope").encode(),
    "deep, with a mistake half-way": b"[" * 150 + arrays(150).encode() + b",]" + b"]" * 149,
    "deep, with a container for a key": b"[" * 99 + b"{" + arrays(MANY).encode() + b":1}" + b"]" * 99,
    "deep, and larger than any event": arrays(DEEPEST + 1).encode(),
    "brackets of 4 MiB": b"[" * (4 << 20),
    "objects of 4 MiB": b'{"a":' * (4 << 20) + b"1",
    "digits of 4 MiB": b"7" * (4 << 20),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts(name: str) -> None:
    text, value = ACCEPTED[name]

    assert decode(text.encode()) == (json.loads(text) if value is None else value)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    with pytest.raises(MalformedJson) as refusal:
        decode(REFUSED[name])

    (field,) = refusal.value.fields
    assert field.loc == ("body",)
    assert field.type == "json_invalid"
    assert len(field.msg) < 200, "a refusal never repeats what the client sent"


_TEXT = st.text(max_size=20)  # lone surrogates included
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4), max_leaves=20
)


def written(value: object) -> bytes:
    return json.dumps(value).encode()


@settings(max_examples=300, deadline=None)
@given(_VALUES)
@example(5e-324)
@example(1.7976931348623157e308)
def test_whatever_the_grammar_has_arrives_as_it_was_sent(value: object) -> None:
    assert decode(written(value)) == value


def cut(value: Any, levels: int = KEPT_LEVELS_MAX) -> Any:  # noqa: ANN401 - any JSON value
    """The value without what is deeper."""
    if not isinstance(value, list | dict):
        return value
    if levels == 0:
        return 0
    if isinstance(value, list):
        return [cut(each, levels - 1) for each in value]
    return {key: cut(each, levels - 1) for key, each in value.items()}


@settings(max_examples=100, deadline=None)
@given(st.integers(FAST_LEVELS_MAX + 5, 400), _VALUES, st.lists(_SCALARS, max_size=3), st.data())
def test_of_a_deep_value_the_first_levels_arrive(
    levels: int, value: object, beside: list[object], data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(st.booleans(), min_size=levels, max_size=levels))
    for is_object in kinds:
        value = {"a": value, "b": 1} if is_object else [*beside, value]
    assert decode(written(value)) == cut(value)


_PIECES = st.sampled_from(
    [
        b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b'"\\ud800"', b'"a":', b"1e999", b"9" * 19,
        b"9" * 4_500, b"NaN", b"null", b"\xff", b" ", b"[" * 110, b"]" * 110, b'{"a":' * 110, b"}" * 110,
    ]
)  # fmt: skip


def by_reference(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """As Python's own parser has it, in its strictest form."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def integer(digits: str) -> float:
        return int(digits) if len(digits) <= 4_000 else float(digits)

    return json.loads(body.decode().removeprefix("\ufeff"), parse_constant=refuse, parse_int=integer)


@settings(max_examples=1_000, deadline=None)
@given(st.binary(max_size=60) | st.lists(_PIECES, max_size=12).map(b"".join) | st.text().map(str.encode))
@example(b"[" * 110 + b"]" * 110 + b"]")
@example(b'"\\ud800"' + b"[" * 110)
def test_any_bytes_are_judged_as_the_reference_judges_them(body: bytes) -> None:
    try:
        expected = by_reference(body) if body.removeprefix(b"\xef\xbb\xbf") else None
        is_json = bool(body.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        is_json = False
    if not is_json:
        with pytest.raises(MalformedJson):
            decode(body)
    else:
        value = decode(body)
        assert value == expected or cut(expected) == value


SLOW = {
    "arrays": arrays(DEEPEST),
    "open arrays": "[" * 2 * DEEPEST,
    "objects": objects(DEEPEST // 3),
    "small containers just beyond a slice": "[" * KEPT_LEVELS_MAX
    + "[1]," * 16_000
    + r'"\ud800"'
    + "]" * KEPT_LEVELS_MAX,
    "many deep values": f"[{','.join([arrays(FAST_LEVELS_MAX + 1)] * 160)}]",
    "an open string of quotes": r'"\ud800' + r"\"" * (DEEPEST - 10),
    "lone surrogates": '"' + r"\ud800" * (DEEPEST // 3 - 1) + '"',
    "long numbers": f"[{','.join(['7' * 4_290] * 15)},{'7' * 900}.0]",
    "one long number": "7" * 2 * DEEPEST,
}


@pytest.mark.parametrize("name", SLOW)
def test_no_rare_text_takes_long(name: str) -> None:
    body = SLOW[name].encode()
    assert len(body) <= rare_json.BYTES_MAX

    def decoding() -> None:
        with suppress(MalformedJson):
            decode(body)

    assert least_seconds(lambda: processor_seconds(decoding), enough=TURN_SECONDS_MAX) < TURN_SECONDS_MAX
