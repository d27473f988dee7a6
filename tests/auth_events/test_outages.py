"""When something the services need is gone or slow: an honest 503 meanwhile, and everything right afterwards."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import httpx2
import psycopg2
import pytest

from contract.schema import SCHEMA_NEEDED
from local.postgres import Postgres
from tests.auth_events.payloads import REGISTERED, event
from tests.database import assert_counts_are_exact, facts_by_user, facts_of, rows
from tests.servers import Cluster, Product
from tests.waiting import wait_until

BACK_SECONDS_MAX = 10.0
EVENT_SECONDS_MAX = 6.0
QUIET_SECONDS = 1.0
TRY_LATER_CODES = {"not-recorded", "outcome-unknown"}
# Of the writer in this database; a test that waits for its end in vain is ended by pytest.
UNDER_WAY = """
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = %(writer)s AND state <> 'idle'
"""


def assert_try_later(answer: httpx2.Response, *codes: str) -> None:
    assert answer.status_code == 503, answer.text
    body = answer.json()
    assert set(body) == {"detail", "code"}
    assert body["code"] in codes
    assert body["detail"]
    assert answer.headers["retry-after"] == "1"


def assert_alive(client: httpx2.Client) -> None:
    for path in ("/livez", "/health"):
        assert client.get(path).status_code == 200


@pytest.fixture
def postgres_down(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """The whole server killed, as by a power cut, for the length of a test; the function brings it back."""
    server = cluster.server
    assert isinstance(server, Postgres)
    server.kill()
    try:
        yield server.start
    finally:
        server.start()


@contextmanager
def totals_locked(product: Product) -> Iterator[None]:
    """Every counter locked, so that no event can be counted."""
    connection = psycopg2.connect(product.database.admin_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE auth_event_total IN SHARE MODE")
        yield
    finally:
        connection.close()


def test_with_the_private_service_down_nothing_is_recorded_and_that_is_said_at_once(
    public: httpx2.Client, product: Product
) -> None:
    assert public.post("/Log/auth", json=event("before")).json() == REGISTERED
    product.private.kill()
    begun = time.monotonic()
    assert_try_later(public.post("/Log/auth", json=event("down")), "not-recorded")
    assert_try_later(public.post("/Log/auth/batch", json=[event("down")]), "not-recorded")
    assert time.monotonic() - begun < EVENT_SECONDS_MAX / 2

    ready = public.get("/readyz")
    assert ready.status_code == 503
    assert ready.headers["retry-after"] == "1"
    assert ready.json()["reason"] == "device-registration-api: cannot be reached"
    assert ready.json()["needs"]["database"].startswith("ok")
    assert_alive(public)
    assert public.get("/Log/auth/statistics").status_code == 200  # reading needs the database alone

    product.private.start()
    wait_until(lambda: public.post("/Log/auth", json=event("after")).status_code == 200, BACK_SECONDS_MAX)
    product.private.wait_ready()
    assert public.get("/readyz").status_code == 200
    assert facts_of(product.database, "down") == 0


def test_with_postgresql_down_both_services_stay_up_and_say_why(
    public: httpx2.Client, private: httpx2.Client, product: Product, postgres_down: Callable[[], None]
) -> None:
    pids = (product.public.pid, product.private.pid)
    for _ in range(3):
        assert_try_later(public.post("/Log/auth", json=event("dark")), *TRY_LATER_CODES)
        assert_try_later(public.post("/Log/auth/batch", json=[event("dark")]), *TRY_LATER_CODES)
        assert_try_later(public.get("/Log/auth/statistics"), "not-recorded")
        assert_try_later(public.get("/Log/auth/timeseries"), "not-recorded")
        assert_try_later(private.post("/Device/register", json=event("dark")), *TRY_LATER_CODES)
    for client in (public, private):
        assert_alive(client)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert ready.json()["reason"].startswith("database: the database cannot be ")
    # What is wrong with the request is still said: nobody has to wait for a database to learn it.
    assert public.post("/Log/auth", json=event("u", "Windows")).status_code == 400
    assert public.post("/Log/auth", json=event("")).status_code == 422

    postgres_down()
    wait_until(lambda: public.post("/Log/auth", json=event("light")).status_code == 200, BACK_SECONDS_MAX)
    wait_until(lambda: public.get("/readyz").status_code == private.get("/readyz").status_code == 200, BACK_SECONDS_MAX)
    assert public.get("/Log/auth/statistics").status_code == 200
    assert (product.public.pid, product.private.pid) == pids
    assert facts_of(product.database, "dark") == 0
    assert facts_of(product.database, "light") == 1


def test_a_database_that_is_not_migrated_is_not_ready_and_says_so(
    public: httpx2.Client, private: httpx2.Client, product: Product
) -> None:
    rows(product.database, "UPDATE alembic_version SET version_num = '0001'")
    try:
        for client in (public, private):
            ready = client.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["reason"] == f"database: schema 0001, needs {SCHEMA_NEEDED}"
    finally:
        rows(product.database, "UPDATE alembic_version SET version_num = %(newest)s", {"newest": SCHEMA_NEEDED})
    assert public.get("/readyz").status_code == private.get("/readyz").status_code == 200


def test_what_cannot_be_counted_in_time_is_not_recorded_and_leaves_no_row(
    public: httpx2.Client, product: Product
) -> None:
    """Longer than the deadline: some are given up on in the queue, some at the lock; no answer may be a lie."""
    events = [(f"late-{index}", str(uuid4())) for index in range(20)]
    answers: dict[str, httpx2.Response] = {}

    def send(user_key: str, key: str) -> None:
        answers[user_key] = public.post("/Log/auth", json=event(user_key), headers={"Idempotency-Key": key})

    with totals_locked(product), ThreadPoolExecutor(20) as clients:
        begun = time.monotonic()
        for index, (user_key, key) in enumerate(events):
            clients.submit(send, user_key, key)
            time.sleep(0.05 if index < 10 else 0)
        clients.shutdown(wait=True)
        assert time.monotonic() - begun < EVENT_SECONDS_MAX + 2.0
    assert len(answers) == len(events)
    for answer in answers.values():
        assert_try_later(answer, *TRY_LATER_CODES)

    # What is still under way in the private service has its own deadline; then nothing may come after it. Between two
    # transactions, nothing is under way for a moment.
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        if rows(product.database, UNDER_WAY, {"writer": product.database.writer_env["DB_USER"]}):
            quiet_since = time.monotonic()
        time.sleep(0.01)
    settled = facts_by_user(product.database)
    for user_key, answer in answers.items():
        if answer.json()["code"] == "not-recorded":
            assert settled[user_key] == 0, user_key
        assert settled[user_key] <= 1
    time.sleep(1.0)
    assert facts_by_user(product.database) == settled
    # With its key, a repeat is exact whatever became of the first attempt.
    for user_key, key in events:
        send(user_key, key)
        assert answers[user_key].json() == REGISTERED
        replayed = answers[user_key].headers.get("idempotent-replayed") == "true"
        assert replayed == (settled[user_key] == 1)
    assert all(facts_by_user(product.database)[user_key] == 1 for user_key, _ in events)


def test_a_client_that_goes_away_disturbs_nobody(public: httpx2.Client, product: Product) -> None:
    with totals_locked(product):
        gone = []
        for index in range(5):
            with pytest.raises(httpx2.TimeoutException):
                httpx2.post(f"{product.public_url}/Log/auth", json=event(f"gone-{index}"), timeout=0.1, trust_env=False)
            gone.append(f"gone-{index}")
        waiting = threading.Thread(target=lambda: public.post("/Log/auth", json=event("stayed")).raise_for_status())
        waiting.start()
        time.sleep(0.2)
    waiting.join()
    assert facts_of(product.database, "stayed") == 1
    found = facts_by_user(product.database)
    assert all(found[user_key] <= 1 for user_key in gone)


def test_at_the_end_every_count_is_exact(product: Product) -> None:
    assert_counts_are_exact(product)
