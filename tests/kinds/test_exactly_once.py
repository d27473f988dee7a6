"""Single events of every kind are recorded exactly once, whatever is repeated, contradicted or refused."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx2
import pytest

from tests.database import command
from tests.kinds.client import KEY_REUSED, KindClient, is_replayed, keyed
from tests.kinds.envelopes import forward_of
from tests.kinds.served_kinds import KINDS
from tests.log_files import all_written, lines_of
from tests.servers import Product

REPEATS = 100


def test_an_event_is_stored_and_is_in_the_next_count_of_its_group(client: KindClient) -> None:
    before = client.counts()
    answer = client.send(client.event("counted", 1))
    assert answer.status_code == client.kind.recorded_status
    assert not is_replayed(answer)
    assert client.facts_of("counted") == 1
    grown = Counter(client.counts())
    grown.subtract(before)
    assert {group: count for group, count in grown.items() if count} == {client.kind.groups[1]: 1}


def test_a_refused_event_leaves_nothing_and_does_not_use_its_key_up(client: KindClient) -> None:
    key = str(uuid4())
    before = client.published()
    assert client.send(client.refusable("refused"), key).status_code == client.kind.refused_status
    assert client.send({}, key).status_code == 422
    assert client.facts_of("refused") == 0
    assert client.published() == before
    answer = client.send(client.event("accepted"), key)
    assert (answer.status_code, is_replayed(answer)) == (client.kind.recorded_status, False)


def test_without_a_key_the_same_event_counts_every_time(client: KindClient) -> None:
    for _ in range(3):
        assert client.send(client.event("again")).status_code == client.kind.recorded_status
    assert client.facts_of("again") == 3


def test_a_repeat_gets_the_first_answer_and_counts_nothing(client: KindClient) -> None:
    key = str(uuid4())
    first = client.send(client.event("once"), key)
    assert (first.status_code, is_replayed(first)) == (client.kind.recorded_status, False)
    counted = client.published()
    for instance in (1, 0):
        repeat = client.send(client.event("once"), key, instance=instance)
        assert (repeat.status_code, repeat.content) == (first.status_code, first.content)
        assert is_replayed(repeat)
    assert client.facts_of("once") == 1
    assert client.published() == counted


def test_the_same_said_in_other_words_is_the_same(client: KindClient) -> None:
    key = str(uuid4())
    body = client.event("same words")
    client.send(body, key)
    other_words = {name: body[name] for name in reversed(body)} | {
        "ignored": [1, {"a": None}],
        client.kind.occurred_at: None,
    }
    assert is_replayed(client.send(other_words, key))
    assert client.facts_of("same words") == 1


def test_the_same_key_with_another_body_is_409_and_counts_nothing(client: KindClient) -> None:
    [(now,)] = client.rows("SELECT to_json(now())#>>'{{}}'")
    for change in (
        client.event("conflict", 1),
        client.event("other"),
        client.event("conflict") | {client.kind.occurred_at: now},
    ):
        key = str(uuid4())
        assert client.send(client.event("conflict"), key).status_code == client.kind.recorded_status
        counted = client.published()
        answer = client.send(change, key)
        assert (answer.status_code, answer.json()["detail"]) == (409, KEY_REUSED)
        assert client.published() == counted
    assert client.facts_of("other") == 0


def test_a_key_of_one_kind_is_free_for_the_others(product: Product) -> None:
    key = str(uuid4())
    for kind in KINDS:
        with KindClient(product, kind) as client:
            answers = [client.send(client.event("any-kind"), key) for _ in range(2)]
            assert [is_replayed(answer) for answer in answers] == [False, True]
            assert client.facts_of("any-kind") == 1


async def test_one_key_a_hundred_times_at_once_through_four_processes_is_counted_once(
    client: KindClient, product: Product
) -> None:
    key = str(uuid4())
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as http:
        answers = await asyncio.gather(
            *(
                http.post(
                    f"{product.publics[index % 2].url}{client.kind.path_of(None)}",
                    json=client.event("hundred"),
                    headers=keyed(key) | dict(client.kind.headers),
                )
                for index in range(REPEATS)
            )
        )
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (client.kind.recorded_status, answers[0].content)
    }
    assert Counter(map(is_replayed, answers)) == {False: 1, True: REPEATS - 1}
    assert client.facts_of("hundred") == 1
    # Both private processes wrote, or it was no race between processes.
    for service in product.privates:
        all_written(service)
        assert any(line.get("path") == f"/events/{client.kind.name}/forward" for line in lines_of(service))


async def test_many_keys_each_many_times_in_every_order_do_not_deadlock(client: KindClient, product: Product) -> None:
    keys = [str(uuid4()) for _ in range(10)]
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as http:
        answers = await asyncio.gather(
            *(
                http.post(
                    f"{product.publics[index % 2].url}{client.kind.path_of(None)}",
                    json=client.event(f"many-{key}"),
                    headers=keyed(key) | dict(client.kind.headers),
                )
                for index in range(10)
                for key in (keys if index % 2 else reversed(keys))
            )
        )
    assert {answer.status_code for answer in answers} == {client.kind.recorded_status}
    assert sum(not is_replayed(answer) for answer in answers) == len(keys)
    stored = client.facts_by_identity()
    assert all(stored[f"many-{key}"] == 1 for key in keys)


def test_a_forward_whose_reply_was_lost_is_repeated_and_counts_once(client: KindClient) -> None:
    """Our own retry: the same ids, with and without a client's key, to any process, one after the other and at once."""
    envelope = forward_of(client.kind, ["lost-0", "lost-1"], keys={1: str(uuid4())})
    counted = client.counts().get(client.kind.groups[0], 0)
    first = client.forward(envelope)
    assert (first["recorded"], first["exceptions"]) == (2, [])
    assert len(first["rows"]) == (0 if client.kind.returns is None else 2)
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda turn: client.forward(envelope, instance=turn % 2), range(8)))
    assert again == [first] * 8
    assert [client.facts_of(identity) for identity in ("lost-0", "lost-1")] == [1, 1]
    assert client.counts()[client.kind.groups[0]] == counted + 2


