"""Reads one page of an export. No statement waits for a client, and no transaction is open between two pages.

A row has the id of its transaction, and rows are read in the order of these ids, up to the oldest transaction that is
still running: whatever is committed later has a greater id. A page looks at some ids at a time. How many of them fit a
page is found out by trying, and kept in the position.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg2 import errors, sql
from psycopg2.sql import Composed

from contract.exports import CHECKPOINT_ROWS
from device_registration_api.events.table import EventTable
from device_registration_api.exports.epochs import DatabaseState, check_epoch, check_numbered, database_state
from device_registration_api.exports.position import TRANSACTIONS_MAX, Position
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.errors import NotRecorded

PAGE_BYTES_MAX = 4 * 1024 * 1024
# A page is returned after this time, even if it has no row: so its client sees that the export goes on.
PAGE_SECONDS_MAX = 2.0
# Of one statement; the longest page takes this time and the one above.
STATEMENT_SECONDS_MAX = 6.0
# With the largest events, 4 MiB.
_FETCHED_ROWS = 250
_SLOWER = 8
_NO_ID = UUID(int=0)

_COLUMNS = """
    SELECT {fact}.commit_xid, {fact}.received_at, {fact}.event_id::text, to_json(exported)::text
      FROM {fact} {joined}
     CROSS JOIN LATERAL (SELECT {exported}) AS exported
     WHERE {fact}.project_id = %(project_id)s AND {fact}.received_at >= %(received_from)s
"""
# The BRIN index finds the ids, and the rows are sorted.
WINDOW = sql.SQL(
    _COLUMNS
    + """
       AND {fact}.commit_xid >= %(transaction)s AND {fact}.commit_xid < %(ends)s
       AND ({fact}.commit_xid, {fact}.received_at, {fact}.event_id)
           > (%(transaction)s, %(received_at)s::timestamptz, %(event_id)s::uuid)
     ORDER BY {fact}.commit_xid, {fact}.received_at, {fact}.event_id
     LIMIT %(rows)s
"""
)
# Of one transaction with more rows than a page: by the primary key, so that no page reads them all.
ONE_TRANSACTION = sql.SQL(
    _COLUMNS
    + """
       AND {fact}.commit_xid = %(transaction)s AND {fact}.received_at <= %(received_to)s
       AND {fact}.received_at >= %(received_at)s::timestamptz
       AND ({fact}.received_at, {fact}.event_id) > (%(received_at)s::timestamptz, %(event_id)s::uuid)
     ORDER BY {fact}.received_at, {fact}.event_id
     LIMIT %(rows)s
"""
)
TYPES = sql.SQL("SELECT {exported} FROM {fact} {joined} LIMIT 0")
IN_ORDER_OF_KEYS = "SET LOCAL enable_sort = off"
BOUNDS = sql.SQL("""
    SELECT min(received_at), max(received_at)
      FROM {fact}
     WHERE project_id = %(project_id)s AND commit_xid = %(transaction)s AND received_at >= %(received_from)s
