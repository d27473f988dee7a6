"""psycopg2 connections, bounded in number and every use of them bounded in time."""

import asyncio
import select
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar
from weakref import WeakSet

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.prepared import Prepared
from servicekit.errors import NotRecorded

Result = TypeVar("Result")

# Name resolution comes before connect_timeout begins, has no bound that we could set, and takes ten seconds where no
# name server answers. So nobody waits for a connection longer than this, nor for a larger share of the time there is:
# what was never begun is to be told as such before the deadline makes it an unknown outcome.
_CONNECT_SECONDS_MAX = 2.5
_CONNECT_SHARE_MAX = 0.8


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
        """`prepare` are the statements that `Lease.round_trips` finds prepared."""
        self._dsn = dsn
        self._read_only = read_only
        self._prepare = prepare
        self._prepared = WeakSet[Connection]()
        self._wait_seconds_max = wait_seconds_max
        self._slots = asyncio.Semaphore(connections_max)
        self._threads = ThreadPoolExecutor(connections_max, thread_name_prefix="database")
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    async def run(self, work: Callable[[Lease], Result], seconds_max: float) -> Result:
        """Run `work` in a worker thread; after `seconds_max` its connection is cut.

        Raises:
            NotRecorded: every connection was busy for `wait_seconds_max`, there was none in _CONNECT_SECONDS_MAX, or
                no time is left at all.
        """
        if seconds_max <= 0:  # a short transaction would be over before its expiry could stop it
            raise NotRecorded("the deadline passed before it was begun")
        begun = time.monotonic()
        try:
            async with asyncio.timeout(min(self._wait_seconds_max, seconds_max)):
                await self._slots.acquire()
        except TimeoutError as error:
            raise NotRecorded("every database connection is busy") from error
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()
        lease = Lease(self)

        def give_up_connecting() -> None:
            if not outcome.done() and lease.expire_unless_connected():
                outcome.set_exception(NotRecorded("the database cannot be reached"))

        seconds_left = seconds_max - (time.monotonic() - begun)
        expiry = loop.call_later(seconds_left, lease.expire)
        connect_timer = loop.call_later(
            min(_CONNECT_SECONDS_MAX, _CONNECT_SHARE_MAX * seconds_left), give_up_connecting
        )

        def finish(future: "Future[Result]") -> None:
            # The slot is free when the thread is, which is later than this call if the caller gave up.
            expiry.cancel()
            connect_timer.cancel()
            self._slots.release()
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

    def acquire(self) -> Connection:
        """An idle connection that is still up, else a new one.

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
        conn = psycopg2.connect(self._dsn)
        if self._read_only:
            # Each statement stands alone: no BEGIN and COMMIT around a single SELECT.
            conn.set_session(readonly=True, autocommit=True)
        return conn

    def release(self, conn: Connection) -> None:
        """Keep a connection for the next caller."""
        with self._lock:
            self._idle.append(conn)

    def discard(self, conn: Connection) -> None:
        """Close a broken connection and the idle ones, which most likely broke with it."""
        with self._lock:
            broken, self._idle = [conn, *self._idle], []
        for each in broken:
            with suppress(psycopg2.Error):
                each.close()

    def prepare(self, conn: Connection) -> None:
        """Prepare the statements on a connection, in one round trip, unless it has them already.

        At their first use and not at connect, because they need the schema: readiness is asked for before it is there.

        Raises:
            psycopg2.ProgrammingError: the schema does not fit them (yet); the next use tries again.
        """
        if conn not in self._prepared:
            with conn.cursor() as cursor:
                # Unlike tables, what was prepared before one of them failed stays when the others are rolled back.
                cursor.execute("; ".join(["DEALLOCATE ALL", *(each.prepare(conn) for each in self._prepare)]))
            self._prepared.add(conn)

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            while self._idle:
                self._idle.pop().close()


def _is_up(conn: Connection) -> bool:
    """A server that ended an idle session has sent its farewell: the socket is readable."""
    if conn.closed or conn.info.transaction_status != TRANSACTION_STATUS_IDLE:
        return False
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)
