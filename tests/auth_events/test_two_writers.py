"""Writers of one device type do not wait for each other's commit: each counts in a slot of its own."""

import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import psycopg2
import pytest

from local.services import Service
from tests.auth_events.payloads import REGISTERED, event
from tests.database import assert_counts_are_exact, facts_of, rows
from tests.servers import Product, StartProduct

SLOTS = 16


def slot_of(instance_id: str) -> int:
    return zlib.crc32(instance_id.encode()) % SLOTS


def instance_in(slot: int, nth: int = 0) -> str:
    """The nth instance id that counts in `slot`."""
    return [name for name in (f"writer-{index}" for index in range(1000)) if slot_of(name) == slot][nth]


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    """Three writers: the second shares the first one's slot, the third has another."""
    product = start_product(privates=3)
    for service, instance_id in zip(
        product.privates, (instance_in(3), instance_in(3, nth=1), instance_in(4)), strict=True
    ):
        service.env["INSTANCE_ID"] = instance_id
        service.restart()
    return product


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


def test_a_process_counts_in_the_slot_of_its_instance_id(product: Product) -> None:
    for index, service in enumerate(product.privates):
        assert register(product, service, f"slot-{index}").json() == REGISTERED
    found = rows(
        product.database, "SELECT slot, event_count FROM auth_event_total WHERE device_type = 'iOS' ORDER BY 1"
    )
    assert found == [(3, 2), (4, 1)]


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
    held_seconds = 1.2  # longer than one lock time-out: it is repeated
    with uncommitted_writer_of_slot_3(product) as holder:
        answers: list[httpx2.Response] = []
        waiting = threading.Thread(target=lambda: answers.append(register(product, same_slot, "behind")))
        begun = time.monotonic()
        waiting.start()
        time.sleep(held_seconds)
        assert facts_of(product.database, "behind") == 0
        holder.commit()
        waiting.join()
        assert time.monotonic() - begun > held_seconds
    assert answers[0].json() == REGISTERED
    assert facts_of(product.database, "behind") == 1
    assert rows(product.database, "SELECT sum(event_count)::int FROM auth_event_total") == [(counted + 1,)]


def test_at_the_end_every_count_is_exact(product: Product) -> None:
    assert_counts_are_exact(product)
