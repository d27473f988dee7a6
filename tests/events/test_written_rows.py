"""The rows of new events, which are written without asking the database, are those that it returns when it is asked."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils import uuid7

from contract.api_requests.latency import RESPONSE_US_MAX
from contract.delivery import EventColumns
from contract.measurements.events import MeasurementColumns
from contract.store_events.columns import StoreEventColumns
from contract.store_events.data import canonical
from device_registration_api.api_requests.addresses import HashedColumns, hash_of
from device_registration_api.api_requests.commands import new_table
from device_registration_api.events.recording import store
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable, key_arrays
from device_registration_api.measurements.commands import MEASUREMENTS
from device_registration_api.store_events.commands import STORE_EVENTS
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from tests.database import dsn_of
from tests.servers import Cluster, MigratedDatabase

ROWS = 12
API_REQUESTS = new_table()
TABLES: list[EventTable[Any]] = [API_REQUESTS, MEASUREMENTS, STORE_EVENTS]

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
_NUMBER = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
_JSON = st.recursive(
    st.none() | st.booleans() | _TEXT | st.integers(-(2**53), 2**53) | st.floats(-1e30, 1e30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


def lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=ROWS, max_size=ROWS)


@st.composite
def api_requests(draw: st.DrawFn) -> HashedColumns:
    addresses = draw(st.dictionaries(st.integers(0, ROWS - 1), st.ip_addresses().map(str), max_size=3))
    return HashedColumns.model_construct(
        url_paths=draw(lists(_TEXT.map("/{}".format))),
        methods=draw(lists(st.sampled_from(["GET", "POST"]))),
        status_codes=draw(lists(st.integers(100, 599))),
        response_us=draw(lists(st.integers(0, RESPONSE_US_MAX))),
        user_agents=draw(lists(st.none() | _TEXT)),
        consumers=draw(lists(st.none() | _TEXT)),
        ips={},
        ip_hashes={place: hash_of(address, 1, b"pepper") for place, address in addresses.items()},
    )


measurements = st.builds(
    lambda axes: MeasurementColumns.model_construct(device_numbers=[1] * ROWS, xs=axes[0], ys=axes[1], zs=axes[2]),
    st.tuples(lists(_NUMBER), lists(_NUMBER), lists(_NUMBER)),
)
store_events = st.builds(
    lambda types, user_ids, data: StoreEventColumns.model_construct(
        types=types, user_ids=user_ids, data=[canonical(each) for each in data]
    ),
    lists(st.sampled_from(["purchase", 'a "quoted" type', "Ω"])),
    lists(st.uuids().map(str)),
    lists(st.dictionaries(_TEXT, _JSON, max_size=3)),
)
COLUMNS: dict[str, st.SearchStrategy[EventColumns]] = {
    "api_requests": api_requests(),
    "measurements": measurements,
    "store_events": store_events,
}


@pytest.fixture(scope="module")
def database(cluster: Cluster, template: str) -> Iterator[Database]:
    """A database with one device."""
    with cluster.new_database(template) as name:
        migrated = MigratedDatabase(cluster.admin_url(name))
        with closing(psycopg2.connect(migrated.admin_url)) as conn, conn, conn.cursor() as cursor:
            cursor.execute("INSERT INTO device (project_id, device_id) VALUES (1, 'Ω \"1\"')")
            cursor.execute("UPDATE device SET device_number = 1")
        found = Database(
            dsn_of(migrated.writer_env),
            connections_max=1,
            wait_seconds_max=1.0,
            prepare=[statement for table in TABLES for statement in table.prepared()],
        )
        yield found
        found.close()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_written_row_is_the_stored_one(database: Database, table: EventTable[Any], data: st.DataObject) -> None:
    now = datetime.now(UTC)
    microseconds = data.draw(lists(st.integers(0, 10**6) | st.sampled_from([0, 10**5, 250_000, 999_990])))
    rows: Rows[Any] = Rows(
        [1] * ROWS,
        [now] * ROWS,
        [str(uuid7()) for _ in range(ROWS)],
        data.draw(COLUMNS[table.kind]),
        {place: now.replace(microsecond=0) - timedelta(microseconds=each) for place, each in enumerate(microseconds)},
        {},
    )
    lease = Lease(database)
    rows = table.complete(lease, rows)
    with lease.round_trips() as trips:
        store(trips, table, rows, 0)
        assert table.read is not None
        stored = dict(trips.run(table.read, key_arrays(rows.fact_keys())))
    write: Callable[[Rows[Any]], list[bytes]] | None = table.write
    assert write is not None
    assert write(rows) == [table.row_text(stored[event_id]) for event_id in rows.event_ids]
