"""Batches of every kind: each item on its own, all of them in one transaction, exactly once."""

import asyncio
import json
import threading
import time
from collections import Counter
from uuid import uuid4

import httpx2
import psycopg2
import pytest

from tests.database import administrator, assert_counts_are_exact, rows
from tests.kinds.client import KEY_REUSED, KindClient, is_replayed, keyed
from tests.kinds.envelopes import batch_of
from tests.servers import Product

FORMS = pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])
NOTHING = {"registered": 0, "duplicate": 0, "rejected": 0, "results": []}


def numbers_of(answer: httpx2.Response) -> tuple[int, int, int]:
    """How many items were registered, duplicates and rejected."""
    assert answer.status_code == 200, answer.text[:500]
    body = answer.json()
    return body["registered"], body["duplicate"], body["rejected"]


@FORMS
def test_a_batch_of_nothing_is_nothing(client: KindClient, lines: bool) -> None:
    answer = client.send_batch([], lines=lines)
    assert (answer.status_code, answer.json()) == (200, NOTHING)


@FORMS
def test_each_item_comes_to_what_it_would_alone(client: KindClient, lines: bool) -> None:
    marker, own = f"mixed-{lines}", str(uuid4())
    items = [
        client.event(marker),
        client.refusable(marker),
        "no object",
        client.event(marker, eventId=own),
        client.event(marker, eventId=own),
        client.event(f"other {marker}", eventId=own),
        client.event(marker) | {client.kind.occurred_at: "2020-01-01T00:00:00Z"},
        client.beside(marker),
    ]
    answer = client.send_batch(items, lines=lines)
    assert numbers_of(answer) == (3, 1, 4)
    assert [(each["index"], each["status"]) for each in answer.json()["results"]] == [
        (1, "rejected"),
        (2, "rejected"),
        (4, "duplicate"),
        (5, "rejected"),
        (6, "rejected"),
    ]
    assert answer.json()["results"][3]["detail"] == KEY_REUSED
    assert client.facts_of(marker) == 3


@FORMS
def test_ten_thousand_items_are_a_batch_and_their_counts_are_exact(
    client: KindClient, product: Product, lines: bool
) -> None:
    before = Counter(client.counts())
    groups = client.kind.batch_groups
    items = [client.event(f"{lines}-{index}", index % len(groups), eventId=str(uuid4())) for index in range(10_000)]
    assert client.send_batch(items, lines=lines).json() == NOTHING | {"registered": 10_000}
    grown = Counter(client.counts()) - before
    assert grown == Counter(groups[index % len(groups)] for index in range(10_000))
    assert numbers_of(client.send_batch(items, lines=lines)) == (0, 10_000, 0)
    assert Counter(client.counts()) - before == grown
    assert_counts_are_exact(product)


@FORMS
def test_one_item_more_is_refused_whole(client: KindClient, lines: bool) -> None:
    answer = client.send_batch([client.event("too-many")] * 10_001, lines=lines)
    assert answer.status_code == 422
    assert "at most 10000 items make a batch, and this one has more" in answer.text
    assert client.facts_of("too-many") == 0


def test_a_key_and_an_items_event_id_are_the_same_identity(client: KindClient) -> None:
    key = str(uuid4())
    client.send(client.event("either-way"), key)
    answer = client.send_batch([client.event("either-way", eventId=key), client.event("otherwise", eventId=key)])
    assert numbers_of(answer) == (0, 1, 1)
    assert [(each["index"], each["status"]) for each in answer.json()["results"]] == [(0, "duplicate"), (1, "rejected")]
    assert client.facts_of("either-way") == 1


def test_the_first_of_two_equal_items_in_one_batch_is_the_one_that_counts(client: KindClient) -> None:
    ids = [str(uuid4()) for _ in range(500)]
    items = [client.event(f"pair-{id_}", eventId=id_) for id_ in ids]
    answer = client.send_batch(items + items[::-1])
    assert numbers_of(answer) == (500, 500, 0)
    assert [each["index"] for each in answer.json()["results"]] == list(range(500, 1000))
    assert client.facts_of(f"pair-{ids[7]}") == 1


def test_the_first_of_two_items_that_say_different_things_under_one_id_counts(client: KindClient) -> None:
    ids = [str(uuid4()) for _ in range(100)]
    answer = client.send_batch([client.event(said, eventId=id_) for said in ("earlier", "later") for id_ in ids])
    assert numbers_of(answer) == (100, 0, 100)
    assert (client.facts_of("earlier"), client.facts_of("later")) == (100, 0)


@FORMS
def test_a_batch_under_a_key_gets_its_stored_answer_byte_for_byte(client: KindClient, lines: bool) -> None:
    key, marker = str(uuid4()), f"stored-{lines}"
    first_item = client.event(marker, eventId=str(uuid4()))
    items = [first_item, first_item, client.refusable("é"), client.beside(marker)]
    first = client.send_batch(items, key, lines=lines)
    assert not is_replayed(first)
    assert numbers_of(first) == (2, 1, 1)
    # The form is not a part of what is said.
    for instance, form in ((1, lines), (0, not lines)):
        repeat = client.send_batch(items, key, lines=form, instance=instance)
        assert (repeat.status_code, repeat.content, is_replayed(repeat)) == (200, first.content, True)
    other = client.send_batch([*items, client.event("others")], key, lines=lines)
    assert (other.status_code, other.json()["detail"]) == (409, KEY_REUSED)
    assert (client.facts_of(marker), client.facts_of("others")) == (2, 0)


