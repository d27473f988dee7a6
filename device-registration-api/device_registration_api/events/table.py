"""What differs from one kind of event to another: its columns, its counters, what its clients get back."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Generic, LiteralString, NamedTuple, TypeAlias, cast

from psycopg2 import sql

from contract.delivery import Batch, Columns, Forward, Outcome
from device_registration_api.citus.state import has_citus
from device_registration_api.events.dropped import count_dropped
from device_registration_api.events.idempotency import Run, run_plainly
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.presences import Presence, Presences
from device_registration_api.events.row_texts import respelled
from device_registration_api.events.rows import FactKey, Rows
from device_registration_api.personal.peppers import DailyPeppers
from servicekit.database import Connection
from servicekit.database.copy_encoding import (
    INT4,
    TIMESTAMPTZ,
    UUID,
    Codec,
    Column,
    Repeated,
    Unencodable,
    encode_copy,
)
from servicekit.database.lease import Lease
from servicekit.database.prepared import Prepared
from servicekit.errors import NotRecorded, OutcomeUnknown

# The increments of one rollup: the elements of the JSON array {counted}. They are read at most once, and not at all if
# none of their buckets is kept.
Counted: TypeAlias = Iterable[Mapping[str, object]]

# The columns of every fact table. Those that are the same in every row of a batch come first, and are encoded once.
_SHARED: Mapping[str, Codec[Any]] = {
    "project_id": INT4,
    "received_at": TIMESTAMPTZ,
    "occurred_at": TIMESTAMPTZ,
    "event_id": UUID,
}

_COPY = sql.SQL("COPY {fact} ({columns}) FROM STDIN (FORMAT binary)")

# A row that is stored already comes from our own retry: it is not returned, so it is not counted again. Sorted, so that
# two writers take their locks in the same order.
_INSERT = sql.SQL("""
    INSERT INTO {fact} ({columns})
    SELECT {columns}
      FROM json_to_recordset({rows}::json) AS sent({typed_columns})
     ORDER BY project_id, received_at, event_id
        ON CONFLICT (project_id, received_at, event_id) DO NOTHING
    RETURNING project_id, received_at, event_id::text
