"""An export of millions of events: rows a second, and what the services need meanwhile.

Beside it, COPY of the same rows as JSON to a client. `BENCH_EXPORT_ROWS` (10,000,000) is how many rows there are. Two
writers store them by SQL, a thousand in a transaction.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import httpx2
import psycopg2

from load.environment import BenchEnvironment, Product
from load.figures import Figure, ratio
from load.fills import CONNECTIONS, EVENT_ID, run
from load.footprint import resident_mib

ROWS = 10_000_000
_ROWS_OF_TRANSACTION = 1_000
# Of the other forms, whose rate is compared with that of lines.
_COMPARED_ROWS = 1_000_000
_SAMPLE_SECONDS = 0.2

_FILL = """
    DO $$ BEGIN
        FOR start IN {first}..{last} BY {step} LOOP
            INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
            SELECT 1, clock_timestamp(), {event_id}, clock_timestamp(), 'iOS', 'user-' || n % 1000000
              FROM generate_series(start, start + {step} - 1) AS n;
            COMMIT;
        END LOOP;
    END $$
"""
_COPY = """
    COPY (SELECT to_json(exported) FROM auth_event CROSS JOIN LATERAL (
              SELECT event_id AS "eventId", user_key AS "userKey", device_type AS "deviceType",
                     occurred_at AS "occurredAt", received_at AS "receivedAt") AS exported)
      TO STDOUT
"""


class _Memory:
    """The largest resident memory of each service's processes while a block runs."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.largest: dict[str, float] = {}

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            for (name, _), mib in resident_mib(self._product):
                self.largest[name] = max(self.largest.get(name, 0.0), mib)


class _Discard:
    """A file that counts lines and keeps nothing."""

    def __init__(self) -> None:
        self.lines = 0

    def write(self, data: bytes) -> int:
        self.lines += data.count(b"\n")
        return len(data)


def exports(environment: BenchEnvironment) -> Iterator[Figure]:
    """Lines, compressed lines and CSV over HTTP, each of all rows, with the memory of the services."""
    rows = int(os.environ.get("BENCH_EXPORT_ROWS", ROWS))
    with environment.product("exports") as product:
        url = environment.server.url(product.name)
        run(url, [_fill(rows, share) for share in range(CONNECTIONS)])
        environment.execute(product.name, "VACUUM (ANALYZE) auth_event")
        environment.settle()
        before = {name: mib for (name, _), mib in sorted(resident_mib(product))}
        copied = _copied(url, rows)
        with _Memory(product) as memory:
            whole = _exported(product, rows, rows, {})
            name = f"export of {rows:,} auth events as lines ÷ COPY of the same JSON"
            yield ratio(name, [(whole, copied)], "rows/s", None)
            fewer = min(rows, _COMPARED_ROWS)
            lines = _exported(product, fewer, rows, {})
            for name, query, coding in (
                ("as lines with gzip", {}, "gzip"),
                ("as CSV", {"format": "csv"}, "identity"),
            ):
                rate = _exported(product, fewer, rows, query, coding)
                yield ratio(f"the first {fewer:,} {name} ÷ as lines", [(rate, lines)], "rows/s", None)
        grown = {name: memory.largest[name] - before[name] for name in before}
        detail = ", ".join(f"{name} {before[name]:.0f} to {memory.largest[name]:.0f}" for name in sorted(before))
        yield Figure(
            "growth of any service's memory by these exports", max(grown.values()), 64, "lower", detail, " MiB"
        )


def _fill(rows: int, share: int) -> str:
    size = rows // CONNECTIONS
    first = share * size
    return _FILL.format(first=first, last=first + size - 1, step=_ROWS_OF_TRANSACTION, event_id=EVENT_ID)


def _exported(product: Product, rows: int, all_rows: int, query: dict[str, str], coding: str = "identity") -> float:
    """Return the rows a second of an export, of which this reads so many. Raises AssertionError if there are fewer."""
    headers = {"X-API-Key": product.key, "Accept-Encoding": coding}
    lines, begun = _Discard(), time.perf_counter()
    with (
        httpx2.Client(headers=headers, timeout=60, trust_env=False) as client,
        client.stream("GET", f"{product.public.url}/Log/auth/export", params=query) as answer,
    ):
        for piece in answer.raise_for_status().iter_bytes():
            lines.write(piece)
            if rows < all_rows and lines.lines >= rows:
                break
        seconds = time.perf_counter() - begun
    if lines.lines < rows:
        message = f"{lines.lines} lines of {rows} rows"
        raise AssertionError(message)
    return rows / seconds


def _copied(url: str, rows: int) -> float:
    begun = time.perf_counter()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.copy_expert(_COPY, _Discard())
    return rows / (time.perf_counter() - begun)