async def test_a_batch_under_one_key_twenty_times_at_once_is_counted_once(client: KindClient, product: Product) -> None:
    key = str(uuid4())
    items = [client.event("at-once", eventId=str(uuid4())) for _ in range(50)]
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as http:
        answers = await asyncio.gather(
            *(
                http.post(
                    f"{product.publics[index % 2].url}{client.kind.path_of(None)}/batch",
                    json=items,
                    headers=keyed(key) | dict(client.kind.headers),
                )
                for index in range(20)
            )
        )
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert Counter(map(is_replayed, answers)) == {False: 1, True: 19}
    assert client.facts_of("at-once") == 50


def test_a_batchs_key_is_no_single_events_key(client: KindClient) -> None:
    batch_first, event_first = str(uuid4()), str(uuid4())
    for key, order in ((batch_first, (True, False)), (event_first, (False, True))):
        for is_batch in order * 2:
            body = client.event("crossed")
            answer = client.send_batch([body], key) if is_batch else client.send(body, key)
            assert answer.is_success
    assert client.facts_of("crossed") == 4


def test_a_batch_of_one_event_may_have_the_key_of_its_event(client: KindClient) -> None:
    """A sender of one event has one id, and uses it for both."""
    key = str(uuid4())
    first, repeat = (client.send_batch([client.event("one-id", eventId=key)], key) for _ in range(2))
    assert first.json() == NOTHING | {"registered": 1}
    assert (repeat.content, is_replayed(repeat)) == (first.content, True)
    assert numbers_of(client.send_batch([client.event("one-id", eventId=key)])) == (0, 1, 0)
    assert client.facts_of("one-id") == 1


@pytest.mark.parametrize("key", [None, "own"])
def test_a_batch_whose_reply_was_lost_is_repeated_and_counts_once(client: KindClient, key: str | None) -> None:
    """Our own retry: the same ids to any process. It is told what the first was told, and is no replay."""
    own = None if key is None else str(uuid4())
    identities = [f"lost-batch-{key}-{number}" for number in range(3)]
    envelope = batch_of(client.kind, identities, key=own, keys={1: str(uuid4())})
    told = [client.forward_batch(envelope, instance=instance) for instance in (0, 1, 0)]
    assert told == [{"response": NOTHING | {"registered": 3}, "replayed": False}] * 3
    assert [client.facts_of(identity) for identity in identities] == [1] * 3


def test_when_the_database_refuses_to_count_nothing_of_the_batch_is_stored(
    client: KindClient, product: Product
) -> None:
    """The counters are the last statement: facts and keys were written before it failed."""
    key, ids = str(uuid4()), [str(uuid4()) for _ in range(100)]
    items = [client.event("half-way", eventId=id_) for id_ in ids]
    counted = client.published()
    total = f"{client.kind.fact}_{client.kind.rollup}"
    with administrator(product.database) as connection, connection.cursor() as cursor:
        cursor.execute(f"REVOKE INSERT, UPDATE ON {total} FROM registration_writer")
        try:
            answer = client.send_batch(items, key)
        finally:
            cursor.execute(f"GRANT INSERT, UPDATE ON {total} TO registration_writer")
    assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
    assert answer.headers["retry-after"] == "1"
    assert client.facts_of("half-way") == 0
    claimed = "SELECT count(*) FROM idempotency WHERE right(key, 36) = ANY (%(keys)s)"
    assert client.rows(claimed, keys=[key, *ids]) == [(0,)]
    assert client.published() == counted
    again = client.send_batch(items, key)
    assert (numbers_of(again), is_replayed(again)) == ((100, 0, 0), False)


def test_when_the_connection_is_cut_half_way_the_batch_is_stored_once_or_not_at_all(
    client: KindClient, product: Product
) -> None:
    items = [client.event("cut", eventId=str(uuid4())) for _ in range(100)]
    with psycopg2.connect(product.database.admin_url) as blocker, blocker.cursor() as cursor:
        # The batch waits here, its facts written.
        cursor.execute(f"LOCK TABLE {client.kind.fact}_{client.kind.rollup} IN SHARE MODE")
        answers: list[httpx2.Response] = []
        waiting = threading.Thread(target=lambda: answers.append(client.send_batch(items)))
        waiting.start()
        cut = wait_and_cut_a_waiting_writer(product)
        blocker.rollback()
        waiting.join()
    assert cut
    # The edge repeats with the same ids on a new connection, so the client sees nothing of it.
    assert numbers_of(answers[0]) == (100, 0, 0)
    assert client.facts_of("cut") == 100


def wait_and_cut_a_waiting_writer(product: Product, seconds_max: float = 5.0) -> int:
    """Terminate the first writer's session that waits for a lock; how many there were."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        cut = rows(
            product.database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        if cut:
            return len(cut)
        time.sleep(0.02)
    return 0


def test_a_line_that_is_no_json_is_rejected_alone(client: KindClient) -> None:
    good = json.dumps(client.kind.content_of(client.event("beside-garbage"))).encode()
    bad = [b"{", b"\xff\xfe", good[:-1], b"NaN"]
    answer = client.send_lines(b"\r\n".join([good, *bad, b"", b"   ", good]))
    # Blank lines are no items: indexes count the others.
    assert numbers_of(answer) == (2, 0, len(bad))
    assert [each["index"] for each in answer.json()["results"]] == list(range(1, len(bad) + 1))
    assert client.facts_of("beside-garbage") == 2