""")


# The parameters of `_read` and `_read_of_nodes`: arrays, by their types' own names.
_KEYS = {"project_ids": "_int4", "received_at": "_timestamptz", "event_ids": "_uuid"}


class FactColumn(NamedTuple):
    """One column that a kind adds to its fact table, and the field of its `EventColumns` that the column stores."""

    name: str
    codec: Codec[Any]
    field: str


class Rollup(NamedTuple):
    """A counter that grows in the transaction that stores the facts.

    `upsert` adds the elements of the JSON array {counted} to the table, in the slot {slot}. It orders its rows by the
    table's key, so that two writers take their locks in the same order. Each rollup has its own statement: on a
    cluster, rows that several statements of one WITH share are sent to every node.

    Buckets older than `kept` are deleted by `maintain`; None: they are kept for ever. The elements of {counted} then
    have a `bucket_start`.
    """

    table: str
    upsert: LiteralString
    kept: timedelta | None = None


class Encoded(NamedTuple):
    """What stores new rows: the data of COPY, and the statements that count them, with their parameters."""

    copy_data: bytes
    counts: Sequence[tuple[Prepared, Mapping[str, object]]]
    presences: Set[Presence]


class EventTable(Generic[Columns]):
    """A kind of event as it is stored."""

    def __init__(  # noqa: PLR0913 - the parts of a declaration, by name
        self,
        kind: str,
        fact: str,
        *,
        model: type[Columns],
        columns: Sequence[FactColumn],
        rollups: Sequence[Rollup],
        count: Callable[[Rows[Columns]], Sequence[Counted]],
        exported: Mapping[str, LiteralString],
        returned: LiteralString | None = None,
        returned_from: LiteralString = "",
        write: Callable[[Rows[Columns]], list[bytes]] | None = None,
        spellings: Mapping[str, Callable[[Any], object]] = MappingProxyType({}),
        arrive: Callable[[Columns, Sequence[int], DailyPeppers], Awaitable[Columns]] | None = None,
        complete: Callable[[Lease, Rows[Columns]], Rows[Columns]] | None = None,
        refuse: Callable[[Run, Rows[Columns]], dict[int, Outcome]] | None = None,
        refusing: Sequence[Prepared] = (),
        presences: Presences | None = None,
        refusals: Mapping[str, Outcome] = MappingProxyType({}),
        arrived_model: type[Columns] | None = None,
        refers_to: str | None = None,
    ) -> None:
        """`count` groups rows for the rollups, in the order of `rollups`.

        `exported` has the fields of a row of an export, each with its expression over the fact and what `returned_from`
        joins to it: `eventId`, and the fields that an event is sent with, so that an exported row can be sent again.

        A kind that returns stored rows to its clients has `returned`: the columns of such a row, as SELECT has them,
        from the fact and what `returned_from` joins to it. `write` returns the same rows as JSON, one for each row that
        was just stored: to ask the database for them took a tenth of the time of an event. `spellings` convert the
        fields of a row that PostgreSQL spells in another way, such as `2` for the double 2.0.

        `arrive` replaces, before anything else, values that must not be kept; it also gets the project of each event.

        `complete` adds to the rows, before their transaction, values that the database assigns. It opens transactions
        of its own, which change no count. A repeat may assign another value, so a row that an earlier attempt may have
        stored is read from the database.

        `refuse` returns, in the transaction that would store them, why events may not be stored, by their positions. It
        runs the statements `refusing`, and locks what it depends on.

        A kind with `presences` has its different ones counted, by day.

        `refusals` has the outcome of an event that breaks the constraint of this name, where it is the client's own
        error. An event that breaks any other constraint is refused with the constraint's name.

        `arrived_model` is that of the columns which `arrive` returns: these may wait in the inbox. `refers_to` is a
        column whose values must be in the database for `refuse` to accept an event; only values which this process has
        recorded before may go into the inbox.
        """
        self.kind = kind
        self.fact = fact
        self._arrive = arrive
        self._complete = complete
        self._presences = presences
        self.refuse = refuse
        self._refusing = refusing
        self.refusals = refusals
        self.exported = exported
        self.joined = returned_from
        self.write = write
        self._spellings = spellings
        self.forward_model = cast("type[Forward[Columns]]", Forward[model])  # type: ignore[valid-type]
        self.batch_model = cast("type[Batch[Columns]]", Batch[model])  # type: ignore[valid-type]
        self.fact = fact
        self.refers_to = refers_to
        arrived = arrived_model or model
        self.arrived_forward_model = cast("type[Forward[Columns]]", Forward[arrived])  # type: ignore[valid-type]
        self.arrived_batch_model = cast("type[Batch[Columns]]", Batch[arrived])  # type: ignore[valid-type]
        self._columns = columns
        self._count = count
        self._rollups = rollups
        codecs = {**_SHARED, **{column.name: column.codec for column in columns}}
        names = {
            "fact": sql.Identifier(fact),
            "columns": sql.SQL(", ").join(map(sql.Identifier, codecs)),
            "typed_columns": sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(name), sql.Identifier(codec.type_name))
                for name, codec in codecs.items()
            ),
        }
        self._copy = _COPY.format(**names)
        self._insert = _INSERT.format(**names, rows=sql.Placeholder("rows"))
        self._counts = [
            Prepared(f"count_{rollup.table}", rollup.upsert, {"counted": "json", "slot": "int2"}) for rollup in rollups
        ]
        self.count_dropped = count_dropped(kind)
        self.read: Prepared | None = None
        if returned is not None:
            self.read = Prepared(f"read_{fact}", _read(fact, returned, returned_from), _KEYS)
            self._read_of_nodes = Prepared("", _read_of_nodes(fact, returned, returned_from), _KEYS)
        self._copy_text: bytes | None = None

    def prepared(self) -> list[Prepared]:
        """Return the statements that a connection prepares to record events of this kind."""
        presences = [] if self._presences is None else self._presences.prepared()
        read = [] if self.read is None else [self.read]
        return [*self._counts, *presences, *self._refusing, self.count_dropped, *read]

    def stored_rows(self, conn: Connection, run: Run, keys: Collection[FactKey]) -> dict[str, str]:
        """Return the stored rows among those of these keys, as JSON, by event id; of a kind that returns rows."""
        if self.read is None or not keys:
            return {}
        if has_citus(conn):
            return dict(run_plainly(conn)(self._read_of_nodes, key_arrays(keys)))
        return dict(run(self.read, key_arrays(keys)))

    def row_text(self, row: str) -> bytes:
        """Return a row that `stored_rows` found as clients get it."""
        return row.encode() if self.write is None else respelled(row, self._spellings)

    def copy(self, conn: Connection) -> bytes:
        """Return the COPY statement that reads `copy_data`."""
        if self._copy_text is None:
            self._copy_text = self._copy.as_string(conn).encode()
        return self._copy_text

    def copy_data(self, rows: Rows[Columns]) -> bytes:
        """Return the data of the rows for COPY, in the order of their keys.

        Raises:
            Unencodable: no row can hold one of the values.
        """
        return encode_copy([Column(codec, values) for _, codec, values in self._values(rows.in_key_order())])

    async def arrived(self, columns: Columns, project_ids: Sequence[int], peppers: DailyPeppers) -> Columns:
        """Return the columns of an envelope without what must not be kept."""
        return columns if self._arrive is None else await self._arrive(columns, project_ids, peppers)

    def complete(self, lease: Lease, rows: Rows[Columns]) -> Rows[Columns]:
        """Return the rows with all values that are stored. Call it outside of a transaction.

        Raises:
            NotRecorded: a value could not be assigned; none of the rows is stored by this attempt.
        """
        if not rows:
            return rows
        try:
            if self._presences is not None:
                rows = self._presences.complete(lease, rows)
            return rows if self._complete is None else self._complete(lease, rows)
        except OutcomeUnknown as error:  # of an assignment, which is no event
            raise NotRecorded(str(error)) from error

    def encoded(
        self,
        rows: Rows[Columns],
        slot: int,
        now: datetime | None = None,
        *,
        counted: Set[Presence] = frozenset(),
    ) -> Encoded:
        """Return what stores these rows and adds them to the rollups. It needs no database.

        `now` leaves out the buckets that `maintain` would delete: those of events that are older than any client's.
        Presences that are `counted`, or that this process has committed before, are not counted again.

        Raises:
            Unencodable: no row can hold one of the values.
        """
        presences = self._new_presences(rows) - counted
        return Encoded(self.copy_data(rows), self._count_parameters(rows, presences, slot, now), presences)

    def _new_presences(self, rows: Rows[Columns]) -> Set[Presence]:
        """Return who is present in these rows, without those that this process has committed before."""
        return frozenset() if self._presences is None else self._presences.unknown(rows)

    def remember(self, presences: Collection[Presence]) -> None:
        """Do not count these again: they are committed."""
        if self._presences is not None:
            self._presences.remember(presences)

    def insert(self, conn: Connection, rows: Rows[Columns]) -> list[int]:
        """Store the rows that are not stored yet, and return their positions. Needs no prepared statement.

        Raises:
            psycopg2.DataError, psycopg2.IntegrityError: one row was refused, and none is stored.
        """
        columns = [(name, values) for name, _, values in self._values(rows)]
        objects = [{name: _json_value(values[position]) for name, values in columns} for position in range(len(rows))]
        with conn.cursor() as cursor:
            cursor.execute(self._insert, {"rows": as_json(objects)})
            stored = set(cursor.fetchall())
        # If the same row occurs twice, it is stored once.
        positions = {key: position for position, key in reversed(list(enumerate(rows.fact_keys())))}
        return sorted(positions[key] for key in positions.keys() & stored)

    def grow_rollups(self, conn: Connection, rows: Rows[Columns], slot: int, now: datetime | None = None) -> None:
        """Add rows that were inserted, never rows that were only sent. `now` as in `encoded`. Needs no prepared
        statement.
        """
        with conn.cursor() as cursor:
            for statement, parameters in self._count_parameters(rows, self._new_presences(rows), slot, now):
                cursor.execute(statement.plain, parameters)

    def _values(self, rows: Rows[Columns]) -> list[tuple[str, Codec[Any], Sequence[Any]]]:
        shared = (rows.project_ids, rows.received_at, rows.happened_at(), rows.event_ids)
        own = [
            (column.name, column.codec, _dense(getattr(rows.columns, column.field), len(rows)))
            for column in self._columns
        ]
        return [(name, codec, values) for (name, codec), values in zip(_SHARED.items(), shared, strict=True)] + own

    def _count_parameters(
        self, rows: Rows[Columns], presences: Collection[Presence], slot: int, now: datetime | None
    ) -> list[tuple[Prepared, Mapping[str, object]]]:
        counted = self._count(rows)
        if now is not None and rows:
            latest = max(rows.happened_at())
            counted = [
                _kept(each, rollup.kept, now, latest) for each, rollup in zip(counted, self._rollups, strict=True)
            ]
        different = {id(each): each for each in counted}  # several rollups may have the same increments
        texts = {key: as_json(each) for key, each in different.items()}
        rollups: list[tuple[Prepared, Mapping[str, object]]] = [
            (statement, {"counted": texts[id(each)], "slot": slot})
            for statement, each in zip(self._counts, counted, strict=True)
        ]
        # Presences come last, because their locks are for more than one row.
        return rollups if self._presences is None else rollups + self._presences.statements(rows, presences, slot)


def _kept(counted: Counted, kept: timedelta | None, now: datetime, latest: datetime) -> Counted:
    """Return the increments of buckets that are not deleted yet; the latest event is of this time."""
    if kept is None:
        return counted
    if latest < now - kept:
        return ()
    return [each for each in counted if cast("datetime", each["bucket_start"]) >= now - kept]


def key_arrays(keys: Iterable[tuple[int, datetime, str]]) -> dict[str, object]:
    """Return the keys as the parameters of the statements that read rows."""
    project_ids, received_at, event_ids = zip(*keys, strict=True)
    # As PostgreSQL writes arrays: an array of psycopg2 is an expression for each element.
    return {
        "project_ids": f"{{{','.join(map(str, project_ids))}}}",
        "received_at": f"{{{','.join(map(datetime.isoformat, received_at))}}}",
        "event_ids": f"{{{','.join(event_ids)}}}",
    }


def _read(fact: LiteralString, returned: LiteralString, returned_from: LiteralString) -> LiteralString:
    # One row at a time, by LIMIT: a join would be planned as a scan of the table while it has no statistics.
    return f"""
    SELECT key.id::text, found.row
      FROM unnest({{project_ids}}::int[], {{received_at}}::timestamptz[], {{event_ids}}::uuid[])
        AS key(of_project, at, id)
     CROSS JOIN LATERAL (
           SELECT to_json(returned)::text AS row
             FROM {fact} {returned_from}
            CROSS JOIN LATERAL (SELECT {returned}) AS returned
            WHERE {fact}.project_id = key.of_project AND received_at = key.at AND event_id = key.id
            LIMIT 1) AS found
    """  # noqa: S608 - of constants of this package


def _read_of_nodes(fact: LiteralString, returned: LiteralString, returned_from: LiteralString) -> LiteralString:
    # Citus refuses a LIMIT in a lateral subquery. A join is planned for each execution, so with the sizes of then.
    return f"""
    SELECT {fact}.event_id::text, to_json(returned)::text
      FROM unnest({{project_ids}}::int[], {{received_at}}::timestamptz[], {{event_ids}}::uuid[])
        AS key(of_project, at, id)
      JOIN {fact} ON {fact}.project_id = key.of_project AND {fact}.received_at = key.at AND {fact}.event_id = key.id
           {returned_from}
     CROSS JOIN LATERAL (SELECT {returned}) AS returned
    """  # noqa: S608 - of constants of this package


def _json_value(value: Any) -> Any:  # noqa: ANN401 - any value of a column
    """Return a time in UTC, because PostgreSQL refuses offsets of 16 hours or more; any other value is unchanged."""
    try:
        return value.astimezone(UTC) if isinstance(value, datetime) else value
    except OverflowError as error:
        raise Unencodable("not a time that can be stored") from error


def _dense(column: Sequence[Any] | Mapping[int, Any], length: int) -> Sequence[Any]:
    """Return a column with one value per row; a sparse column has None where it has no value."""
    return Repeated(None, length, column) if isinstance(column, Mapping) else column
