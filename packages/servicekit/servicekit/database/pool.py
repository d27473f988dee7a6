"""A pool of psycopg2 connections: their number is bounded, and so is the time of each use."""

import asyncio
import select
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, parse_dsn

from servicekit.database import Connection
from servicekit.database.interruption import opened
from servicekit.database.lease import Lease
from servicekit.database.prepared import Prepared
from servicekit.errors import DatabaseAway, NotRecorded
from servicekit.tracing.queries import query_tracing, summary_of
from servicekit.tracing.spans import Attributes, Spans

Result = TypeVar("Result")

# Name resolution precedes connect_timeout, has no time-out that we can set, and takes ten seconds when no name server
# answers. So a caller waits for a connection no longer than this, and no longer than this share of its remaining time:
# it must learn that its work was not begun before the deadline turns that into an unknown outcome.
_CONNECT_SECONDS_MAX = 2.5
_CONNECT_SHARE_MAX = 0.8


class Connections(NamedTuple):
    """How many connections a pool has."""

    used: int
    idle: int


class Database:
    """At most `connections_max` connections to one database under one role."""

    def __init__(
        self,
        dsn: str,
        *,
        connections_max: int,
        wait_seconds_max: float,
        read_only: bool = False,
        prepare: Sequence[Prepared] = (),
    ) -> None:
        """`prepare` lists the statements that are prepared on each connection of `Lease.round_trips`."""
        self._dsn = dsn
        self._read_only = read_only
        self._prepare = prepare
        self._prepared = WeakSet[Connection]()
        self._wait_seconds_max = wait_seconds_max
        self._slots = asyncio.Semaphore(connections_max)
        self._threads = ThreadPoolExecutor(connections_max, thread_name_prefix="database")
        self._idle: list[Connection] = []
        self._running = 0
        self._lock = threading.Lock()

    def run(
        self, work: Callable[[Lease], Result], seconds_max: float, *, named_after: object = None
    ) -> Coroutine[Any, Any, Result]:
        """Run `work` in a worker thread; after `seconds_max` its connection is shut down.

        A span of it has the name of `work`, or of the function `named_after`.

        Raises:
            DatabaseAway: every connection was busy for `wait_seconds_max`, or no connection was made within
                _CONNECT_SECONDS_MAX.
            NotRecorded: no time is left.
        """
        # No coroutine in between where nothing is traced.
        spans = query_tracing.spans
        running = self._run(work, seconds_max)
        return running if spans is None else self._traced(running, summary_of(named_after or work), spans)

    async def _traced(self, running: Coroutine[Any, Any, Result], summary: str, spans: Spans) -> Result:
        """Wait for it in a span, which has the waiting for a connection and the COMMIT in it, and no statement."""
        with spans.of_query(summary, {**self._traced_as, "db.query.summary": summary}):
            return await running

    @cached_property
    def _traced_as(self) -> Attributes:
        """What all spans of this database have, by OpenTelemetry's conventions for databases."""
        server = parse_dsn(self._dsn)
        found = {
            "db.system.name": "postgresql",
            "db.namespace": server.get("dbname", ""),
            "server.address": server.get("host", ""),
        }
        return found | ({"db.operation.name": "SELECT"} if self._read_only else {})

    async def _run(self, work: Callable[[Lease], Result], seconds_max: float) -> Result:
        if seconds_max <= 0:  # a short transaction would commit before its expiry could stop it
            raise NotRecorded("the deadline passed before it was begun")
        begun = time.monotonic()
        try:
            async with asyncio.timeout(min(self._wait_seconds_max, seconds_max)):
                await self._slots.acquire()
        except TimeoutError as error:
            raise DatabaseAway("every database connection is busy") from error
        self._running += 1
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()
        lease = Lease(self)

        def give_up_connecting() -> None:
            if not outcome.done() and lease.expire_unless_connected():
                outcome.set_exception(DatabaseAway("the database cannot be reached"))

        seconds_left = seconds_max - (time.monotonic() - begun)
        expiry = loop.call_later(seconds_left, lease.expire)
        connect_timer = loop.call_later(
            min(_CONNECT_SECONDS_MAX, _CONNECT_SHARE_MAX * seconds_left), give_up_connecting
        )

        def finish(future: "Future[Result]") -> None:
            # The slot becomes free together with the thread, which may be long after the caller gave up.
            expiry.cancel()
            connect_timer.cancel()
            self._slots.release()
            self._running -= 1
            if outcome.done():
                return
            if future.cancelled():
                outcome.cancel()
            elif (error := future.exception()) is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(future.result())

        def when_done(future: "Future[Result]") -> None:
            with suppress(RuntimeError):  # the loop is closed: the process is ending
                loop.call_soon_threadsafe(finish, future)

        self._threads.submit(work, lease).add_done_callback(when_done)
        return await outcome

    @property
    def connections(self) -> Connections:
        """Work that runs counts as a connection in use, although it may still be connecting."""
        return Connections(self._running, len(self._idle))

    def acquire(self) -> Connection:
        """Return an idle connection that is still up, or else a new one.

        Raises:
            psycopg2.OperationalError: the server cannot be reached or refuses.
        """
        while True:
            with self._lock:
                conn = self._idle.pop() if self._idle else None
            if conn is None:
                break
            if _is_up(conn):
                return conn
            conn.close()
        conn = opened(psycopg2.connect(self._dsn))
        if self._read_only:
            # Autocommit: a single SELECT needs no BEGIN and COMMIT.
            conn.set_session(readonly=True, autocommit=True)
        return conn

    def release(self, conn: Connection) -> None:
        """Keep a connection for the next caller."""
        with self._lock:
            self._idle.append(conn)

    def discard(self, conn: Connection) -> None:
        """Close a broken connection and all idle ones, which most likely broke for the same reason."""
        with self._lock:
            broken, self._idle = [conn, *self._idle], []
        for each in broken:
            with suppress(psycopg2.Error):
                each.close()

    def prepare(self, conn: Connection) -> None:
        """Prepare the statements on a connection, in one round trip, unless it has them already.

        This happens at their first use and not at connect, because the statements need the schema, and the readiness
        check connects before the schema exists.

        Raises:
            psycopg2.ProgrammingError: the schema does not fit them (yet); the next use tries again.
        """
        if conn not in self._prepared:
            with conn.cursor() as cursor:
                # DEALLOCATE first: a rollback keeps the statements that were prepared before one of them failed.
                cursor.execute("; ".join(["DEALLOCATE ALL", *(each.prepare(conn) for each in self._prepare)]))
            self._prepared.add(conn)

    def close_idle(self) -> None:
        """Close the connections that no work uses, of a database that is used seldom; the next use connects again."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.close_idle()


def _is_up(conn: Connection) -> bool:
    """Whether an idle connection is usable: its socket becomes readable when the server ends the session."""
    if conn.closed or conn.info.transaction_status != TRANSACTION_STATUS_IDLE:
        return False
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)
