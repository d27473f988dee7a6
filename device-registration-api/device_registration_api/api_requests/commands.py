"""Writes for API requests: their columns, and the five rollups that grow with them. Callers own the transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple, TypeAlias

from contract.api_requests.columns import ApiRequestColumns
from contract.api_requests.latency import CELLS, CELLS_OF_BAND, latency_cell
from contract.time_series import MINUTES_KEPT
from device_registration_api.api_requests.addresses import HEX_PREFIX, HashedColumns, hash_addresses
from device_registration_api.api_requests.endpoints import Endpoints, StoredColumns
from device_registration_api.events.counting import day_of, minute_of, minutes_of, quarter_hour_of
from device_registration_api.events.presences import Presences
from device_registration_api.events.row_texts import row_texts
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import Counted, EventTable, FactColumn, Rollup
from servicekit.database.copy_encoding import BYTEA, INT2, INT4, INT8, TEXT

_ALL: LiteralString = ""
_ENDPOINT: LiteralString = "endpoint_id, "
_CELL_COLUMNS = [f"cell_{n}" for n in CELLS]

_RESPONSE_MS: LiteralString = "(response_us / 1000.0)::float8"
_IP_HASH: LiteralString = "encode(ip_hash, 'hex')"
RETURNED: LiteralString = f"""
    event_id AS id, url_path, method, status_code AS response_status_code,
    {_RESPONSE_MS} AS response_time_ms, user_agent, {_IP_HASH} AS ip_hash, consumer,
    occurred_at AS timestamp
