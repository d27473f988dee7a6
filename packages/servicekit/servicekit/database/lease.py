"""One connection for one piece of work, until a deadline.

psycopg2 has no time-outs of its own: a peer that stops answering blocks its thread for minutes in spite of
`statement_timeout`. So work runs in a worker thread under a deadline, and at the deadline the event loop shuts the
connection's socket down under the thread, which then fails like on any lost connection.
docs/decisions/0002-cut-the-socket-at-the-deadline.md has what was tried instead.
"""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import psycopg2
from psycopg2 import errors

from servicekit.database import Connection
from servicekit.errors import NotRecorded, OutcomeUnknown

_log = logging.getLogger(__name__)


class ConnectionSource(Protocol):
    """Where a lease takes its connection from, and what it does with it afterwards."""

    def acquire(self) -> Connection:
        """A connection that is up. Raises psycopg2.OperationalError when there is none."""

    def release(self, conn: Connection) -> None:
        """Keep a connection that works for the next lease."""

    def discard(self, conn: Connection) -> None:
        """Close a connection that broke."""


class Contention(NotRecorded):
    """Rolled back because another transaction was in the way; worth an immediate repeat."""


class Lease:
    """The right to use one connection until a deadline. Belongs to one worker thread."""

    def __init__(self, connections: ConnectionSource) -> None:
        self._connections = connections
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
            self._connections.discard(conn)
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
            conn = self._connections.acquire()
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
            self._connections.discard(conn)
        else:
            self._release(conn)

    def _release(self, conn: Connection) -> None:
        self._forget_socket()
        if self._expired.is_set():  # its socket may be shut down already
            conn.close()
        else:
            self._connections.release(conn)

    def _forget_socket(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