""")

# Returns a connection in a transaction, which the end of the block commits.
Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass
class Page:
    """Some rows as JSON, in their order; `position` is behind the last one."""

    position: Position
    rows: list[str] = field(default_factory=list)
    # There was nothing more, at this moment.
    is_end: bool = False


class _Bounds(NamedTuple):
    first: datetime | None
    last: datetime | None


class _Row(NamedTuple):
    transaction: int
    received_at: datetime
    event_id: str
    text: str


class ExportedTable:
    """The statements of one kind."""

    def __init__(self, table: EventTable[Any]) -> None:
        self.kind = table.kind
        self.fact = table.fact
        self.names: Sequence[str] = (*table.exported,)
        names = {
            "fact": sql.Identifier(table.fact),
            "joined": sql.SQL(table.joined),
            "exported": sql.SQL(", ").join(
                sql.SQL(expression) + sql.SQL(" AS ") + sql.Identifier(name)
                for name, expression in table.exported.items()
            ),
        }
        self.window: Composed = WINDOW.format(**names)
        self.one_transaction: Composed = ONE_TRANSACTION.format(**names)
        self._types: Composed = TYPES.format(**names)
        self.bounds: Composed = BOUNDS.format(fact=names["fact"])

    def columns(self, transaction: Transaction) -> dict[str, int]:
        """Return the object id of the type of each field."""
        with transaction() as conn, conn.cursor() as cursor:
            cursor.execute(self._types)
            return {column.name: column.type_code for column in cursor.description or ()}


def start(
    transaction: Transaction, table: ExportedTable, project_id: int, received_from: datetime | None = None
) -> Position:
    """Return the position before the first row. Raises NotConfigured."""
    with transaction() as conn:
        state = database_state(conn, table.fact)
        check_numbered(conn, table.fact, state)
    return Position(kind=table.kind, project_id=project_id, epoch=state.epoch, received_from=received_from)


def read_page(
    transaction: Transaction,
    table: ExportedTable,
    position: Position,
    *,
    rows_max: int = CHECKPOINT_ROWS,
    bytes_max: int = PAGE_BYTES_MAX,
    seconds_max: float = PAGE_SECONDS_MAX,
) -> Page:
    """Return the rows behind a position: at most `rows_max`, and about `bytes_max` bytes of them.

    Raises:
        Conflict: the position is of the database before a restore.
        NotRecorded: the database is too slow, or cannot be used.
    """
    with transaction() as conn:
        state = database_state(conn, table.fact)
    check_epoch(position.epoch, position.transaction, state)
    reading = _Reading(transaction, table, Page(position), state, rows_max, bytes_max)
    ends = time.monotonic() + seconds_max
    while not reading.is_full and time.monotonic() < ends:
        if reading.page.position.transaction >= state.horizon:
            reading.page.is_end = True
            break
        if not reading.read_some():
            break
    return reading.page


@dataclass
class _Reading:
    transaction: Transaction
    table: ExportedTable
    page: Page
    state: DatabaseState
    rows_left: int
    bytes_left: int

    @property
    def is_full(self) -> bool:
        return self.rows_left <= 0 or self.bytes_left <= 0

    def read_some(self) -> bool:
        """Add rows to the page by one statement; False: it took too long, and a smaller one has to be tried."""
        position = self.page.position
        if position.received_to is not None:
            is_whole = self._add(self.table.one_transaction, position, {}, IN_ORDER_OF_KEYS)
            if is_whole is None:
                raise NotRecorded("the database was too slow")
            if is_whole:
                self.page.position = position.at(position.transaction + 1)
            return True
        ends = min(position.transaction + position.transactions, self.state.horizon)
        is_whole = self._add(self.table.window, position, {"ends": ends})
        if is_whole:
            more = min(position.transactions * 2, TRANSACTIONS_MAX)
            self.page.position = position.at(ends, transactions=more)
        elif position.transactions == 1:
            self._read_alone(self.page.position)
        else:
            is_of_one = is_whole is False and self.page.position.transaction == position.transaction
            fewer = 1 if is_of_one else position.transactions // (_SLOWER if is_whole is None else 2)
            self.page.position = self.page.position.model_copy(update={"transactions": max(fewer, 1)})
        return is_whole is not None

    def _add(
        self, statement: Composed, position: Position, more: dict[str, object], setting: LiteralString | None = None
    ) -> bool | None:
        """Add the rows of a statement, and say whether these were all; None: it took too long."""
        parameters = {
            "project_id": position.project_id,
            "transaction": position.transaction,
            "received_from": position.received_from or "-infinity",
            "received_at": position.received_at or "-infinity",
            "received_to": position.received_to,
            "event_id": str(position.event_id or _NO_ID),
            "rows": self.rows_left,
            **more,
        }
        with self.transaction() as conn:
            try:
                if setting is not None:
                    with conn.cursor() as cursor:
                        cursor.execute(setting)
                # Of the server, so that a page of large events is not in memory as a whole before it is measured.
                with conn.cursor(name="export") as cursor:
                    cursor.execute(statement, parameters)
                    while not self.is_full and (fetched := cursor.fetchmany(_FETCHED_ROWS)):
                        self._take([_Row(*row) for row in fetched])
            except errors.QueryCanceled:
                conn.rollback()
                return None
        return not self.is_full

    def _take(self, fetched: Sequence[_Row]) -> None:
        rows = self.page.rows
        for row in fetched:
            rows.append(row.text)
            self.bytes_left -= len(row.text)
        self.rows_left -= len(fetched)
        last = fetched[-1]
        self.page.position = self.page.position.behind(
            last.transaction, last.received_at.astimezone(UTC), last.event_id
        )

    def _read_alone(self, position: Position) -> None:
        """Go on with one transaction that is too large for the statement with a window."""
        parameters = {
            "project_id": position.project_id,
            "transaction": position.transaction,
            "received_from": position.received_from or "-infinity",
        }
        with self.transaction() as conn:
            [bounds] = fetch_all(conn, self.table.bounds, parameters, _Bounds)
        if bounds.first is None or bounds.last is None:
            self.page.position = position.at(position.transaction + 1)
            return
        received_at = position.received_at or bounds.first.astimezone(UTC)
        found = {"received_at": received_at, "event_id": position.event_id or _NO_ID}
        self.page.position = position.model_copy(update=found | {"received_to": bounds.last.astimezone(UTC)})