"""


def write(rows: Rows[ApiRequestColumns]) -> list[bytes]:
    """Return rows that were just stored as RETURNED has them."""
    columns = rows.columns
    assert isinstance(columns, StoredColumns)  # noqa: S101 - `complete` was called before
    each = zip(
        rows.event_ids,
        columns.url_paths,
        columns.methods,
        columns.status_codes,
        columns.response_us,
        columns.user_agents,
        columns.consumers,
        rows.happened_at(),
        strict=True,
    )
    return row_texts(
        {
            "id": event_id,
            "url_path": url_path,
            "method": method,
            "response_status_code": status_code,
            "response_time_ms": response_us / 1000,
            "user_agent": user_agent,
            "ip_hash": columns.ip_hashes[place].removeprefix(HEX_PREFIX) if place in columns.ip_hashes else None,
            "consumer": consumer,
            "timestamp": at,
        }
        for place, (event_id, url_path, method, status_code, response_us, user_agent, consumer, at) in enumerate(each)
    )


def _upsert(table: LiteralString, endpoint: LiteralString) -> LiteralString:
    keys: LiteralString = f"project_id, {endpoint}bucket_start, latency_band"
    sums: LiteralString = """
        event_count, client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max"""
    cells: LiteralString = ", ".join([f"cell_{n}" for n in CELLS])
    typed_cells: LiteralString = ", ".join([f"cell_{n} bigint" for n in CELLS])
    # NULL: the cell has no request.
    additions: LiteralString = ", ".join(
        [f"cell_{n} = coalesce(r.cell_{n} + excluded.cell_{n}, r.cell_{n}, excluded.cell_{n})" for n in CELLS]
    )
    statement: LiteralString = f"""
    INSERT INTO {table} AS r
           ({keys}, slot, {sums}, {cells})
    SELECT {keys}, {{slot}}, {sums}, {cells}
      FROM json_to_recordset({{counted}}::json)
        AS counted(project_id int, endpoint_id int, bucket_start timestamptz, latency_band smallint, event_count bigint,
                   client_error_sum bigint, server_error_sum bigint, response_us_sum bigint, response_us_min bigint,
                   response_us_max bigint, {typed_cells})
     ORDER BY {keys}
        ON CONFLICT ({keys}, slot)
        DO UPDATE SET event_count = r.event_count + excluded.event_count,
                      client_error_sum = r.client_error_sum + excluded.client_error_sum,
                      server_error_sum = r.server_error_sum + excluded.server_error_sum,
                      response_us_sum = r.response_us_sum + excluded.response_us_sum,
                      response_us_min = least(r.response_us_min, excluded.response_us_min),
                      response_us_max = greatest(r.response_us_max, excluded.response_us_max),
                      {additions}
    """  # noqa: S608 - of constants of this file
    return statement


@dataclass(slots=True)
class _Sums:
    """What the requests of one group add to a row of a rollup."""

    us_min: int
    us_max: int
    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    us_sum: int = 0


# The requests of one project, endpoint, minute and cell.
_Groups: TypeAlias = Mapping[tuple[int, int, datetime, int], _Sums]


class _BandRollup(NamedTuple):
    """A table of bands of latencies: the bucket that a minute belongs to, and whether endpoints are told apart."""

    table: LiteralString
    bucket_of: Callable[[datetime], datetime]
    has_endpoints: bool = False
    kept: timedelta | None = None

    def rollup(self) -> Rollup:
        """Return its declaration."""
        return Rollup(self.table, _upsert(self.table, _ENDPOINT if self.has_endpoints else _ALL), self.kept)

    def increments(self, groups: _Groups) -> Counted:
        """Yield what the groups add to each row, with those of its cells that have requests. Nothing is done if nobody
        asks.

        They are not added up by the database: 32 sums with a filter, in each of five statements, took it longer than
        the rest of its work for a flush.
        """
        buckets = {minute: self.bucket_of(minute) for minute in {minute for _, _, minute, _ in groups}}
        rows: dict[tuple[int, int, datetime, int], dict[str, Any]] = {}
        for (project_id, endpoint_id, minute, cell), sums in groups.items():
            band, place = divmod(cell, CELLS_OF_BAND)
            key = (project_id, endpoint_id if self.has_endpoints else 0, buckets[minute], band)
            row = rows.get(key)
            column = _CELL_COLUMNS[place]
            if row is None:
                rows[key] = {
                    "project_id": project_id,
                    "endpoint_id": key[1],
                    "bucket_start": key[2],
                    "latency_band": band,
                    "event_count": sums.requests,
                    "client_error_sum": sums.client_errors,
                    "server_error_sum": sums.server_errors,
                    "response_us_sum": sums.us_sum,
                    "response_us_min": sums.us_min,
                    "response_us_max": sums.us_max,
                    column: sums.requests,
                }
                continue
            row["event_count"] += sums.requests
            row["client_error_sum"] += sums.client_errors
            row["server_error_sum"] += sums.server_errors
            row["response_us_sum"] += sums.us_sum
            row["response_us_min"] = min(row["response_us_min"], sums.us_min)
            row["response_us_max"] = max(row["response_us_max"], sums.us_max)
            row[column] = row.get(column, 0) + sums.requests
        yield from rows.values()


def count(rows: Rows[ApiRequestColumns]) -> Sequence[Counted]:
    """Return what the rows add to each rollup."""
    columns = rows.columns
    assert isinstance(columns, StoredColumns)  # noqa: S101 - `complete` was called before
    groups: dict[tuple[int, int, datetime, int], _Sums] = {}
    each = zip(
        rows.project_ids,
        columns.endpoint_ids,
        minutes_of(rows),
        map(latency_cell, columns.response_us),
        strict=True,
    )
    # Without a call for each row: this runs in the way of every request.
    for group, status_code, response_us in zip(each, columns.status_codes, columns.response_us, strict=True):
        sums = groups.get(group)
        if sums is None:
            sums = groups[group] = _Sums(response_us, response_us)
        elif response_us < sums.us_min:
            sums.us_min = response_us
        elif response_us > sums.us_max:
            sums.us_max = response_us
        sums.requests += 1
        sums.us_sum += response_us
        sums.client_errors += 400 <= status_code < 500  # noqa: PLR2004 - as the columns of the fact are generated
        sums.server_errors += 500 <= status_code < 600  # noqa: PLR2004
    return [rollup.increments(groups) for rollup in _ROLLUPS]


_ROLLUPS = (
    _BandRollup("api_request_day", day_of),
    _BandRollup("api_request_quarter_hour", quarter_hour_of),
    _BandRollup("api_request_minute", minute_of, kept=MINUTES_KEPT),
    _BandRollup("api_request_endpoint_day", day_of, has_endpoints=True),
    _BandRollup("api_request_endpoint_quarter_hour", quarter_hour_of, has_endpoints=True),
)


def new_table(presences: Presences | None = None) -> EventTable[ApiRequestColumns]:
    """Return the declaration, with a memory of its own of endpoints and consumers."""
    return EventTable(
        "api_requests",
        "api_request",
        model=ApiRequestColumns,
        columns=(
            FactColumn("endpoint_id", INT4, "endpoint_ids"),
            FactColumn("url_path", TEXT, "url_paths"),
            FactColumn("method", TEXT, "methods"),
            FactColumn("status_code", INT2, "status_codes"),
            FactColumn("response_us", INT8, "response_us"),
            FactColumn("user_agent", TEXT, "user_agents"),
            FactColumn("consumer", TEXT, "consumers"),
            FactColumn("ip_hash", BYTEA, "ip_hashes"),
        ),
        rollups=[rollup.rollup() for rollup in _ROLLUPS],
        count=count,
        exported={
            "eventId": "event_id",
            "url_path": "url_path",
            "method": "method",
            "response_status_code": "status_code",
            "response_time_ms": _RESPONSE_MS,
            "user_agent": "user_agent",
            "consumer": "consumer",
            "ip_hash": _IP_HASH,
            "timestamp": "occurred_at",
            "received_at": "received_at",
        },
        returned=RETURNED,
        write=write,
        spellings={"response_time_ms": float, "timestamp": datetime.fromisoformat},
        arrive=hash_addresses,
        complete=Endpoints().complete,
        presences=presences or Presences("api_request", "consumers"),
        arrived_model=HashedColumns,
    )


API_REQUESTS = new_table()
