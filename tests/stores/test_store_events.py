"""Store events over HTTP, from the body of a client to the figures of the store."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statistics_api.pages import Page
from statistics_api.store_events.reader import Amounts, Averages
from tests.database import administrator, assert_counts_are_exact
from tests.delivery.both_ways import assert_both_ways_record_the_same
from tests.servers import Product
from tests.stores.conftest import EVENT, Store

NOW = datetime.now(UTC)
MAX_ID = 2**53 - 1


@pytest.fixture(scope="module", autouse=True)
def counts_are_exact(product: Product) -> Iterator[None]:
    """After all tests of this module."""
    yield
    assert_counts_are_exact(product)


def event(user_id: str, **more: object) -> dict[str, object]:
    return {"type": "purchase", "user_id": user_id, "data": {"order": "A-1"}} | more


def fields(answer: httpx2.Response) -> set[str]:
    return {each["field"] for each in answer.json()["errors"]}


def nested(levels: int) -> Any:  # noqa: ANN401 - any JSON value
    value: Any = {}
    for level in range(levels - 1):
        value = [value] if level % 2 else {"in": value}
    return value if isinstance(value, dict) else {"in": value[0]}


def test_the_stored_event_is_returned(store: Store) -> None:
    user = store.add_user()
    data = {"z": [1, 2.5, None, True], "a": {"text": "ü €", "empty": {}}}
    answer = store.send({"type": "  purchase ", "user_id": user.upper(), "data": data, "unread": {"user_id": 1}})
    assert answer.status_code == 201
    stored = answer.json()
    assert set(stored) == {"id", "type", "store_id", "user_id", "data", "created_at"}
    assert (stored["type"], stored["store_id"], stored["user_id"]) == ("purchase", store.store_id, user)
    assert stored["data"] == data
    assert 0 < stored["id"] <= MAX_ID
    assert abs(datetime.fromisoformat(stored["created_at"]) - datetime.now(UTC)) < timedelta(minutes=5)
    later = store.record(user, occurred_at="2026-01-01T00:00:00Z") if NOW.year < 2026 else store.record(user)
    assert later["id"] > stored["id"]


def test_a_repeat_gets_the_first_event_however_its_data_is_written(store: Store) -> None:
    user, key = store.add_user(), str(uuid4())
    body = '{"type": "t", "user_id": "%s", "data": %s}'
    spelt = [
        store.http.post("/api/event", content=body % (user, data), headers={"Idempotency-Key": key})
        for data in ('{"a": 1.0, "b": {"c": 100, "d": 2}}', '{"b": {"d": 2, "c": 1e2}, "a": 1}')
    ]
    assert [answer.status_code for answer in spelt] == [201, 201]
    assert spelt[1].headers["Idempotent-Replayed"] == "true"
    assert spelt[0].json() == spelt[1].json()
    other = store.http.post("/api/event", content=body % (user, '{"a": 2}'), headers={"Idempotency-Key": key})
    assert other.status_code == 409
    assert store.ask("amount/t")[0]["event_amount"] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", ""),
        ("type", "\u200b"),
        ("type", "x" * 101),
        ("type", "a\u0000b"),
        ("type", 7),
        ("type", None),
        ("user_id", "not-a-uuid"),
        ("user_id", "{0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55}"),
        ("user_id", 12),
        ("user_id", None),
        ("data", None),
        ("data", []),
        ("data", "{}"),
        ("data", {"a": "x\u0000"}),
        ("data", {"\u0000": 1}),
        ("data", {"a": "\ud800"}),
        ("data", {"a": "x" * 16_385}),
        ("data", {"a": [0] * 20_000}),
        ("data", {"a": [1e300] * 100}),
        ("data", nested(21)),
        ("data", nested(5_000)),
        ("occurred_at", "2026-11-22T09:30:00"),
        ("occurred_at", (NOW + timedelta(hours=1)).isoformat()),
        ("occurred_at", (NOW - timedelta(days=31)).isoformat()),
        ("eventId", ""),
    ],
    ids=lambda value: "" if not isinstance(value, str) or len(value) > 12 or not value.isascii() else None,
)
def test_a_wrong_field_is_refused_and_named(store: Store, name: str, value: object) -> None:
    answer = store.send_text(_as_text(event(store.add_user()) | {name: value}))
    assert answer.status_code == 422, answer.text
    assert fields(answer) == {name}
    assert store.ask("amount/purchase") == []


def _as_text(body: object) -> bytes:
    """Python's own encoder is recursive."""
    try:
        return json.dumps(body).encode()
    except RecursionError:
        user = body["user_id"]  # type: ignore[index]
        text = '{"in":' * 5_000 + "1" + "}" * 5_000
        return f'{{"type": "purchase", "user_id": "{user}", "data": {text}}}'.encode()


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b'{"type":"t"}', b"\xff", b'{"data":{"a":NaN}}'])
def test_a_body_that_is_no_event_is_refused(store: Store, body: bytes) -> None:
    assert store.send_text(body).status_code == 422


