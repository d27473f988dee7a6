"""A kind's columns, declared once: COPY and the careful INSERT store the same."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uuid_utils import uuid7

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import DeviceType
from contract.delivery import Batch
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events.rows import Rows
from servicekit.database import Connection

_STORED = """
    SELECT project_id, received_at, event_id::text, occurred_at, device_type::text, user_key
      FROM auth_event
     WHERE project_id = %(project_id)s AND received_at = %(received_at)s
     ORDER BY event_id
"""
# What text formats give a meaning, and what looks like the framing of the binary one.
_TRAPS = ["\\.", "\\N", "\\", "\\t", "',\"", "\u00ff\u00ff", "PGCOPY", "\u2028", "😀" * 255, "k" * 255]
_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255) | st.sampled_from(_TRAPS)
_RECEIVED = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - st adds it
# Any offset that RFC 3339 has; PostgreSQL itself reads none of 16 hours or more.
_ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def columns_of(user_keys: list[str], device_types: list[DeviceType]) -> AuthEventColumns:
    """Of any text, also such as the edge refuses for having nothing that can be seen."""
    return AuthEventColumns.model_construct(user_keys=user_keys, device_types=device_types)


@st.composite
def batches(draw: st.DrawFn) -> Batch[AuthEventColumns]:
    user_keys = draw(st.lists(_TEXTS, min_size=1, max_size=8))
    received_at = draw(_RECEIVED).astimezone(draw(_ZONES))
    ago = st.timedeltas(timedelta(minutes=-5), timedelta(days=30))
    occurred_at = draw(st.dictionaries(st.integers(0, len(user_keys) - 1), st.tuples(ago, _ZONES)))
    return AUTH_EVENTS.batch_model(
        project_id=draw(st.integers(1, 2**31 - 1)),
        batch_id=str(uuid7()),
        received_at=received_at,
        columns=columns_of(user_keys, [draw(st.sampled_from(DeviceType)) for _ in user_keys]),
        occurred_at={place: (received_at - before).astimezone(zone) for place, (before, zone) in occurred_at.items()},
    )


def new_batch(user_keys: list[str]) -> Batch[AuthEventColumns]:
    return AUTH_EVENTS.batch_model(
        project_id=1,
        batch_id=str(uuid7()),
        received_at=datetime.now(UTC),
        columns=columns_of(user_keys, [DeviceType.TV] * len(user_keys)),
    )


def copy(conn: Connection, rows: Rows[AuthEventColumns]) -> None:
    with conn.cursor() as cursor:
        cursor.copy_expert(AUTH_EVENTS.copy(conn), BytesIO(AUTH_EVENTS.copy_data(rows)))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches())
@example(new_batch(_TRAPS))
def test_copy_stores_exactly_what_insert_does(conn: Connection, batch: Batch[AuthEventColumns]) -> None:
    rows = Rows.of_batch(batch)
    sent = [
        (
            batch.project_id,
            batch.received_at,
            batch.event_id(place),
            batch.occurred_at.get(place, batch.received_at),
            str(batch.columns.device_types[place]),
            user_key,
        )
        for place, user_key in enumerate(batch.columns.user_keys)
    ]
    for store in (copy, AUTH_EVENTS.insert):
        with conn.cursor() as cursor:
            cursor.execute("SAVEPOINT before")
            store(conn, rows)
            cursor.execute(_STORED, {"project_id": batch.project_id, "received_at": batch.received_at.astimezone(UTC)})
            assert cursor.fetchall() == sent
            cursor.execute("ROLLBACK TO SAVEPOINT before")


def test_a_batch_that_is_there_already_is_refused_whole_whatever_it_says_now(conn: Connection) -> None:
    """Our own retry: the ids are those of the first attempt, for they follow from what every attempt carries."""
    batch = new_batch(["a", "b", "c"])
    again = AUTH_EVENTS.batch_model.model_validate_json(batch.model_dump_json(), strict=True)
    copy(conn, Rows.of_batch(batch).select([0, 1]))
    with conn.cursor() as cursor:
        cursor.execute("SAVEPOINT before")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            copy(conn, Rows.of_batch(again))
        cursor.execute("ROLLBACK TO SAVEPOINT before")
    assert AUTH_EVENTS.insert(conn, Rows.of_batch(again)) == [2]


def test_a_row_that_comes_twice_in_one_statement_is_inserted_once(conn: Connection) -> None:
    rows = Rows.of_batch(new_batch(["a", "b"])).select([1, 0, 1])
    assert AUTH_EVENTS.insert(conn, rows) == [0, 1]


def test_every_rollup_has_a_statement_of_its_own() -> None:
    """What several statements of one WITH share, a cluster sends to every node."""
    for statement in AUTH_EVENTS.prepared():
        assert "WITH" not in statement.statement
        assert statement.statement.count("INSERT") == 1
        # One row is in order by itself.
        assert ("ORDER BY" in statement.statement) == (statement is not AUTH_EVENTS.count_dropped)


@pytest.mark.parametrize("store", [copy, AUTH_EVENTS.insert], ids=["copy", "insert"])
def test_rows_are_stored_in_the_order_of_their_keys(conn: Connection, store: Callable[..., object]) -> None:
    """Two writers that meet take their locks in one order, whatever order their events came in."""
    # In a table of their own: rows fill the gaps of a page that others have used, in any order.
    sent = datetime(2024, 1, 10, tzinfo=UTC)
    with conn.cursor() as cursor:
        cursor.execute("SELECT maintenance.create_partition('auth_event', '2024-01-08')")
    moments = [sent + timedelta(seconds=second) for second in (3, 1, 2)]
    forward = AUTH_EVENTS.forward_model(
        project_ids=[77] * 3,
        event_ids=[str(uuid7()) for _ in moments],
        received_at=moments,
        columns=columns_of(["c", "a", "b"], [DeviceType.TV] * 3),
    )
    store(conn, Rows.of_forwards([forward]))
    with conn.cursor() as cursor:
        cursor.execute("SELECT user_key FROM auth_event WHERE project_id = 77 ORDER BY tableoid, ctid")
        assert cursor.fetchall() == [("a",), ("b",), ("c",)]
