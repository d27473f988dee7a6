"""One connection for one piece of work, until a deadline.

psycopg2 has no time-outs of its own: a peer that stops answering blocks its thread for minutes in spite of
`statement_timeout`. So the work runs in a worker thread, and at the deadline the event loop shuts down the socket of
its connection. The thread then fails in the same way as when a connection is lost.
docs/decisions/0002-cut-the-socket-at-the-deadline.md describes the alternatives that were tried.
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
from servicekit.database.round_trips import Progress, RoundTrips
from servicekit.errors import DatabaseAway, DomainError, NotRecorded, OutcomeUnknown

# Classes of SQLSTATE: the first two characters of the code.
_TRANSACTION_STATE = "25"
# No disk space or memory is left; a prepared statement does not exist, as behind a transaction pooler.
_ROLLED_BACK = ("53", "26")

_log = logging.getLogger(__name__)


class ConnectionSource(Protocol):
    """Gives a lease its connection, and takes it back."""

    def acquire(self) -> Connection:
        """Return a connection that is up. Raises psycopg2.OperationalError when there is none."""

    def release(self, conn: Connection) -> None:
        """Keep a connection that works for the next lease."""

    def discard(self, conn: Connection) -> None:
        """Close a broken connection."""

    def prepare(self, conn: Connection) -> None:
        """Make sure that the connection, which is in autocommit, has the prepared statements."""


class Contention(NotRecorded):
    """The transaction was rolled back because of a conflict with another one; an immediate repeat may succeed."""


class StatementFailed(NotRecorded):
    """A statement failed with an internal error, and the connection is up: the transaction was rolled back."""


class StringFailed(OutcomeUnknown):
    """The string of statements that ends the transaction failed with an internal error, and the connection is up.

    A single server has rolled the transaction back. A cluster reports a commit that failed on one of its nodes in the
    same way.
    """


class UnknownCommits:
    """How often a connection of this process was lost while COMMIT was under way."""

    def __init__(self) -> None:
        self.number = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        """Count one; called by the threads of the pools."""
        with self._lock:
            self.number += 1


# State of the process, as its pools are.
unknown_commits = UnknownCommits()


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
        """One transaction, committed at the end of the block (for a reader, each statement is a transaction).

        Raises:
            DatabaseAway: there is no connection, it was lost before COMMIT was sent, the server became read-only or has
                no room, or a statement took too long: nothing is stored.
            NotRecorded: the deadline passed before, or the schema does not fit: nothing is stored.
            Contention: a deadlock or a lock time-out: nothing is stored.
            StatementFailed: an internal error of a statement; the connection is up, and nothing is stored.
            OutcomeUnknown: the connection was lost while COMMIT was under way.
            psycopg2.DataError, psycopg2.IntegrityError: the data was refused: nothing is stored.
        """
        conn = self._connect()
        progress = Progress()
        with self._naming_errors(conn, progress):
            yield conn
            progress.committing = True
            conn.commit()

    @contextmanager
    def round_trips(self) -> Iterator[RoundTrips]:
        """One transaction that sends BEGIN and COMMIT together with other statements; see `RoundTrips`.

        A transaction that the block leaves open is rolled back. The connection has the prepared statements.

        Raises:
            StringFailed: the string that ends the transaction failed with an internal error; the outcome is unknown.
            Everything else as `transaction`.
        """
        conn = self._connect()
        trips = RoundTrips(conn)
        with self._naming_errors(conn, trips):
            conn.autocommit = True  # a setting of psycopg2: it sends no BEGIN of its own
            self._connections.prepare(conn)
            yield trips
            trips.roll_back()
            conn.autocommit = False

    @contextmanager
    def _naming_errors(self, conn: Connection, progress: Progress) -> Iterator[None]:
        """Convert each error to one that says what it means for the data, and release or close the connection."""
        try:
            yield
        except (psycopg2.DataError, psycopg2.IntegrityError):
            self._roll_back(conn, progress)
            raise
        except (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable) as error:
            self._roll_back(conn, progress)
            raise Contention("another transaction was in the way") from error
        except errors.QueryCanceled as error:
            self._roll_back(conn, progress)
            raise DatabaseAway("the database was too slow") from error
        except psycopg2.NotSupportedError as error:
            # The result type of a prepared statement changed with the schema; a new connection prepares it again.
            self._close(conn)
            raise Contention("the database schema has just changed") from error
        except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.InternalError) as error:
            raise self._name_failure(conn, error, progress) from error
        except psycopg2.ProgrammingError as error:
            # The migration has not run, or the role lacks a grant: the operator has to act, not the client.
            self._roll_back(conn, progress)
            _log.exception("a statement does not fit the schema")
            raise NotRecorded("the database schema is not ready") from error
        except BaseException:
            self._roll_back(conn, progress)
            raise
        else:
            self._release(conn)

    def _name_failure(self, conn: Connection, error: psycopg2.Error, progress: Progress) -> DomainError:
        """Return the error for a failure of the server. The connection is closed unless only a statement failed."""
        if _is_of_a_statement(conn, error) and (progress.in_one_string or not progress.committing):
            self._roll_back(conn, progress)
            failure = StringFailed if progress.committing else StatementFailed
            return failure("the database failed in a statement")
        # The server reports these on a connection that is up: it has rolled back, even if COMMIT was in the string.
        is_certain = not conn.closed and (error.pgcode or "").startswith(_ROLLED_BACK)
        self._close(conn)
        if progress.committing and not (progress.in_one_string and is_certain):
            unknown_commits.add()
            return OutcomeUnknown("the database did not confirm the commit")
        return DatabaseAway("the database cannot be used right now")

    def has_expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._expired.is_set()

    def expire(self) -> None:
        """Called by the event loop at the deadline: it ends whatever the thread waits for."""
        with self._lock:
            self._expired.set()
            if self._socket is not None:
                with suppress(OSError):  # already closed by the server
                    self._socket.shutdown(socket.SHUT_RDWR)

    def expire_unless_connected(self) -> bool:
        """Called by the event loop: end the lease unless it had a connection. True means that no work was begun."""
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
            raise DatabaseAway("the database cannot be reached") from error
        with self._lock:
            # A duplicate of the descriptor: libpq may close its own while the event loop shuts this one down.
            self._socket = socket.socket(fileno=os.dup(conn.fileno()))
            self._was_connected = True
        if self._expired.is_set():
            self._release(conn)
            raise NotRecorded("the deadline passed before it was begun")
        return conn

    def _roll_back(self, conn: Connection, progress: Progress) -> None:
        try:
            if isinstance(progress, RoundTrips):
                progress.roll_back()
                conn.autocommit = False
            else:
                conn.rollback()
        except psycopg2.Error:
            self._close(conn)
        else:
            self._release(conn)

    def _close(self, conn: Connection) -> None:
        self._forget_socket()
        self._connections.discard(conn)

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


def _is_of_a_statement(conn: Connection, error: psycopg2.Error) -> bool:
    """Whether the statement itself is the reason of a failure, and not the state of the session: a server that became
    read-only is the standby of another server now.
    """
    if conn.closed or not isinstance(error, psycopg2.InternalError):
        return False
    return error.pgcode is not None and not error.pgcode.startswith(_TRANSACTION_STATE)