def test_data_at_its_limits_is_stored(store: Store) -> None:
    user = store.add_user()
    for data in ({"a": "x" * (16 * 1024 - 8)}, nested(20), {"a": [1e22, 1e-20] * 50}, {"big": 10**400}, {}):
        assert store.record(user, data=data)["data"] == data


def test_users_who_are_not_there_are_refused_and_leave_nothing(store: Store, new_store: Callable[[], Store]) -> None:
    of_another_store = new_store().add_user()
    erased, suppressed = store.add_user(), store.add_user()
    store.set(erased, "erased_at")
    store.set(suppressed, "suppressed_at")
    for user, status, code in (
        (str(uuid4()), 404, "not-found"),
        (of_another_store, 404, "not-found"),
        (erased, 410, "gone"),
        (suppressed, 410, "suppressed"),
    ):
        answer = store.send(event(user), **{"Idempotency-Key": f"for {user}"})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert store.ask("amount/purchase") == []
    assert store.sql("SELECT count(*)::int FROM idempotency WHERE project_id = %(store)s") == [(0,)]


def test_a_key_that_was_refused_with_its_user_is_free_when_the_user_is_there(store: Store) -> None:
    late, key = str(uuid4()), {"Idempotency-Key": str(uuid4())}
    assert store.send(event(late), **key).status_code == 404
    store.sql("INSERT INTO project_person (project_id, person_id) VALUES (%(store)s, %(user)s)", user=late)
    answer = store.send(event(late), **key)
    assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (201, None)


def test_a_repeat_of_an_event_of_a_suppressed_user_is_a_repeat(store: Store) -> None:
    user, key = store.add_user(), {"Idempotency-Key": str(uuid4())}
    first = store.send(event(user), **key)
    store.set(user, "suppressed_at")
    again = store.send(event(user), **key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json() == first.json()
    assert store.send(event(user)).status_code == 410


def test_an_erasure_waits_for_the_event_that_is_being_stored_and_no_event_comes_after_it(store: Store) -> None:
    user = store.add_user()
    answers: list[httpx2.Response] = []
    with administrator(store.product.database) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE project_person SET erased_at = now() WHERE person_id = %(user)s", {"user": user})
        sending = threading.Thread(target=lambda: answers.append(store.send(event(user))))
        sending.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%project_person%%'"
        )
        for _ in range(1000):
            if (
                answers
                or store.sql(f"{waiting} OR query LIKE '%%lock_store_users%%' AND wait_event_type = 'Lock'")[0][0]
            ):
                break
        cursor.execute("COMMIT")
        sending.join()
    assert [answer.status_code for answer in answers] == [410]
    assert store.sql("SELECT count(*)::int FROM store_event WHERE person_id = %(user)s", user=user) == [(0,)]


def test_an_item_of_a_batch_harms_no_neighbour(store: Store) -> None:
    user, erased, suppressed = store.add_user(), store.add_user(), store.add_user()
    store.set(erased, "erased_at")
    store.set(suppressed, "suppressed_at")
    items: list[dict[str, object]] = [
        event(user),
        event(str(uuid4())),
        event(user, eventId="one"),
        event(erased),
        event(user, data=[]),
        event(suppressed, eventId="two"),
        event(user, eventId="one"),
        event(user, type="visit"),
    ]
    answer = store.record_all(items)
    assert (answer["registered"], answer["duplicate"], answer["rejected"]) == (3, 1, 4)
    assert {each["index"]: each["detail"] for each in answer["results"]} == {
        1: "user_id: there is no such user",
        3: "user_id: the user was erased",
        4: "data: must be an object",
        5: "user_id: nothing more is recorded of this user",
        6: "recorded before under this identity",
    }
    assert [each["event_amount"] for each in store.ask("amount/purchase")] == [2]