def test_each_event_of_a_forward_has_an_outcome_of_its_own(client: KindClient) -> None:
    key = str(uuid4())
    envelope = forward_of(
        client.kind, ["of-four-0", "of-four-1", "of-four-0", "of-four-3"], keys={0: key, 2: key, 3: key}
    )
    told = {each["position"]: each["status"] for each in client.forward(envelope)["exceptions"]}
    assert [told.get(position, "recorded") for position in range(4)] == ["recorded", "recorded", "replayed", "conflict"]
    assert [client.facts_of(f"of-four-{place}") for place in (0, 1, 3)] == [1, 1, 0]


def test_after_the_window_a_key_is_new_again(client: KindClient, product: Product) -> None:
    old, young = str(uuid4()), str(uuid4())
    for key in (old, young):
        client.send(client.event(f"aged-{key}"), key)
    for key, age in ((old, "48 hours 1 minute"), (young, "47 hours 30 minutes")):
        changed = client.rows(
            "UPDATE idempotency SET created_at = now() - %(age)s::interval WHERE key LIKE '%%' || %(key)s RETURNING 1",
            age=age,
            key=key,
        )
        assert len(changed) == 1
    assert "idempotency: 1 keys older than 48 hours deleted" in command(product, "maintain")
    for key in (old, young):
        client.send(client.event(f"aged-{key}"), key)
    assert (client.facts_of(f"aged-{old}"), client.facts_of(f"aged-{young}")) == (2, 1)


@pytest.mark.parametrize("also_in_header", [False, True])
def test_an_events_own_id_is_its_key(client: KindClient, also_in_header: bool) -> None:
    key = str(uuid4())
    identity = f"own-id-{also_in_header}"
    assert not is_replayed(client.send(client.event(identity, eventId=key), key if also_in_header else None))
    assert is_replayed(client.send(client.event(identity), key))
    assert is_replayed(client.send(client.event(identity, eventId=key)))
    assert client.send(client.event(identity, eventId=str(uuid4())), key).status_code == 422
    assert client.facts_of(identity) == 1
