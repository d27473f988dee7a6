"""Two ways to say the same agree: single event, array and lines; plain and with everything; header and `eventId`.

One table of items. Each is sent in every way, alone and among good ones, and comes to the same: the same values, time,
key and fingerprint, or the same sentence.
"""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servicekit.errors import DomainError, Invalid
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.delivery.accepting import AcceptedEvent, accept_read, read_valid
from statistics_api.delivery.batches import NDJSON_TYPES, AcceptedBatch
from tests.auth_events.payloads import DEVICE_TYPES, WINDOWS, event
from tests.delivery.bodies import ARRAY, LINES
from tests.delivery.reading import PROJECT_ID, REQUEST_ID, read_many, read_one

GOOD = b'{"userKey":"good","deviceType":"iOS"}'
AN_HOUR_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def _unread(value: bytes) -> bytes:
    return b'{"userKey":"u","deviceType":"TV","x":%b}' % value


def _with(**more: object) -> bytes:
    return json.dumps(event("u", "TV", **more)).encode()


# What an item comes to: the values of the event, or the sentence that refuses it (its beginning, with "…").
ACCEPTED: dict[str, tuple[bytes, tuple[str, str]]] = {
    "plain": (b'{"userKey":"u","deviceType":"TV"}', ("u", "TV")),
    "other order": (b'{"deviceType":"TV","userKey":"u"}', ("u", "TV")),
    "white space around": (b'{"userKey":"  u\\t","deviceType":"TV"}', ("u", "TV")),
    "escapes": (b'{"user\\u004bey":"\\u0075","deviceType":"TV"}', ("u", "TV")),
    "unread field": (_unread(b"1"), ("u", "TV")),
    "unread NUL": (_unread(b'"a\\u0000b"'), ("u", "TV")),
    "unread NUL in a name": (b'{"userKey":"u","deviceType":"TV","\\u0000":1}', ("u", "TV")),
    "unread, 25 deep": (_unread(b"[" * 25 + b"]" * 25), ("u", "TV")),
    "unread, 300 deep": (_unread(b"[" * 300 + b"]" * 300), ("u", "TV")),
    "unread, 5000 digits": (_unread(b"7" * 5000), ("u", "TV")),
    "unread lone surrogate": (_unread(b'"\\ud800"'), ("u", "TV")),
    "unread huge integer": (_unread(b"9" * 300), ("u", "TV")),
    "unread huge number": (_unread(b"1e999"), ("u", "TV")),
    "unread, like another item": (_unread(b'"},{"'), ("u", "TV")),
    "last of two": (b'{"userKey":"v","userKey":"u","deviceType":"TV"}', ("u", "TV")),
    "null fields": (_with(eventId=None, occurredAt=None), ("u", "TV")),
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "no object": (b"null", "Input should be an object"),
    "a number": (b"1", "Input should be an object"),
    "a string": (b'"u"', "Input should be an object"),
    "an array": (b"[]", "Input should be an object"),
    "empty": (b"{}", "userKey: Field required; deviceType: Field required"),
    "unknown type": (_with(deviceType="Windows"), WINDOWS),
    "unknown type and no key": (b'{"deviceType":"Windows"}', "userKey: Field required; deviceType: …"),
    "NUL": (b'{"userKey":"a\\u0000","deviceType":"TV"}', "userKey: …"),
    "a number for a key": (b'{"userKey":1,"deviceType":"TV"}', "userKey: Input should be a valid string"),
    "deep in a field": (b'{"userKey":%b,"deviceType":"TV"}' % (b"[" * 25 + b"]" * 25), "userKey: …"),
    "too long": (_with(userKey="k" * 256), "userKey: …"),
    "too old": (_with(occurredAt="2020-01-01T00:00:00Z"), "occurredAt: must not be more than 30 days ago"),
    "no zone": (_with(occurredAt="2026-01-01T00:00:00"), "occurredAt: …"),
    "blank id": (_with(eventId=" "), "eventId: …"),
    "lone surrogate": (b'{"userKey":"\\ud800","deviceType":"TV"}', "userKey: …"),
    "not UTF-8": (b'{"userKey":"\xff","deviceType":"TV"}', "not valid JSON: …"),
    "raw control character": (b'{"userKey":"a\x01","deviceType":"TV"}', "not valid JSON: …"),
    "NaN": (_unread(b"NaN"), "not valid JSON: …"),
    "trailing comma": (b'{"userKey":"u","deviceType":"TV",}', "not valid JSON: …"),
}
FORMS = [ARRAY, *NDJSON_TYPES]


