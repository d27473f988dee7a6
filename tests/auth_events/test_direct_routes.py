"""Two ways to one answer: what is ordinary is answered directly, and a trailing slash makes it take the long way."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servicekit.protocol.direct_routes import DirectRoute
from statistics_api.auth_events.router import DIRECT_ROUTES
from tests.auth_events.payloads import DEVICE_TYPES, event
from tests.database import facts_of
from tests.servers import Product, StartProduct

RECORDING, STATISTICS = DIRECT_ROUTES
KEY = b"Idempotency-Key"
# What differs from one response to the next, whichever way it was made.
_DIFFERS = {"date", "x-request-id"}

_EVENTS = st.fixed_dictionaries(
    {
        "userKey": st.sampled_from(["direct", " padded ", "", "n" * 256, "nul\0", 5, None]),
        "deviceType": st.sampled_from([*DEVICE_TYPES, "Windows", "ios", 1]),
    },
    optional={"eventId": st.none(), "occurredAt": st.sampled_from([None, "yesterday"]), "unread": st.integers()},
)
_BODIES = st.one_of(_EVENTS.map(lambda each: json.dumps(each).encode()), st.sampled_from([b"", b"{", b"[]", b"\xff"]))
_KEYS = st.one_of(st.none(), st.none(), st.builds(lambda: str(uuid4())), st.sampled_from(["", "k" * 256, "\xe9"]))
_TAGS = st.sampled_from([None, "*", 'W/"x"', '"x"', "current", "weak", "gzip", "listed", "x"])
_QUERIES = st.sampled_from(
    ["", "?deviceType=iOS", "?deviceType=TV", "?deviceType=Windows", "?deviceType=%69OS", "?devicetype=iOS", "?"]
)


def same(direct: httpx2.Response, long: httpx2.Response) -> None:
    assert (direct.status_code, direct.content) == (long.status_code, long.content)
    kept = [
        sorted((name, value) for name, value in each.headers.items() if name not in _DIFFERS) for each in (direct, long)
    ]
    assert kept[0] == kept[1]


def is_direct(route: DirectRoute[Any], headers: Mapping[bytes, bytes], payload: bytes) -> bool:
    return route.read(headers, payload, {}) is not None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_BODIES, key=_KEYS, repeats=st.booleans())
def test_an_event_is_answered_the_same_both_ways(
    public: httpx2.Client, body: bytes, key: str | None, repeats: bool
) -> None:
    headers = {b"Content-Type": b"application/json"} | ({} if key is None else {KEY: key.encode("latin-1")})
    for _ in range(1 + repeats):
        # Each way needs a key of its own: a key is used once.
        other = headers | ({KEY: headers[KEY][::-1]} if KEY in headers else {})
        same(
            public.post("/Log/auth", content=body, headers=headers),
            public.post("/Log/auth/", content=body, headers=other),
        )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=_QUERIES, tag=_TAGS)
def test_the_statistics_are_the_same_both_ways(public: httpx2.Client, query: str, tag: str | None) -> None:
    etag = public.get(f"/Log/auth/statistics{query}").headers.get("etag", '"none"')
    sent = {"current": etag, "weak": f"W/{etag}", "gzip": f'{etag[:-1]}-gzip"', "listed": f'"a", {etag}'}.get(
        tag or "", tag
    )
    headers = {} if sent is None else {"If-None-Match": sent}
    direct = public.get(f"/Log/auth/statistics{query}", headers=headers)
    same(direct, public.get(f"/Log/auth/statistics/{query}", headers=headers))
    if tag in ("current", "weak", "gzip", "listed") and direct.status_code != 400 and etag != '"none"':
        assert direct.status_code == 304


@pytest.mark.parametrize("key", [None, b"k"])
@pytest.mark.parametrize("user_key", ["u", " u"])
@pytest.mark.parametrize("more", [{}, {"eventId": "k"}, {"unread": [1]}])
def test_what_is_valid_is_ordinary(key: bytes | None, user_key: str, more: dict[str, Any]) -> None:
    headers = {} if key is None else {b"idempotency-key": key}
    assert is_direct(RECORDING, headers, json.dumps(event(user_key, **more)).encode())


def test_the_usual_questions_are_ordinary() -> None:
    assert is_direct(STATISTICS, {}, b"")
    assert is_direct(STATISTICS, {b"if-none-match": b'"x"'}, b"deviceType=iOS")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({b"idempotency-key": b""}, b'{"userKey":"u","deviceType":"iOS"}'),
        ({b"idempotency-key": b"k"}, b'{"userKey":"u","deviceType":"iOS","eventId":"e"}'),
        ({}, b'{"userKey":"u","deviceType":"iOS","occurredAt":"1999-01-01T00:00:00Z"}'),
        ({}, b'{"userKey":"u","deviceType":"Windows"}'),
        ({}, b'[{"userKey":"u","deviceType":"iOS"}]'),
        ({}, b"{"),
    ],
)
def test_what_is_refused_takes_the_long_way(headers: dict[bytes, bytes], body: bytes) -> None:
    assert not is_direct(RECORDING, headers, body)


def test_a_repeat_is_recognised_from_one_way_to_the_other(public: httpx2.Client, product: Product) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = public.post("/Log/auth", json=event("both-ways"), headers=key)
    again = public.post("/Log/auth/", json=event("both-ways"), headers=key)
    other = public.post("/Log/auth", json=event("both-ways", "TV"), headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert facts_of(product.database, "both-ways") == 1


def test_a_rate_limit_counts_both_ways_together(start_product: StartProduct) -> None:
    product = start_product(env={"RATE_LIMIT": "4/hour", "CORS_ORIGINS": "https://page.example"})
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        statuses = [client.get(f"/Log/auth/statistics{end}").status_code for end in ("", "/", "", "/", "", "/")]
        refused = client.post("/Log/auth", json=event("limited"))
    assert statuses == [200, 200, 200, 200, 429, 429]
    assert (refused.status_code, refused.headers["ratelimit-limit"]) == (429, "4")


def test_a_page_of_another_origin_may_read_what_is_direct_for_others(start_product: StartProduct) -> None:
    product = start_product(env={"CORS_ORIGINS": "https://page.example"})
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        answer = client.post("/Log/auth", json=event("page"), headers={"Origin": "https://page.example"})
        plain = client.post("/Log/auth", json=event("page"))
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert "access-control-allow-origin" not in plain.headers
    assert "Origin" in plain.headers["vary"]
