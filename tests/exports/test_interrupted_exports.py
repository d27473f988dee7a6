"""An export that is cut off in its middle, by whatever ends, goes on from its last checkpoint without a gap."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import httpx2
import psycopg2
import pytest

from statistics_api.exports.streams import EXPORTS_MAX
from tests.database import rows
from tests.exports.conftest import Source
from tests.servers import Product
from tests.waiting import wait_until

FILL = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT %(project)s, clock_timestamp(), gen_random_uuid(), now(), 'TV', %(name)s || number
      FROM generate_series(1, %(rows)s) AS number
"""
OPEN_TRANSACTIONS = """
    SELECT count(*)::int FROM pg_stat_activity
     WHERE application_name LIKE '%exports%' AND datname = current_database() AND xact_start IS NOT NULL
"""
SECONDS_MAX = 20


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Client:
    """Reads an export piece by piece, and keeps rows when it has the checkpoint behind them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.rows: list[str] = []
        self.cursor: str | None = None

    def read(self, lines_max: int) -> bool:
        """Read on for at most so many lines, then leave; whether the export has ended."""
        waiting: list[str] = []
        query = {} if self.cursor is None else {"cursor": self.cursor}
        with self.source.http.stream("GET", self.source.path("auth_events"), params=query) as answer:
            if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:  # those that were left have not all ended
                time.sleep(0.1)
                return False
            answer.raise_for_status()
            for number, text in enumerate(answer.iter_lines()):
                line = json.loads(text)
                if "checkpoint" not in line:
                    waiting.append(line["userKey"])
                else:
                    self.rows += waiting
                    waiting, self.cursor = [], line["checkpoint"]
                    if line.get("end"):
                        return True
                if number >= lines_max:
                    return False
        raise AssertionError("it was cut off")


@contextmanager
def writing(source: Source) -> Iterator[None]:
    """Two writers, each of which holds a transaction open most of the time, until the block ends."""
    ended = threading.Event()

    def write(name: str) -> None:
        with closing(psycopg2.connect(source.product.database.admin_url)) as session:
            for number in range(1_000):
                with session, session.cursor() as cursor:
                    named = {"project": source.project_id, "name": f"{name}-{number}-", "rows": 40}
                    cursor.execute(FILL, named)
                    time.sleep(0.02)
                if ended.is_set():
                    return

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        ended.set()
        for each in threads:
            each.join()


def test_every_row_once_beside_two_writers_however_often_the_client_leaves(source: Source) -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    for part in range(30):
        rows(source.product.database, FILL, {"project": source.project_id, "name": f"old-{part}-", "rows": 1_000})
    client = Client(source)
    with writing(source):
        for _ in range(15):
            client.read(chance.randint(0, 15_000))
    # The step of a follower, for one, is a transaction that an export waits for.
    wait_until(lambda: source.are_exported("auth_event"))
    while not client.read(10**9):
        pass
    stored = rows(
        source.product.database, "SELECT user_key FROM auth_event WHERE project_id = %(p)s", {"p": source.project_id}
    )
    assert sorted(client.rows) == sorted(key for (key,) in stored)


@pytest.mark.parametrize("service", ["private", "database"])
def test_it_waits_for_what_it_needs(product: Product, source: Source, service: str) -> None:
    """A restart in its middle is not seen by the client."""
    for part in range(3):
        rows(product.database, FILL, {"project": source.project_id, "name": f"{part}-", "rows": 10_000})
    with source.http.stream("GET", source.path("auth_events")) as answer:
        lines = answer.raise_for_status().iter_lines()
        found = [next(lines) for _ in range(100)]
        if service == "private":
            product.private.restart()
        else:
            rows(
                product.database,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%%exports%%'",
                {},
            )
        found += lines
    assert json.loads(found[-1])["end"]
    assert len([line for line in found if "checkpoint" not in line]) == 30_000


def test_an_export_without_what_it_needs_is_refused(product: Product, source: Source) -> None:
    product.private.stop()
    try:
        answer = source.export("auth_events")
        assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
        assert "retry-after" in answer.headers
    finally:
        product.private.start()
        product.private.wait_ready()
    assert source.exported("auth_events")[0] == []


def test_there_are_so_many_at_once_and_the_next_is_told_to_wait(source: Source) -> None:
    for part in range(10):  # more than sockets have room for
        rows(source.product.database, FILL, {"project": source.project_id, "name": f"{part}-", "rows": 10_000})
    headers = {"X-API-Key": source.http.headers["X-API-Key"]}
    with httpx2.Client(base_url=source.product.public_url, headers=headers, timeout=30, trust_env=False) as client:
        running = []
        for _ in range(EXPORTS_MAX):
            sent = client.build_request("GET", source.path("auth_events"))
            running.append(client.send(sent, stream=True))  # nobody reads them
        assert [each.status_code for each in running] == [200] * EXPORTS_MAX
        refused = source.export("measurements")
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        # Neither the database nor other requests wait for those who do not read.
        assert source.http.get("/Log/auth/statistics").status_code == 200
        until(lambda: rows(source.product.database, OPEN_TRANSACTIONS) == [(0,)])
        for each in running:
            each.close()
    until(lambda: source.export("measurements").status_code == 200)


def test_a_revoked_key_ends_its_export(product: Product, source: Source) -> None:
    """Not before the next look at it, so the test shortens nothing: a new export is refused at once."""
    rows(
        product.database,
        "UPDATE api_key SET revoked_at = now() WHERE project_id = %(project)s",
        {"project": source.project_id},
    )
    until(lambda: source.export("auth_events").status_code == 401)
