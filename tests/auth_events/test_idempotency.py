"""A client's own identity for what it sends: a repeat is answered and counts nothing, whoever it reaches."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from uuid import uuid4

import httpx2
import pytest

from tests.auth_events.payloads import NDJSON, REGISTERED, event
from tests.database import assert_counts_are_exact, command, facts_of, rows
from tests.log_files import all_written, lines_of
from tests.servers import Product, StartProduct

KEY_REUSED = {"detail": "this idempotency key was used before with another body"}
REPEATS = 100


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    """Two processes of each service: a repeat may meet any of them."""
    return start_product(publics=2, privates=2)


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_a_repeat_gets_the_first_answer_and_counts_nothing(public: httpx2.Client, product: Product) -> None:
    key = str(uuid4())
    first = public.post("/Log/auth", json=event("once"), headers=keyed(key))
    assert first.json() == REGISTERED
    assert "idempotent-replayed" not in first.headers
    for base in (product.publics[1].url, product.publics[0].url):
        repeat = httpx2.post(f"{base}/Log/auth", json=event("once"), headers=keyed(key), trust_env=False)
        assert (repeat.status_code, repeat.content) == (200, first.content)
        assert repeat.headers["idempotent-replayed"] == "true"
    assert facts_of(product.database, "once") == 1


def test_the_same_said_in_other_words_is_the_same(public: httpx2.Client, product: Product) -> None:
    key = str(uuid4())
    public.post("/Log/auth", json=event("same"), headers=keyed(key))
    other_words = b'{ "deviceType":"iOS", "ignored":1, "userKey":"  s\\u0061me " }'
    assert public.post("/Log/auth", content=other_words, headers=keyed(key)).headers["idempotent-replayed"] == "true"
    assert facts_of(product.database, "same") == 1


@pytest.mark.parametrize(
    "other", [event("conflict", "TV"), event("IdempotencyKeyReused"), event("conflict", occurredAt="{now}")], ids=repr
)
def test_the_same_key_with_another_body_is_409_and_counts_nothing(
    public: httpx2.Client, product: Product, other: dict[str, object]
) -> None:
    key = str(uuid4())
    [(now,)] = rows(product.database, "SELECT to_json(now())#>>'{}'")
    if "occurredAt" in other:
        other = other | {"occurredAt": now}
    [(before,)] = rows(product.database, "SELECT count(*) FROM auth_event")
    assert public.post("/Log/auth", json=event("conflict"), headers=keyed(key)).status_code == 200
    answer = public.post("/Log/auth", json=other, headers=keyed(key))
    assert (answer.status_code, answer.json()) == (409, KEY_REUSED)
    assert rows(product.database, "SELECT count(*) FROM auth_event") == [(before + 1,)]


def test_a_refused_event_does_not_use_its_key_up(public: httpx2.Client) -> None:
    key = str(uuid4())
    assert public.post("/Log/auth", json=event("u", "Windows"), headers=keyed(key)).status_code == 400
    assert public.post("/Log/auth", json=event(""), headers=keyed(key)).status_code == 422
    assert "idempotent-replayed" not in public.post("/Log/auth", json=event("u"), headers=keyed(key)).headers


async def test_one_key_a_hundred_times_at_once_through_four_processes_is_counted_once(product: Product) -> None:
    key = str(uuid4())
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as client:
        answers = await asyncio.gather(
            *(
                client.post(
                    f"{product.publics[index % 2].url}/Log/auth", json=event("hundred", "Watch"), headers=keyed(key)
                )
                for index in range(REPEATS)
            )
        )
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert Counter(answer.headers.get("idempotent-replayed") for answer in answers) == {None: 1, "true": REPEATS - 1}
    assert facts_of(product.database, "hundred") == 1
    # Both private processes wrote, or it was no race between processes.
    for service in product.privates:
        all_written(service)
        assert any(line.get("path") == "/events/auth_events/forward" for line in lines_of(service))


async def test_many_keys_each_many_times_in_every_order_do_not_deadlock(product: Product) -> None:
    keys = [str(uuid4()) for _ in range(10)]
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as client:
        answers = await asyncio.gather(
            *(
                client.post(
                    f"{product.publics[index % 2].url}/Log/auth",
                    json=event(f"many-{key}", "Android"),
                    headers=keyed(key),
                )
                for index in range(10)
                for key in (keys if index % 2 else reversed(keys))
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == len(keys)
    assert all(facts_of(product.database, f"many-{key}") == 1 for key in keys)


# Each way to send one event under an identity: path, body, headers.
WAYS: dict[str, Callable[[str], tuple[str, bytes, dict[str, str]]]] = {
    "header": lambda key: ("", b'{"userKey":"ways","deviceType":"TV"}', keyed(key)),
    "header, long way": lambda key: ("", b'{"x":1.0,"deviceType":"TV","userKey":" ways"}', keyed(key)),
    "field": lambda key: ("", json.dumps(event("ways", "TV", eventId=key)).encode(), {}),
    "header and field": lambda key: ("", json.dumps(event("ways", "TV", eventId=f" {key}")).encode(), keyed(key)),
    "item of an array": lambda key: ("/batch", json.dumps([event("ways", "TV", eventId=key)]).encode(), {}),
    "line": lambda key: ("/batch", json.dumps(event("ways", "TV", eventId=key, x="\0")).encode(), NDJSON),
}


@pytest.mark.parametrize("again", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_an_identity_is_the_same_in_every_way_it_is_given(
    public: httpx2.Client, product: Product, first: str, again: str
) -> None:
    key = str(uuid4())
    before = facts_of(product.database, "ways")
    for way, is_first in ((first, True), (again, False)):
        path, body, headers = WAYS[way](key)
        answer = public.post(f"/Log/auth{path}", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        if path:
            assert (answer.json()["registered"], answer.json()["duplicate"]) == ((1, 0) if is_first else (0, 1))
        else:
            assert answer.headers.get("idempotent-replayed") == (None if is_first else "true")
    assert facts_of(product.database, "ways") == before + 1


def test_a_header_and_another_event_id_are_refused_and_nothing_is_stored(
    public: httpx2.Client, product: Product
) -> None:
    answer = public.post("/Log/auth", json=event("two-ids", eventId="one"), headers=keyed("another"))
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", "eventId"]
    assert "Idempotency-Key" in problem["msg"]
    assert facts_of(product.database, "two-ids") == 0


def test_a_key_and_an_items_event_id_are_the_same_identity(public: httpx2.Client, product: Product) -> None:
    key = str(uuid4())
    public.post("/Log/auth", json=event("either-way"), headers=keyed(key))
    batch = [event("either-way", eventId=key), event("either-way", "TV", eventId=key)]
    answer = public.post("/Log/auth/batch", json=batch).json()
    assert (answer["registered"], answer["duplicate"], answer["rejected"]) == (0, 1, 1)
    assert [(each["index"], each["status"]) for each in answer["results"]] == [(0, "duplicate"), (1, "rejected")]
    assert answer["results"][1]["detail"] == KEY_REUSED["detail"]
    assert facts_of(product.database, "either-way") == 1


def test_the_first_of_two_equal_items_in_one_batch_is_the_one_that_counts(
    public: httpx2.Client, product: Product
) -> None:
    ids = [str(uuid4()) for _ in range(500)]
    items = [event(f"pair-{id_}", eventId=id_) for id_ in ids]
    answer = public.post("/Log/auth/batch", json=items + items[::-1]).json()
    assert (answer["registered"], answer["duplicate"], answer["rejected"]) == (500, 500, 0)
    assert [each["index"] for each in answer["results"]] == list(range(500, 1000))
    assert facts_of(product.database, f"pair-{ids[7]}") == 1


def test_the_first_of_two_items_that_say_different_things_under_one_id_counts(
    public: httpx2.Client, product: Product
) -> None:
    ids = [str(uuid4()) for _ in range(100)]
    items = [event(kind, eventId=id_) for kind in ("earlier", "later") for id_ in ids]
    answer = public.post("/Log/auth/batch", json=items).json()
    assert (answer["registered"], answer["duplicate"], answer["rejected"]) == (100, 0, 100)
    assert (facts_of(product.database, "earlier"), facts_of(product.database, "later")) == (100, 0)


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_batch_under_a_key_gets_its_stored_answer_byte_for_byte(
    public: httpx2.Client, product: Product, form: str
) -> None:
    key, item = str(uuid4()), str(uuid4())
    first_item = b'{"userKey":"stored","deviceType":"TV","eventId":"%s"}' % item.encode()
    lines = [
        first_item,
        first_item,
        b'{"userKey":"","deviceType":"Windows\\u00e9"}',
        b'{"userKey":"stored","deviceType":"iOS"}',
    ]
    body = b"[" + b",".join(lines) + b"]" if form == "array" else b"\n".join(lines)
    headers = keyed(key) | (NDJSON if form == "lines" else {})

    first = public.post("/Log/auth/batch", content=body, headers=headers)
    assert first.status_code == 200
    assert "idempotent-replayed" not in first.headers
    assert (first.json()["registered"], first.json()["duplicate"], first.json()["rejected"]) == (2, 1, 1)
    before = facts_of(product.database, "stored")
    for base in (product.publics[1].url, product.publics[0].url):
        repeat = httpx2.post(f"{base}/Log/auth/batch", content=body, headers=headers, trust_env=False)
        assert (repeat.status_code, repeat.content) == (200, first.content)
        assert repeat.headers["idempotent-replayed"] == "true"
    other = public.post("/Log/auth/batch", content=body.replace(b"stored", b"others"), headers=headers)
    assert (other.status_code, other.json()) == (409, KEY_REUSED)
    assert facts_of(product.database, "stored") == before
    assert facts_of(product.database, "others") == 0


OTHER_WORDS = {
    "order": (b'[{"deviceType":"TV","userKey":"said"},{"x":1,"userKey":"v","deviceType":"iOS"}]', {}),
    "numbers": (b'[{"userKey":"said","deviceType":"TV"},{"userKey":"v","deviceType":"iOS","x":1.0}]', {}),
    "white space": (b' [ {"userKey":" said ","deviceType":"TV"} , {"userKey":"v","deviceType":"iOS"} ] ', {}),
    "lines": (b'{"userKey":"said","deviceType":"TV"}\n\n{"userKey":"v","deviceType":"iOS"}\n', NDJSON),
    "byte order mark": (b'\xef\xbb\xbf[{"userKey":"said","deviceType":"TV"},{"userKey":"v","deviceType":"iOS"}]', {}),
    "escapes": (b'[{"userKey":"s\\u0061id","deviceType":"TV"},{"userKey":"v","deviceType":"iOS","x":"\\u0000"}]', {}),
}


@pytest.mark.parametrize(("body", "headers"), OTHER_WORDS.values(), ids=OTHER_WORDS.keys())
def test_a_batch_said_in_other_words_is_the_same_batch(
    public: httpx2.Client, product: Product, body: bytes, headers: dict[str, str]
) -> None:
    key = str(uuid4())
    before = facts_of(product.database, "said")
    first = public.post("/Log/auth/batch", json=[event("said", "TV"), event("v")], headers=keyed(key))
    again = public.post("/Log/auth/batch", content=body, headers=keyed(key) | headers)
    assert (again.status_code, again.content) == (200, first.content), again.text
    assert again.headers["idempotent-replayed"] == "true"
    assert facts_of(product.database, "said") == before + 1


async def test_a_batch_under_one_key_twenty_times_at_once_is_counted_once(product: Product) -> None:
    key = str(uuid4())
    items = [event("at-once", eventId=str(uuid4())) for _ in range(50)]
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as client:
        answers = await asyncio.gather(
            *(
                client.post(f"{product.publics[index % 2].url}/Log/auth/batch", json=items, headers=keyed(key))
                for index in range(20)
            )
        )
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert Counter(answer.headers.get("idempotent-replayed") for answer in answers) == {None: 1, "true": 19}
    assert facts_of(product.database, "at-once") == 50


def test_a_batchs_key_is_no_single_events_key(public: httpx2.Client, product: Product) -> None:
    batch_first, event_first = str(uuid4()), str(uuid4())
    for key, paths in ((batch_first, ("/batch", "")), (event_first, ("", "/batch"))):
        for path in paths * 2:
            body = [event("crossed")] if path else event("crossed")
            assert public.post(f"/Log/auth{path}", json=body, headers=keyed(key)).status_code == 200
    assert facts_of(product.database, "crossed") == 4


def test_a_batch_of_one_event_may_have_the_key_of_its_event(public: httpx2.Client, product: Product) -> None:
    """A sender of one event has one id, and uses it for both."""
    key = str(uuid4())
    first, repeat = (
        public.post("/Log/auth/batch", json=[event("one-id", eventId=key)], headers=keyed(key)) for _ in range(2)
    )
    assert first.json() == {"registered": 1, "duplicate": 0, "rejected": 0, "results": []}
    assert (repeat.content, repeat.headers["idempotent-replayed"]) == (first.content, "true")
    without_header = public.post("/Log/auth/batch", json=[event("one-id", eventId=key)])
    assert without_header.json()["duplicate"] == 1
    assert facts_of(product.database, "one-id") == 1


def test_after_the_window_a_key_is_new_again(public: httpx2.Client, product: Product) -> None:
    old, young = str(uuid4()), str(uuid4())
    for key in (old, young):
        public.post("/Log/auth", json=event(f"aged-{key}"), headers=keyed(key))
    for key, age in ((old, "48 hours 1 minute"), (young, "47 hours 59 minutes")):
        rows(
            product.database,
            "UPDATE idempotency SET created_at = now() - %(age)s::interval WHERE key = %(key)s",
            {"age": age, "key": key},
        )
    assert "idempotency: 1 keys older than 48 hours deleted" in command(product, "maintain")
    for key in (old, young):
        public.post("/Log/auth", json=event(f"aged-{key}"), headers=keyed(key))
    assert (facts_of(product.database, f"aged-{old}"), facts_of(product.database, f"aged-{young}")) == (2, 1)


def test_at_the_end_every_count_is_exact(product: Product) -> None:
    assert_counts_are_exact(product)
