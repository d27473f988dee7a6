"""A transaction that takes as few round trips as possible.

A string of several statements is one round trip, and it is one transaction unless it contains a BEGIN: PostgreSQL's
documentation, "Multiple Statements in a Simple Query". psycopg2 reports an error of any statement in such a string,
also of a statement that follows a COPY, and of the COMMIT at its end.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from servicekit.database import Connection
from servicekit.database.prepared import Prepared

# Usually all the data is one piece: psycopg2 needs the GIL after each piece, and the event loop competes for it.
_COPY_BYTES_AT_ONCE = 1 << 20


class Progress:
    """The state of a transaction, which decides what an error in it means."""

    in_one_string = False
    committing = False


class RoundTrips(Progress):
    """A transaction on a connection in autocommit mode: one string of statements, or several after `begin`."""

    in_one_string = True

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self._has_begun = False
        self._before = b""

    def begin(self) -> None:
        """Let the next string begin a transaction, which stays open until a later string commits it."""
        self._has_begun = True
        self._before = b"BEGIN; "

    def run(self, statement: Prepared, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Execute one statement and return its rows."""
        return self._execute(statement.execute(self.conn, parameters))

    def copy_and_commit(self, copy: bytes, data: bytes, more: Sequence[bytes] = ()) -> None:
        """Run COPY with `data`, execute `more` and commit, all in one string."""
        statements = b"; ".join([copy, *more, *([b"COMMIT"] if self._has_begun else [])])
        with self.conn.cursor() as cursor:
            cursor.copy_expert(self._before + statements, _CopyData(data, self), size=_COPY_BYTES_AT_ONCE)

    def commit(self, more: Sequence[bytes] = ()) -> None:
        """Execute `more` and commit, in one string. Call it only after `begin`."""
        self.committing = True
        self._execute(b"; ".join([*more, b"COMMIT"]))

    def roll_back(self) -> None:
        """Roll back the transaction if it is still open."""
        if self.conn.info.transaction_status != TRANSACTION_STATUS_IDLE:
            self._execute(b"ROLLBACK")

    def _execute(self, statements: bytes) -> list[tuple[Any, ...]]:
        before, self._before = self._before, b""
        with self.conn.cursor() as cursor:
            cursor.execute(before + statements)
            return cursor.fetchall() if cursor.description else []


class _CopyData(BytesIO):
    """The data of a COPY. The server cannot commit before the end of the data is read and sent, so a connection that
    is lost earlier has stored nothing.
    """

    def __init__(self, data: bytes, progress: Progress) -> None:
        super().__init__(data)
        self._progress = progress

    def read(self, size: int | None = -1) -> bytes:
        """The next piece; nothing at the end."""
        piece = super().read(size)
        if not piece:
            self._progress.committing = True
        return piece