def batch_of(items: list[bytes], content_type: str, *, mark: bytes = b"") -> bytes:
    return mark + (b"[" + b",".join(items) + b"]" if content_type == ARRAY else b"\n".join(items))


def the_accepted(batch: AcceptedBatch | DomainError, position: int) -> tuple[object, ...]:
    """What a batch knows of one event: values, time, key."""
    assert isinstance(batch, AcceptedBatch), batch
    values = tuple(column[position] for column in batch.columns)
    return values, batch.occurred_at.get(position), batch.keys.get(position)


def sentence(refusal: object) -> str:
    """What a client reads of a single event's refusal, without the place `body` that an item of a batch has not."""
    if isinstance(refusal, Invalid):
        return "; ".join(": ".join([*map(str, each.loc[1:]), each.msg]) for each in refusal.fields)
    assert isinstance(refusal, DomainError), refusal
    return str(refusal)


@pytest.mark.parametrize("content_type", FORMS)
@pytest.mark.parametrize(("item", "values"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_an_accepted_item_is_the_same_event_in_every_way(
    item: bytes, values: tuple[str, str], content_type: str
) -> None:
    single = read_one(item)
    assert isinstance(single, AcceptedEvent)
    assert (single.values, single.occurred_at, single.key) == (values, None, None)
    assert the_accepted(read_many(batch_of([item], content_type), content_type), 0) == (values, None, None)
    among = read_many(batch_of([GOOD, item, b'{"userKey":" x","deviceType":"iOS"}'], content_type), content_type)
    assert the_accepted(among, 1) == (values, None, None)


@pytest.mark.parametrize("content_type", FORMS)
@pytest.mark.parametrize(("item", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_item_is_refused_with_the_same_sentence_and_alone(
    item: bytes, expected: str, content_type: str
) -> None:
    said = sentence(read_one(item))
    assert said == expected or (expected.endswith("…") and said.startswith(expected[:-1])), said
    for items, index in (([item], 0), ([GOOD, item, GOOD], 1), ([GOOD] * 2_000 + [item] + [GOOD] * 2_000, 2_000)):
        batch = read_many(batch_of(items, content_type), content_type)
        assert isinstance(batch, AcceptedBatch)
        assert batch.rejected == {index: said}
        assert len(batch.columns[0]) == len(items) - 1


@pytest.mark.parametrize("content_type", [ARRAY, LINES])
@pytest.mark.parametrize(
    ("item", "size"), [("at the bound", 64 * 1024), ("beyond it", 64 * 1024 + 1)], ids=["bound", "beyond"]
)
def test_an_item_of_a_batch_may_be_as_large_as_a_single_event(item: str, size: int, content_type: str) -> None:
    body = _unread(b'"%b"' % (b"p" * (size - len(_unread(b'""')))))
    assert len(body) == size
    batch = read_many(batch_of([GOOD, body, GOOD], content_type), content_type)
    assert isinstance(batch, AcceptedBatch)
    assert batch.rejected == ({} if item == "at the bound" else {1: "larger than 65536 bytes"})
    assert len(batch.columns[0]) == 3 - len(batch.rejected)


@pytest.mark.parametrize("offset", [0, 60, -330, 16 * 60, 23 * 60 + 59, -(23 * 60 + 59)])
def test_one_instant_in_every_spelling_is_one_event_with_one_fingerprint(offset: int) -> None:
    local = AN_HOUR_AGO.astimezone(timezone(timedelta(minutes=offset)))
    items = [
        _with(occurredAt=AN_HOUR_AGO.isoformat().replace("+00:00", "Z"), eventId="e"),
        _with(occurredAt=local.isoformat(), eventId="e"),
        _with(occurredAt=local.isoformat(timespec="microseconds"), eventId=" e "),
    ]
    singles = [read_one(item) for item in items]
    assert all(isinstance(single, AcceptedEvent) for single in singles), singles
    assert {single.occurred_at for single in singles if isinstance(single, AcceptedEvent)} == {AN_HOUR_AGO}
    assert len({single.key for single in singles if isinstance(single, AcceptedEvent)}) == 1
    for content_type in (ARRAY, LINES):
        batch = read_many(batch_of(items, content_type), content_type)
        assert len({the_accepted(batch, position) for position in range(3)}) == 1


def test_header_field_and_item_are_one_identity_with_one_fingerprint() -> None:
    plain, unusual = b'{"userKey":"u","deviceType":"TV"}', b'{"deviceType":"TV","x":1,"userKey":" u"}'
    with_id = _with(eventId="k")
    singles = [read_one(plain, "k"), read_one(unusual, "k"), read_one(with_id), read_one(with_id, "k")]
    keys = {single.key for single in singles if isinstance(single, AcceptedEvent)}
    batches = [read_many(batch_of([with_id], content_type), content_type) for content_type in (ARRAY, LINES)]
    assert keys == {the_accepted(batch, 0)[2] for batch in batches}
    assert len(keys) == 1


def test_a_header_and_another_event_id_are_refused_by_the_name_of_the_field() -> None:
    refusal = read_one(_with(eventId="k"), "another")
    assert isinstance(refusal, Invalid)
    [problem] = refusal.fields
    assert (problem.loc, problem.msg) == (
        ("body", "eventId"),
        "must equal the header Idempotency-Key where both are sent",
    )


@pytest.mark.parametrize("content_type", [ARRAY, LINES])
def test_a_byte_order_mark_is_skipped(content_type: str) -> None:
    mark = b"\xef\xbb\xbf"
    batch = read_many(batch_of([GOOD] * 3, content_type, mark=mark), content_type)
    assert isinstance(batch, AcceptedBatch)
    assert (len(batch.columns[0]), batch.rejected) == (3, {})
    empty = read_many(batch_of([], content_type, mark=mark), content_type)
    assert isinstance(empty, AcceptedBatch)
    assert empty.next_index == 0


def keyed_fingerprint(items: list[bytes], content_type: str) -> str:
    batch = read_many(batch_of(items, content_type), content_type, "k")
    assert isinstance(batch, AcceptedBatch)
    assert batch.key is not None
    return batch.key.fingerprint


def test_a_batch_has_one_fingerprint_in_every_way_it_is_said() -> None:
    time = AN_HOUR_AGO.isoformat()
    items = [
        _with(),
        _with(eventId="e", occurredAt=time),
        b"null",
        b'{"userKey":"v","deviceType":"iOS"}',
    ]
    other_words = [
        b'{ "deviceType":"TV" , "unread":1.0, "userKey":" u " }',
        json.dumps({"occurredAt": time.replace("+00:00", "Z"), "eventId": " e", **event("u", "TV")}).encode(),
        b"{}",
        b'{"userKey":"\\u0076","deviceType":"iOS","unread":"\\u0000"}',
    ]
    said = {keyed_fingerprint(each, content_type) for each in (items, other_words) for content_type in FORMS}
    assert len(said) == 1


@pytest.mark.parametrize(
    "other",
    [
        [b'{"userKey":"w","deviceType":"TV"}', GOOD],
        [b'{"userKey":"u","deviceType":"iOS"}', GOOD],
        [_with(eventId="e"), GOOD],
        [_with(occurredAt=AN_HOUR_AGO.isoformat()), GOOD],
        [_with()],
        [GOOD, _with()],
        [b"null", _with(), GOOD],
        [_with(), b"null", GOOD],
    ],
    ids=["key", "type", "event id", "time", "shorter", "order", "rejected before", "rejected between"],
)
def test_another_batch_has_another_fingerprint(other: list[bytes]) -> None:
    assert keyed_fingerprint(other, ARRAY) != keyed_fingerprint([_with(), GOOD], ARRAY)


@pytest.mark.parametrize(
    "several", [GOOD + GOOD, GOOD + b" " + GOOD, b"[1][2]", GOOD * 3_000], ids=["2", "blank", "lists", "long"]
)
def test_a_file_that_lost_its_line_ends_is_refused_as_a_whole_and_told_so(several: bytes) -> None:
    refusal = read_many(several, LINES)
    assert isinstance(refusal, Invalid)
    assert "several JSON values on one line" in refusal.fields[0].msg
    among = read_many(b"\n".join([GOOD, several, GOOD]), LINES)
    assert isinstance(among, AcceptedBatch)
    assert (list(among.rejected), len(among.columns[0])) == ([1], 2)


def test_a_missing_comma_in_an_array_is_not_called_a_lost_line_end() -> None:
    batch = read_many(b"[%b%b,%b]" % (GOOD, GOOD, GOOD))
    assert isinstance(batch, AcceptedBatch)
    assert (list(batch.rejected), len(batch.columns[0])) == ([0], 1)
    assert "line of its own" not in batch.rejected[0]


def test_other_things_after_a_value_are_not_called_several_values() -> None:
    for line in (GOOD + b"}", GOOD + b",", GOOD + b"x"):
        batch = read_many(line, LINES)
        assert isinstance(batch, AcceptedBatch)
        assert "several" not in batch.rejected[0]


_TEXTS = st.text(max_size=4) | st.sampled_from(["u", " u", "\x00", "😀", "k" * 255, "k" * 256])
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "userKey": _TEXTS | st.none() | st.integers(),
    "deviceType": st.sampled_from([*DEVICE_TYPES, "Windows"]) | st.integers(),
    "eventId": _TEXTS,
    "occurredAt": st.sampled_from(["2020-01-01T00:00:00Z", AN_HOUR_AGO.isoformat(), "now"]),
    "x": st.recursive(st.none() | _TEXTS | st.floats(), st.lists, max_leaves=5),
}
_MORE = {name: _FIELDS[name] for name in ("eventId", "occurredAt", "x")}
_ITEMS = st.fixed_dictionaries({}, optional=_FIELDS) | st.fixed_dictionaries(
    {"userKey": _TEXTS, "deviceType": st.sampled_from(DEVICE_TYPES)}, optional=_MORE
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_ITEMS | st.none(), max_size=5), st.booleans())
def test_whatever_the_items_are_every_way_comes_to_the_same(items: list[Any], ascii_only: bool) -> None:
    texts = [json.dumps(item, ensure_ascii=ascii_only).encode(errors="surrogatepass") for item in items]
    singles = [read_one(text) for text in texts]
    for content_type in (ARRAY, LINES):
        batch = read_many(batch_of(texts, content_type), content_type)
        assert isinstance(batch, AcceptedBatch), batch
        accepted = [each for each in singles if isinstance(each, AcceptedEvent)]
        refused = {index: sentence(each) for index, each in enumerate(singles) if isinstance(each, DomainError)}
        assert batch.rejected == refused
        assert [the_accepted(batch, position) for position in range(batch.next_position)] == [
            (each.values, each.occurred_at, each.key) for each in accepted
        ]


@settings(max_examples=300, deadline=None)
@given(_ITEMS, st.sampled_from([None, "k"]))
def test_a_direct_route_reads_what_the_long_way_reads(item: dict[str, Any], key: str | None) -> None:
    body = json.dumps(item).encode()
    long, direct = read_one(body, key), read_valid(AUTH_EVENTS, body, key)
    assert (direct is None) == isinstance(long, DomainError)
    if direct is not None:
        assert isinstance(long, AcceptedEvent)
        accepted = accept_read(direct, project_id=PROJECT_ID, request_id=REQUEST_ID)
        assert accepted._replace(event_id="", received_at=AN_HOUR_AGO) == long._replace(
            event_id="", received_at=AN_HOUR_AGO
        )
        with_unread_field = read_valid(AUTH_EVENTS, json.dumps(item | {"x": 1}).encode(), key)
        assert with_unread_field is not None
        assert with_unread_field.key == direct.key
