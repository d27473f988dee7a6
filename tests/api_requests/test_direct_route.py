"""Recording with a key in the HTTP parser's callback: only with a key that is remembered, and with the same result."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from limits import parse

from contract.access import NewKey, new_key
from servicekit.errors import BadRequest, Invalid
from statistics_api.access.key_cache import KEPT_SECONDS, KeyCache
from statistics_api.access.queries import StoredKey
from statistics_api.api_requests.kind import API_REQUESTS, parse_columns
from statistics_api.api_requests.router import DIRECT_ROUTES
from statistics_api.auth_events.router import DIRECT_ROUTES as AUTH_ROUTES
from statistics_api.delivery.accepting import accept, read_valid
from statistics_api.delivery.direct import ValidEvent
from tests.api_requests.conftest import TRACK, TrackedProject
from tests.api_requests.payloads import request
from tests.delivery.both_ways import assert_both_ways_record_the_same

BODY = json.dumps(request()).encode()
[RECORDING] = DIRECT_ROUTES
AUTH_RECORDING, STATISTICS = AUTH_ROUTES
NOW = datetime.now(UTC)


def stored(key: NewKey, *scopes: str, is_active: bool = True, expires_at: datetime | None = None) -> StoredKey:
    return StoredKey(key.digest, 7, frozenset(scopes or ("ingest", "read")), expires_at, is_active)


async def remembering(*keys: StoredKey, key_id: str, age: float = 0.0) -> dict[str, object]:
    """The state of a process that has asked for the keys with this id so many seconds ago."""
    moment = 100.0

    async def read(_: str) -> tuple[StoredKey, ...]:
        return keys

    cache = KeyCache(read, lambda: moment)
    await cache.get(key_id)
    moment += age
    return {"keys": cache}


async def test_a_remembered_key_decides_the_project() -> None:
    key = new_key()
    state = await remembering(stored(key), key_id=key.key_id)
    for headers in ({b"x-api-key": key.text.encode()}, {b"authorization": b"Bearer " + key.text.encode()}):
        found = RECORDING.read(headers, BODY, state)
        assert isinstance(found, ValidEvent)
        assert found.credential.project_id == 7
        event = AUTH_RECORDING.read(headers, b'{"userKey":"u","deviceType":"iOS"}', state)
        asked = STATISTICS.read(headers, b"", state)
        assert event is not None
        assert asked is not None
        assert (event.credential.project_id, asked.credential.project_id) == (7, 7)
    assert RECORDING.read({}, BODY, state) is None


async def test_any_other_credential_takes_the_long_way() -> None:
    key = new_key()
    sent = key.text.encode()
    good = await remembering(stored(key), key_id=key.key_id)
    cases: list[tuple[Mapping[bytes, bytes], dict[str, object]]] = [
        ({b"x-api-key": new_key().text.encode()}, good),
        ({b"x-api-key": sent[:-1] + b"-"}, good),
        ({b"x-api-key": b"\xff"}, good),
        ({b"authorization": b"Basic " + sent}, good),
        ({b"authorization": sent}, good),
        ({b"x-api-key": b"", b"authorization": b"Bearer " + sent}, good),
        ({b"authorization": b"Bearer a.b.c"}, good),
        ({b"x-api-key": sent, b"authorization": b"Bearer " + sent}, good),
        ({b"x-api-key": sent}, await remembering(stored(key), key_id=key.key_id, age=KEPT_SECONDS)),
        ({b"x-api-key": sent}, await remembering(key_id=key.key_id)),
        ({b"x-api-key": sent}, await remembering(stored(new_key()), key_id=key.key_id)),
        ({b"x-api-key": sent}, await remembering(stored(key, "manage"), key_id=key.key_id)),
        ({b"x-api-key": sent}, await remembering(stored(key, is_active=False), key_id=key.key_id)),
        (
            {b"x-api-key": sent},
            await remembering(stored(key)._replace(rate_limit=parse("9/minute")), key_id=key.key_id),
        ),
        (
            {b"x-api-key": sent},
            await remembering(stored(key, expires_at=NOW - timedelta(seconds=1)), key_id=key.key_id),
        ),
    ]
    for headers, state in cases:
        assert RECORDING.read(headers, BODY, state) is None, headers


_TEXTS = st.text(max_size=4) | st.sampled_from(
    ["", " ", "a ", "\t", "\u200b", "k" * 128, "k" * 129, "k" * 600, "\ud800"]
)
_PATHS = st.sampled_from(
    [
        "/",
        "/a",
        "/a/",
        "//",
        "/a//b",
        "/a?b",
        "/a#b",
        "a",
        "",
        " /a",
        "/a ",
        "/é",
        "/\u00a0",
        "/a\u00a0",
        "/" + "x" * 3_000,
    ]
) | _TEXTS.map(lambda text: "/" + text)
_TIMES = (
    st.sampled_from([0, -1, True, None, "1", 0.0005, 0.0015, 1e-320, 3_600_000, 3_600_000.001, 10**400, 12.0625])
    | st.integers(0, 3_600_000)
    | st.floats(0, 3_600_000)
)
_ITEMS: st.SearchStrategy[object] = st.fixed_dictionaries(
    {
        "url_path": _PATHS,
        "method": st.sampled_from(["GET", "POST", "get", "", None, []]),
        "response_status_code": st.sampled_from([99, 100, 200, 599, 600, 200.0, True, "200"]),
        "response_time_ms": _TIMES,
    },
    optional={
        "user_agent": _TEXTS | st.none() | st.just(1),
        "consumer": _TEXTS | st.none() | st.just(["c"]),
        "ip": st.sampled_from([None, "192.0.2.1", "no address"]),
        "eventId": st.just("e"),
        "timestamp": st.none(),
        "more": st.none(),
    },
) | st.sampled_from([None, 1, "text", [], {}, ["url_path"]])


@settings(max_examples=500, deadline=None)
@given(st.lists(_ITEMS, max_size=4))
@example([request(ms) for ms in (0.0005, 0.0015, 0.0025, 1.0005, 3_599_999.9995, 7)])
@example([request(user_agent=None), request(consumer="c"), request(path="/")])
def test_whatever_is_read_in_columns_is_what_the_model_reads(items: list[object]) -> None:
    columns = parse_columns(items)
    if columns is not None:
        events = [API_REQUESTS.read(item) for item in items]
        assert [tuple(values) for values in zip(*columns, strict=True)] == [
            API_REQUESTS.values(each) for each in events
        ]
        assert all(each.event_id is None and each.occurred_at is None for each in events)


@pytest.mark.parametrize(
    "more", [{}, {"user_agent": "curl/8"}, {"consumer": "c"}, {"user_agent": "é", "consumer": "c"}]
)
def test_what_most_clients_send_is_plain(more: dict[str, object]) -> None:
    assert parse_columns([request() | more, request(path="/", status=599)]) is not None


@settings(max_examples=200, deadline=None)
@given(_ITEMS)
@example(request(0.1, consumer="c"))
def test_a_repeat_is_the_same_both_ways(item: object) -> None:
    try:
        body = json.dumps(item).encode()
        long = accept(API_REQUESTS, body + b" ", "k", project_id=1, request_id="r")
    except (BadRequest, Invalid, ValueError):
        return
    direct = read_valid(API_REQUESTS, body, "k")
    assert direct is not None
    assert (direct.values, direct.key) == (long.values, long.key)


def test_both_ways_give_the_same_response(tracked: TrackedProject) -> None:
    tracked.track(request())  # from here on, the key is remembered
    assert_both_ways_record_the_same(tracked.http, TRACK, request(consumer="c"), request(13))
