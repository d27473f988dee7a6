"""What the parser takes, what it refuses, and that it never fails in any other way."""

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from servicekit.http.strict_json import DEPTH_MAX, MalformedJson, parse

NOT_DEEP = 3 * DEPTH_MAX


def arrays(depth: int, innermost: str = "") -> str:
    return "[" * depth + innermost + "]" * depth


def objects(depth: int, innermost: str = "{}") -> str:
    return '{"a":' * (depth - 1) + innermost + "}" * (depth - 1)


def mixed(depth: int, innermost: str = "") -> str:
    pairs, odd = divmod(depth, 2)
    return '[{"a":' * pairs + ("[" * odd + innermost + "]" * odd or "0") + "}]" * pairs


ACCEPTED = {
    "an object": ('{"userKey":"u","deviceType":"iOS"}', {"userKey": "u", "deviceType": "iOS"}),
    "white space around": (' \t\r\n[1]\n"'.rstrip('"'), [1]),
    "a scalar": ("true", True),
    "an escaped pair of surrogates": (r'"\ud83d\ude00"', "😀"),
    "a character outside the basic plane": ('"😀"', "😀"),
    "a backslash before u0000": (r'"\\u0000"', r"\u0000"),
    "the largest integer of 64 bits": (str(2**63 - 1), 2**63 - 1),
    "the smallest integer of 64 bits": (str(-(2**63)), -(2**63)),
    "an integer of 64 bits in a string's stead": (f'{{"n":{2**63 - 1}}}', {"n": 2**63 - 1}),
    "digits in a string": (f'"{"9" * 400}"', "9" * 400),
    "the largest double": ("1.7976931348623157e308", 1.7976931348623157e308),
    "a double too small to differ from zero": ("1e-999", 0.0),
    "a long fraction": ("0." + "1" * 400, 0.1111111111111111),
    "the last of duplicate keys": ('{"a":1,"a":2}', {"a": 2}),
    "the deepest array": (arrays(DEPTH_MAX, "0"), None),
    "the deepest empty array": (arrays(DEPTH_MAX), None),
    "the deepest object": (objects(DEPTH_MAX, '{"a":0}'), None),
    "the deepest empty object": (objects(DEPTH_MAX), None),
    "the deepest mixture": (mixed(DEPTH_MAX, "0"), None),
    "many shallow items": (f"[{','.join([arrays(2)] * NOT_DEEP)}]", [[[]]] * NOT_DEEP),
    "many shallow objects": (f"[{','.join(['{}'] * NOT_DEEP)}]", [{}] * NOT_DEEP),
    "brackets in a string": (json.dumps({"a": "[{" * NOT_DEEP}), {"a": "[{" * NOT_DEEP}),
}

REFUSED = {
    "nothing": b"",
    "white space alone": b" ",
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
    "a number beyond a double": b"1e999",
    "a number beyond a double, negative": b'{"a":-1E+400}',
    "a number beyond a double, without exponent": b"1" * 400 + b".0",
    "a number beyond a double, by many digits": b"123456789012345678e300",
    "an integer just beyond 64 bits": str(2**63).encode(),
    "an integer just beyond 64 bits, negative": str(-(2**63) - 1).encode(),
    "an integer just beyond 64 bits, inside": f'{{"a":[{{"b":{2**63}}}]}}'.encode(),
    "an integer of 20 digits": b"1" * 20,
    "an integer of 5000 digits": b"1" * 5000,
    "an escaped NUL": rb'"a\u0000b"',
    "an escaped NUL in a key": rb'{"a\u0000":1}',
    "an escaped NUL deep inside": rb'[[[{"a":["\u0000"]}]]]',
    "a NUL byte": b'"a\x00b"',
    "a control character": b'"a\nb"',
    "a lone high surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"\udc00"',
    "a lone surrogate in a key": rb'{"\ud800x":1}',
    "a pair of surrogates in the wrong order": rb'"\ude00\ud83d"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "broken UTF-8": b'"\xff"',
    "an overlong form": b'"\xc0\x80"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without a mark": "{}".encode("utf-16-le"),
    "UTF-32": "{}".encode("utf-32"),
    "arrays one level too deep": arrays(DEPTH_MAX + 1, "0").encode(),
    "arrays one level too deep, the innermost empty": arrays(DEPTH_MAX + 1).encode(),
    "objects one level too deep": objects(DEPTH_MAX + 1, '{"a":0}').encode(),
    "objects one level too deep, the innermost empty": objects(DEPTH_MAX + 1).encode(),
    "a mixture one level too deep": mixed(DEPTH_MAX + 1, "0").encode(),
    "a mixture one level too deep, the innermost empty": mixed(DEPTH_MAX + 1).encode(),
    "one deep item before many flat ones": f"[{arrays(DEPTH_MAX)}{',0' * NOT_DEEP}]".encode(),
    "one deep item after many objects": f"[{'{},' * NOT_DEEP}{objects(DEPTH_MAX)}]".encode(),
    "deep enough to exhaust a stack": b"[" * 100_000,
    "deep enough to exhaust a stack, closed": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts(name: str) -> None:
    text, value = ACCEPTED[name]

    assert parse(text.encode()) == (json.loads(text) if value is None else value)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    with pytest.raises(MalformedJson) as refusal:
        parse(REFUSED[name])

    (field,) = refusal.value.fields
    assert field.loc == ("body",)
    assert field.type == "json_invalid"
    assert len(field.msg) < 200, "a refusal never repeats what the client sent"


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4), max_leaves=20
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@settings(deadline=None)
@given(_VALUES.filter(lambda value: depth(value) <= DEPTH_MAX), st.booleans())
@example(5e-324, False)
@example(1.7976931348623157e308, False)
def test_whatever_is_within_the_rules_arrives_as_it_was_sent(value: object, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@settings(deadline=None)
@given(st.integers(0, 2 * DEPTH_MAX), _VALUES, st.lists(_SCALARS, max_size=NOT_DEEP), st.data())
def test_depth_is_bounded_whatever_stands_beside_it(
    wraps: int,
    value: object,
    beside: list[object],
    data: st.DataObject,
) -> None:
    for _ in range(wraps):
        value = {"a": value} if data.draw(st.booleans()) else [value, *beside]
    body = json.dumps(value).encode()
    if depth(value) <= DEPTH_MAX:
        assert parse(body) == value
    else:
        with pytest.raises(MalformedJson, match="nested deeper"):
            parse(body)


_DIGITS = st.text("0123456789", min_size=1, max_size=25)
_EXPONENTS = st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), _DIGITS)


_NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.just("0") | _DIGITS.map("1{}".format),
    st.just("") | _DIGITS.map(".{}".format),
    st.just("") | _EXPONENTS,
)


@settings(max_examples=500, deadline=None)
@given(
    _NUMBERS,
    st.sampled_from(["{}", "[{}]", '{{"a":{}}}', '[{{"a":"x0e000"}},{{"a":{}}}]', '{{"a0e1":[7,{}]}}']),
)
def test_a_number_is_taken_if_64_bits_or_a_double_hold_it(number: str, around: str) -> None:
    value = json.loads(number)
    held = -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)
    body = around.format(number).encode()
    if held:
        assert parse(body) == json.loads(body)
    else:
        with pytest.raises(MalformedJson, match=r"too large|beyond 64 bits"):
            parse(body)


_PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"1e999",
        b"9" * 19,
        b"null",
        b"\xff",
        b" ",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.lists(_PIECES, max_size=12).map(b"".join) | st.text().map(str.encode))
def test_any_bytes_are_parsed_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        value = parse(body)
    except MalformedJson:
        return
    assert value == json.loads(body)
