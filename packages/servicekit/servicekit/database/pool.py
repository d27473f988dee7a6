"""psycopg2 connections, bounded in number and every use of them bounded in time.

psycopg2 has no time-outs of its own: a peer that stops answering blocks its thread for minutes in spite of
`statement_timeout`. So work runs in a worker thread under a deadline, and at the deadline the event loop shuts the
connection's socket down under the thread, which then fails like on any lost connection.
"""

import asyncio
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, make_dsn

from servicekit.database import Connection
from servicekit.errors import NotRecorded, OutcomeUnknown

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

# Sources: libpq's connection parameters, PostgreSQL's client settings; seconds unless the name says otherwise.
# tcp_user_timeout bounds data that is sent and not acknowledged, keepalives a peer that went away in silence.
_CONNECT = {
    "client_encoding": "UTF8",  # whatever the environment says: what COPY is given, nobody converts
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 8000,  # milliseconds
}
_SESSION_MILLISECONDS = {
    "statement_timeout": 2000,
    "lock_timeout": 500,
    "idle_in_transaction_session_timeout": 5000,
}
# Name resolution comes before connect_timeout begins, has no bound that we could set, and takes ten seconds where no
# name server answers. So nobody waits for a connection longer than this, nor for a larger share of the time there is:
# what was never begun is to be told as such before the deadline makes it an unknown outcome.
_CONNECT_SECONDS_MAX = 2.5
_CONNECT_SHARE_MAX = 0.8
# A 200 means durable: whatever the server's default is, this session waits for the write-ahead log.
_SESSION = "-c synchronous_commit=on " + " ".join(f"-c {k}={v}" for k, v in _SESSION_MILLISECONDS.items())


class Contention(NotRecorded):
    """Rolled back because another transaction was in the way; worth an immediate repeat."""


class Lease:
    """The right to use one connection until a deadline. Belongs to one worker thread."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._was_connected = False
        self._expired = threading.Event()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction, committed at the end of the block (a reader's statements each stand alone).

        Raises:
            NotRecorded: no connection, or lost before COMMIT was sent: nothing is stored.
            Contention: a deadlock or a lock time-out: nothing is stored.
            OutcomeUnknown: the connection was lost while COMMIT was under way.
            psycopg2.DataError, psycopg2.IntegrityError: the data was refused: nothing is stored.
        """
        conn = self._connect()
        committing = False
        try:
            yield conn
            committing = True
            conn.commit()
        except (psycopg2.DataError, psycopg2.IntegrityError):
            self._roll_back(conn)
            raise
        except (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable) as error:
            self._roll_back(conn)
            raise Contention("another transaction was in the way") from error
        except errors.QueryCanceled as error:
            self._roll_back(conn)
            raise NotRecorded("the database was too slow") from error
        except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.InternalError) as error:
            self._forget_socket()
            self._database.discard(conn)
            if committing:
                raise OutcomeUnknown("the database did not confirm the commit") from error
            raise NotRecorded("the database cannot be used right now") from error
        except psycopg2.ProgrammingError as error:
            # Before the migration, or with a role that lacks a grant: an operator's matter, not the client's.
            self._roll_back(conn)
            _log.exception("a statement does not fit the schema")
            raise NotRecorded("the database schema is not ready") from error
        except BaseException:
            self._roll_back(conn)
            raise
        else:
            self._release(conn)

    def has_expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._expired.is_set()

    def expire(self) -> None:
        """Called by the event loop at the deadline: whatever the thread waits for ends now."""
        with self._lock:
            self._expired.set()
            if self._socket is not None:
                with suppress(OSError):  # already closed by the server
                    self._socket.shutdown(socket.SHUT_RDWR)

    def expire_unless_connected(self) -> bool:
        """Called by the event loop: whether the lease ended before it had a connection, so that nothing was begun."""
        with self._lock:
            if not self._was_connected:
                self._expired.set()
            return not self._was_connected

    def _connect(self) -> Connection:
        if self._expired.is_set():
            raise NotRecorded("the deadline passed before it was begun")
        try:
            conn = self._database.acquire()
        except psycopg2.OperationalError as error:
            raise NotRecorded("the database cannot be reached") from error
        with self._lock:
            # A duplicate of the descriptor: libpq may close its own while the event loop shuts this one down.
            self._socket = socket.socket(fileno=os.dup(conn.fileno()))
            self._was_connected = True
        if self._expired.is_set():
            self._release(conn)
            raise NotRecorded("the deadline passed before it was begun")
        return conn

    def _roll_back(self, conn: Connection) -> None:
        try:
            conn.rollback()
        except psycopg2.Error:
            self._forget_socket()
            self._database.discard(conn)
        else:
            self._release(conn)

    def _release(self, conn: Connection) -> None:
        self._forget_socket()
        if self._expired.is_set():  # its socket may be shut down already
            conn.close()
        else:
            self._database.release(conn)

    def _forget_socket(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


class Database:
    """At most `connections_max` connections to one database under one role."""

    def __init__(
        self,
        dsn: str,
        *,
        connections_max: int,
        wait_seconds_max: float,
        read_only: bool = False,
    ) -> None:
        self._dsn = dsn
        self._read_only = read_only
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

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            while self._idle:
                self._idle.pop().close()


def dsn(*, host: str, port: int, name: str, user: str, password: str, application: str) -> str:
    """A libpq connection string with every time-out this product relies on."""
    parameters: dict[str, Any] = _CONNECT | {"options": _SESSION}
    made: str = make_dsn(
        host=host,
        port=port,
        dbname=name,
        user=user,
        password=password,
        application_name=application,
        **parameters,
    )
    return made


def _is_up(conn: Connection) -> bool:
    """A server that ended an idle session has sent its farewell: the socket is readable."""
    if conn.closed or conn.info.transaction_status != TRANSACTION_STATUS_IDLE:
        return False
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)