def test_a_batch_of_refused_items_under_a_key_has_one_response(store: Store) -> None:
    items, key = [event(str(uuid4()))], {"Idempotency-Key": str(uuid4())}
    answers = [store.http.post("/api/event/batch", json=items, headers=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]


@pytest.mark.parametrize("type_", ["a/b", "50%", "%2F", "ü", "..x", "a b?c#d", "x" * 100, "amount"])
def test_a_type_of_any_characters_is_found_again(store: Store, type_: str) -> None:
    user = store.add_user()
    store.record(user, type_)
    assert [each["event_amount"] for each in store.ask(f"amount/{quote(type_, safe='')}")] == [1]
    assert [each["event_avg_time"] for each in store.ask(f"avg-time/{quote(type_, safe='')}/")] == [1.0]
    assert store.ask("users", type=type_)["distinct"] == 1


def test_days_are_those_of_the_stores_zone_newest_first_in_pages(new_store: Callable[..., Store]) -> None:
    store = new_store("Pacific/Auckland")
    user, other = store.add_user(), store.add_user()
    noon = NOW.replace(hour=12, minute=30, second=0, microsecond=0) - timedelta(days=10)
    for days in range(4):
        at = (noon + timedelta(days=days)).isoformat()  # after midnight of the next day in Auckland
        store.record_all([event(user, occurred_at=at)] * (days + 1) + [event(other, occurred_at=at)])
    days_found = [date.fromisoformat(each["date"]) for each in store.ask("amount/purchase")]
    assert days_found == [noon.date() + timedelta(days=1 + days) for days in (3, 2, 1, 0)]
    assert [each["event_amount"] for each in store.ask("amount/purchase")] == [5, 4, 3, 2]
    assert [each["event_avg_time"] for each in store.ask("avg-time/purchase")] == [2.5, 2.0, 1.5, 1.0]
    assert [each["event_amount"] for each in store.ask("amount/purchase", offset=1, limit=2)] == [4, 3]
    assert [each["event_avg_time"] for each in store.ask("avg-time/purchase", offset=3, limit=1)] == [1.0]
    assert store.ask("amount/purchase", offset=4) == []
    numbers = store.ask("users", from_=days_found[1], to=days_found[0])
    assert numbers == {
        "from": str(days_found[1]),
        "to": str(days_found[0]),
        "timezone": "Pacific/Auckland",
        "distinct": 2,
        "new": 0,
        "returning": 2,
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("amount/t?offset=-1", "offset"),
        ("amount/t?offset=1e3", "offset"),
        ("amount/t?limit=0", "limit"),
        ("amount/t?limit=1001", "limit"),
        ("avg-time/t?limit=%D9%A1", "limit"),
        ("amount/t?limit=1&limit=2", "limit"),
        ("amount/t?page=1", "page"),
        ("users?from=2026-11-31", "from"),
        ("users?from=2026-W01-1", "from"),
        ("users?to=20261130", "to"),
        ("users?to=1969-12-31", "to"),
        ("users?from=2026-11-02&to=2026-11-01", "from"),
        ("users?type=a%00", "type"),
    ],
)
def test_a_wrong_parameter_is_refused_and_named(store: Store, path: str, name: str) -> None:
    answer = store.http.get(f"/api/event/{path}")
    assert answer.status_code == 422
    assert fields(answer) == {name}


