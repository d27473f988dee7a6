"""Writers of one device type do not wait for each other's commit: each counts in a slot of its own."""

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import psycopg2
import pytest

from local.services import Service
from tests.auth_events.payloads import REGISTERED, event
from tests.database import assert_counts_are_exact, facts_of, rows
from tests.servers import Product, StartProduct

SLOTS = 16
WAIT_SECONDS_MAX = 20.0


def slot_of(instance_id: str) -> int:
    return zlib.crc32(instance_id.encode()) % SLOTS


def instance_in(slot: int, nth: int = 0) -> str:
    """The nth instance id that counts in `slot`."""
    return [name for name in (f"writer-{index}" for index in range(1000)) if slot_of(name) == slot][nth]


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Iterator[Product]:
    """Three writers: the second shares the first one's slot, the third has another.

    Each has counted an event, so that its slot has a row in every rollup; after the tests, every count is exact.
    """
    product = start_product(privates=3)
    for service, instance_id in zip(
        product.privates, (instance_in(3), instance_in(3, nth=1), instance_in(4)), strict=True
    ):
        service.env["INSTANCE_ID"] = instance_id
        service.restart()
    for service in product.privates:
        assert register(product, service, "first").json() == REGISTERED
    yield product
    assert_counts_are_exact(product)


@contextmanager
def uncommitted_writer_of_slot_3(product: Product) -> Iterator[psycopg2.extensions.connection]:
    """A transaction that has counted one iOS event in slot 3, as a writer in the middle of its work has."""
    connection = psycopg2.connect(product.database.admin_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE auth_event_total SET event_count = event_count WHERE device_type = 'iOS' AND slot = 3"
            )
            assert cursor.rowcount == 1
            cursor.execute("UPDATE auth_event_quarter_hour SET event_count = event_count WHERE slot = 3")
            cursor.execute("UPDATE auth_event_minute SET event_count = event_count WHERE slot = 3")
        yield connection
    finally:
        connection.close()


def register(product: Product, service: Service, user_key: str) -> httpx2.Response:
    return httpx2.post(
        f"{service.url}/Device/register",
        json=event(user_key),
        headers={"Authorization": f"Bearer {product.service_token}"},
        timeout=20,
        trust_env=False,
    )


def counted_by_slot(product: Product) -> Counter[int]:
    found = rows(product.database, "SELECT slot, event_count FROM auth_event_total WHERE device_type = 'iOS'")
    return Counter({slot: int(events) for slot, events in found})


def waiting_transactions(product: Product) -> set[object]:
    """When each transaction began that waits for a lock."""
    found = rows(
        product.database,
        "SELECT xact_start FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return {begun for (begun,) in found}


def until(find: Callable[[], set[object]]) -> set[object]:
    """What `find` finds, as soon as it finds something."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not (found := find()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_process_counts_in_the_slot_of_its_instance_id(product: Product) -> None:
    before = counted_by_slot(product)
    for index, service in enumerate(product.privates):
        assert register(product, service, f"slot-{index}").json() == REGISTERED
    assert counted_by_slot(product) - before == {3: 2, 4: 1}


def test_a_writer_of_another_slot_commits_while_a_transaction_holds_this_one(product: Product) -> None:
    _, _, other_slot = product.privates
    with uncommitted_writer_of_slot_3(product):
        # Who waited for this transaction could not commit before it ends, and would be refused after a while.
        for _ in range(5):
            assert register(product, other_slot, "beside").json() == REGISTERED
    assert facts_of(product.database, "beside") == 5


def test_a_writer_of_the_same_slot_waits_and_is_right(product: Product) -> None:
    _, same_slot, _ = product.privates
    counted = rows(product.database, "SELECT sum(event_count)::int FROM auth_event_total")[0][0]
    with uncommitted_writer_of_slot_3(product) as holder:
        answers: list[httpx2.Response] = []
        waiting = threading.Thread(target=lambda: answers.append(register(product, same_slot, "behind")))
        waiting.start()
        first = until(lambda: waiting_transactions(product))
        # Its lock time-out has ended the first transaction: another one waits now.
        until(lambda: waiting_transactions(product) - first)
        assert facts_of(product.database, "behind") == 0
        holder.commit()
        waiting.join()
    assert answers[0].json() == REGISTERED
    assert facts_of(product.database, "behind") == 1
    assert rows(product.database, "SELECT sum(event_count)::int FROM auth_event_total") == [(counted + 1,)]
