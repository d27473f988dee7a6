"""What COPY is given: read back by another reader, and by PostgreSQL itself."""

import struct
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uuid_utils import uuid7

from contract.auth_events.events import DeviceType
from contract.delivery import BATCH_ITEMS_MAX, BatchResult
from contract.registrations import ForwardedBatch, Registration
from device_registration_api.auth_events import commands
from device_registration_api.auth_events.copy_format import HEADER, copied
from servicekit.database import Connection

_STORED = """
    SELECT project_id, received_at, event_id::text, occurred_at, device_type::text, user_key
      FROM auth_event
     WHERE project_id = %(project_id)s AND received_at = %(received_at)s
     ORDER BY event_id
"""
# What text formats give a meaning, and what looks like the framing of this one.
_TRAPS = ["\\.", "\\N", "\\", "\\t", "',\"", "\u00ff\u00ff", "PGCOPY", "\u2028", "😀" * 255, "k" * 255]
_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255) | st.sampled_from(_TRAPS)
_RECEIVED = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - st adds it
_ZONES = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))


@st.composite
def forwards(draw: st.DrawFn) -> tuple[ForwardedBatch, set[int]]:
    """A batch, and the rows of it that are not to be stored."""
    user_keys = draw(st.lists(_TEXTS, max_size=8))
    rows = st.integers(0, max(len(user_keys) - 1, 0))
    received_at = draw(_RECEIVED).astimezone(draw(_ZONES))
    ago = st.timedeltas(timedelta(minutes=-5), timedelta(days=30))
    occurred_at = draw(st.dictionaries(rows, st.tuples(ago, _ZONES))) if user_keys else {}
    batch = ForwardedBatch(
        project_id=draw(st.integers(1, 2**31 - 1)),
        batch_id=str(uuid7()),
        received_at=received_at,
        user_keys=user_keys,
        device_types=[draw(st.sampled_from(DeviceType)) for _ in user_keys],
        occurred_at={row: (received_at - before).astimezone(zone) for row, (before, zone) in occurred_at.items()},
        rejected=[],
    )
    return batch, draw(st.sets(rows)) if user_keys else set()


def kept(batch: ForwardedBatch, without: set[int]) -> list[Registration]:
    return [batch.row(row) for row in range(len(batch.user_keys)) if row not in without]


def facts(registrations: list[Registration]) -> list[tuple[object, ...]]:
    """As the table has them."""
    return [
        (
            each.project_id,
            each.received_at,
            each.event_id,
            each.occurred_at or each.received_at,
            str(each.device_type),
            each.user_key,
        )
        for each in registrations
    ]


def decoded(data: bytes) -> list[tuple[object, ...]]:
    """The rows of a binary COPY, by the letter of PostgreSQL's documentation; nothing may be left over."""
    assert data.startswith(HEADER)
    at = len(HEADER)
    rows: list[tuple[object, ...]] = []
    while (fields := struct.unpack_from("!h", data, at)[0]) != -1:
        at += 2
        values = []
        for _ in range(fields):
            (length,) = struct.unpack_from("!i", data, at)
            values.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        project_id, received_at, event_id, occurred_at, device_type, user_key = values
        times = (
            datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=struct.unpack("!q", value)[0])
            for value in (received_at, occurred_at)
        )
        received, occurred = times
        number = struct.unpack("!i", project_id)[0]
        rows.append((number, received, str(UUID(bytes=event_id)), occurred, device_type.decode(), user_key.decode()))
    assert data[at:] == b"\xff\xff"
    return rows


@settings(max_examples=300, deadline=None)
@given(forwards())
def test_another_reader_finds_the_rows_and_nothing_else(forward: tuple[ForwardedBatch, set[int]]) -> None:
    batch, without = forward
    assert decoded(copied(batch, without)) == facts(kept(batch, without))


def fresh_batch(user_keys: list[str]) -> ForwardedBatch:
    return ForwardedBatch(
        project_id=1,
        batch_id=str(uuid7()),
        received_at=datetime.now(UTC),
        user_keys=user_keys,
        device_types=[DeviceType.TV] * len(user_keys),
        rejected=[],
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forwards())
@example((fresh_batch(_TRAPS), set()))
def test_copy_stores_and_counts_exactly_what_insert_does(
    conn: Connection, forward: tuple[ForwardedBatch, set[int]]
) -> None:
    batch, without = forward
    registrations = kept(batch, without)
    asked = {"project_id": batch.project_id, "received_at": batch.received_at}
    found = []
    stores: list[Callable[[], list[commands.PerMinute]]] = [
        lambda: commands.copy(conn, batch, without),
        lambda: commands.record(conn, registrations) if registrations else [],
    ]
    for store in stores:
        with conn.cursor() as cursor:
            cursor.execute("SAVEPOINT before")
            counted = Counter(store())
            cursor.execute(_STORED, asked)
            found.append((cursor.fetchall(), counted))
            cursor.execute("ROLLBACK TO SAVEPOINT before")
    copy, insert = found
    assert copy[0] == insert[0] == facts(registrations)
    assert set(copy[1].values()) <= {1}  # one line a minute and device type
    assert sorted(copy[1]) == sorted(insert[1])


def test_a_batch_that_is_there_already_is_refused_whole_whatever_it_says_now(conn: Connection) -> None:
    """Our own retry: the ids are those of the first attempt, for they follow from what every attempt carries."""
    batch = fresh_batch(["a", "b", "c"])
    again = ForwardedBatch.model_validate_json(batch.model_dump_json(), strict=True)
    commands.copy(conn, batch, {2})
    with conn.cursor() as cursor:
        cursor.execute("SAVEPOINT before")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            commands.copy(conn, again, ())
        cursor.execute("ROLLBACK TO SAVEPOINT before")
    assert [each.events for each in commands.record(conn, kept(again, set()))] == [1]


def test_the_ids_of_a_batch_grow_and_are_its_own() -> None:
    batch, next_batch = (fresh_batch(["u"]) for _ in range(2))
    ids = [batch.event_id(row) for row in range(BATCH_ITEMS_MAX)]
    assert ids == sorted(set(ids))
    assert {UUID(each).version for each in ids} == {7}
    assert next_batch.event_id(0) not in ids


def test_batches_of_one_millisecond_share_no_id() -> None:
    """All but the last 16 bits of a UUIDv7 of one process differ: it counts within a millisecond."""
    ids = [str(uuid7()) for _ in range(100_000)]
    assert len({each[:-4] for each in ids}) == len(ids)


@given(st.sets(st.integers(0, 12), max_size=13))
def test_rows_are_at_the_positions_that_were_not_rejected(rejected: set[int]) -> None:
    batch = fresh_batch(["u"] * (13 - len(rejected)))
    batch.rejected.extend(BatchResult(index=index, status="rejected", detail="") for index in rejected)
    assert batch.positions() == [index for index in range(13) if index not in rejected]