def test_figures_have_an_entity_tag_and_stores_are_apart(store: Store, new_store: Callable[[], Store]) -> None:
    other = new_store()
    store.record(store.add_user())
    for path in ("amount/visit", "avg-time/visit", "users"):
        answer = store.http.get(f"/api/event/{path}")
        tag = answer.headers["ETag"]
        assert store.http.get(f"/api/event/{path}", headers={"If-None-Match": tag}).status_code == 304
        assert other.http.get(f"/api/event/{path}", headers={"If-None-Match": tag}).status_code == 200
        assert other.http.get(f"/api/event/{path}").json() != answer.json()
    assert other.ask("users")["distinct"] == 0
    assert other.ask("amount/visit") == other.ask("avg-time/visit") == []
    other.record(other.add_user(), "another")
    assert store.ask("amount/another") == []


def test_nobody_records_or_reads_without_a_key(product: Product, store: Store) -> None:
    with httpx2.Client(base_url=product.public_url, trust_env=False) as nobody:
        assert nobody.post("/api/event", json=event(store.add_user())).status_code == 401
        assert nobody.post("/api/event/batch", json=[]).status_code == 401
        for path in ("amount/t", "avg-time/t", "users"):
            assert nobody.get(f"/api/event/{path}").status_code == 401


def test_without_signing_keys_there_is_no_log_in(store: Store) -> None:
    answer = store.http.post("/api/auth", json={"api_key": store.api_key})
    assert (answer.status_code, answer.json()["code"]) == (503, "not-configured")


Visit = tuple[int, int, str]
USERS, DAYS, TYPES = range(4), range(8), ("a", "b")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from(DAYS), st.sampled_from(TYPES)), max_size=25),
    st.lists(st.sampled_from(range(1, 6)), max_size=10),
)
def test_users_are_those_of_the_sets(new_store: Callable[[], Store], visits: list[Visit], sizes: list[int]) -> None:
    """Days arrive in any order, in batches of any size; a user of several types is one user."""
    store = new_store()
    users = [store.add_user() for _ in USERS]
    begins = (NOW - timedelta(days=20)).replace(hour=9)
    events = [
        {"type": type_, "user_id": users[user], "data": {}, "occurred_at": (begins + timedelta(days=day)).isoformat()}
        for user, day, type_ in visits
    ]
    left = events
    for size in [*sizes, len(events)]:
        if left:
            assert store.record_all(left[:size])["registered"] == len(left[:size])
        left = left[size:]
    for type_ in (None, *TYPES):
        seen = {(user, day) for user, day, each in visits if type_ in (None, each)}
        for first in DAYS:
            for last in range(first, DAYS.stop, 3):
                expected = {user for user, day in seen if first <= day <= last}
                before = {user for user, day in seen if day < first}
                parameters = {
                    "from_": (begins + timedelta(days=first)).date(),
                    "to": (begins + timedelta(days=last)).date(),
                }
                found = store.ask("users", **parameters, **({} if type_ is None else {"type": type_}))
                assert (found["distinct"], found["new"], found["returning"]) == (
                    len(expected),
                    len(expected - before),
                    len(expected & before),
                )


def test_a_direct_route_records_as_the_long_way(store: Store) -> None:
    user = store.add_user()
    store.record(user)  # from here on, the key is remembered
    body = {"type": "direct", "user_id": user, "data": {"b": 1.50, "a": [None, "\u00e9"]}}
    assert_both_ways_record_the_same(store.http, EVENT, body, body | {"type": "other"})
    store.set(user, "erased_at")
    gone = [store.http.post(EVENT + end, json=body) for end in ("", "/")]
    assert [answer.status_code for answer in gone] == [410, 410]
    assert gone[0].content == gone[1].content


def test_the_types_of_a_store_are_in_the_order_of_their_first_event(store: Store) -> None:
    assert store.ask("types") == []
    user = store.add_user()
    for type_ in ("visit", "purchase", "visit", "ü / 1"):
        store.record(user, type_)
    assert store.ask("types") == [{"type": each} for each in ("visit", "purchase", "ü / 1")]
    assert store.ask("types", offset=1, limit=1) == [{"type": "purchase"}]
    assert store.http.get(f"{EVENT}/types", params={"type": "visit"}).status_code == 422


def test_questions_of_two_kinds_share_no_query() -> None:
    """Amounts and averages of one type, asked at the same time: each is a key of the queries that run."""
    page = Page(0, 50)
    assert len({Amounts(1, "visit", page), Averages(1, "visit", page), Amounts(1, "visit", Page(0, 50))}) == 2
