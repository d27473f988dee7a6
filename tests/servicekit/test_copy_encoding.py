"""What COPY is given: read back by another reader, and by PostgreSQL itself."""

import math
import struct
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from itertools import repeat
from typing import Any, NamedTuple

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from servicekit.database import Connection
from servicekit.database.copy_encoding import (
    BOOL,
    FLOAT8,
    HEADER,
    INT2,
    INT4,
    INT8,
    JSONB,
    TEXT,
    TIMESTAMPTZ,
    TRAILER,
    UUID,
    Codec,
    Column,
    NumberedUuids,
    Repeated,
    Unencodable,
    encode_copy,
    enumeration,
)

COLOURS = ["red", "Grün", "a 'quoted' one"]
COLOUR = enumeration("colour")

# What text formats give a meaning, and what looks like the framing of this one.
TRAPS = ["", "\\.", "\\N", "\\", "\\t", "',\"", "\u00ff\u00ff", "PGCOPY", "\u2028", "\n", "😀" * 255, "k" * 5_000]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(TRAPS)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)  # noqa: DTZ001 - st adds it
# jsonb keeps numbers as decimals: a larger float comes back as the integer that its digits are.
_FLOATS = st.floats(-1e15, 1e15)
JSON = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63) | _FLOATS | TEXTS,
    lambda inner: st.lists(inner | st.none(), max_size=3) | st.dictionaries(TEXTS, inner | st.none(), max_size=3),
    max_leaves=4,
)


class Kind(NamedTuple):
    codec: Codec[Any]
    values: st.SearchStrategy[Any]


KINDS = {
    "smallest_number": Kind(INT2, st.integers(-(2**15), 2**15 - 1)),
    "small_number": Kind(INT4, st.integers(-(2**31), 2**31 - 1)),
    "number": Kind(INT8, st.integers(-(2**63), 2**63 - 1)),
    "measure": Kind(FLOAT8, st.floats()),
    "id": Kind(UUID, st.uuids().map(str)),
    "at": Kind(TIMESTAMPTZ, TIMES),
    "note": Kind(TEXT, TEXTS),
    "colour": Kind(COLOUR, st.sampled_from(COLOURS)),
    "document": Kind(JSONB, JSON),
    "flag": Kind(BOOL, st.booleans()),
}
TABLE = """
    CREATE TYPE pg_temp.colour AS ENUM ('red', 'Grün', 'a ''quoted'' one');
    CREATE TEMPORARY TABLE copied (
        place serial, smallest_number int2, small_number int4, number int8, measure float8, id uuid, at timestamptz,
        note text, colour colour, document jsonb, flag bool)
"""


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Sequence[Any]]:
    """A value or NULL for each row of each column, some columns as the one value that they repeat."""
    rows = draw(st.integers(0, 6))
    places = st.integers(0, rows - 1) if rows else st.nothing()
    found: dict[str, Sequence[Any]] = {}
    for name, kind in KINDS.items():
        value = kind.values if draw(st.booleans()) else kind.values | st.none()
        if draw(st.booleans()):
            exceptions = draw(st.dictionaries(places, value, max_size=2)) if rows else {}
            found[name] = Repeated(draw(value), rows, exceptions)
        else:
            found[name] = draw(st.lists(value, min_size=rows, max_size=rows))
    if draw(st.booleans()):
        numbers = draw(st.lists(st.integers(0, 2**16 - 1), min_size=rows, max_size=rows) | st.just(range(rows)))
        found["id"] = NumberedUuids(draw(st.uuids().map(str)), numbers)
    return found


def encoded(found: dict[str, Sequence[Any]]) -> bytes:
    return encode_copy([Column(KINDS[name].codec, values) for name, values in found.items()])


def bits(value: float | None) -> object:
    """NaN equals itself here, and the two zeros differ."""
    return value if value is None else struct.pack("!d", math.nan if math.isnan(value) else value)


@pytest.fixture
def table(conn: Connection) -> Connection:
    with conn.cursor() as cursor:
        cursor.execute(TABLE)
    return conn


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns())
@example({name: [] for name in KINDS})
@example({"note": TRAPS, "flag": Repeated(True, len(TRAPS), {3: False, 5: None})})
@example({"at": [datetime(2026, 1, 1, 0, 0, 0, 999_999, UTC), datetime(1999, 12, 31, 23, 59, 59, 1, UTC)]})
def test_what_is_copied_comes_back_equal(table: Connection, found: dict[str, Sequence[Any]]) -> None:
    names = ", ".join(found)
    with table.cursor() as cursor:
        cursor.execute("TRUNCATE copied")
        cursor.copy_expert(f"COPY copied ({names}) FROM STDIN (FORMAT binary)", BytesIO(encoded(found)))
        cursor.execute(f"SELECT {names} FROM copied ORDER BY place")  # noqa: S608 - names of ours
        stored = cursor.fetchall()
    for name, column in zip(found, zip(*stored, strict=True) if stored else repeat(()), strict=False):
        if name == "measure":
            assert list(map(bits, column)) == list(map(bits, found[name]))
        else:
            assert list(column) == list(found[name])


def decoded(data: bytes) -> list[list[bytes | None]]:
    """The fields of a binary COPY, by the letter of PostgreSQL's documentation; nothing may be left over."""
    assert data.startswith(HEADER)
    at, rows = len(HEADER), []
    while (fields := struct.unpack_from("!h", data, at)[0]) != -1:
        at += 2
        values: list[bytes | None] = []
        for _ in range(fields):
            (length,) = struct.unpack_from("!i", data, at)
            values.append(None if length < 0 else data[at + 4 : at + 4 + length])
            at += 4 + max(length, 0)
        rows.append(values)
    assert data[at:] == TRAILER
    return rows


@settings(max_examples=60, deadline=None)
@given(columns())
def test_another_reader_finds_the_fields_and_nothing_else(found: dict[str, Sequence[Any]]) -> None:
    rows = decoded(encoded(found))
    assert {len(row) for row in rows} <= {len(found)}
    places = {name: place for place, name in enumerate(found)}
    notes = [row[places["note"]] for row in rows]
    ids = [row[places["id"]] for row in rows]
    assert [each and each.decode() for each in notes] == [note if note != "" else b"" for note in found["note"]]
    assert [each and str(uuid.UUID(bytes=each)) for each in ids] == list(found["id"])


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (INT4, 2**31), (INT4, "1"), (INT4, 1.5), (INT8, 2**63), (INT8, -(2**63) - 1), (FLOAT8, "x"), (FLOAT8, 10**400),
        (UUID, "00000000-0000-0000-0000-00000000000"), (UUID, "no uuid"), (UUID, 1),
        (UUID, "00000000-0000-0000-0000-00000000000000"),
        (TIMESTAMPTZ, datetime(2026, 1, 1)), (TIMESTAMPTZ, "2026-01-01"),  # noqa: DTZ001 - refused for having no zone
        (TEXT, "\ud800"), (TEXT, 1), (TEXT, b"bytes"), (COLOUR, 1), (BOOL, "true"), (BOOL, 2), (JSONB, object()),
        (JSONB, "\ud800"),
    ],
    ids=lambda each: each.type_name if isinstance(each, Codec) else ascii(each)[:30].partition(" at ")[0],
)  # fmt: skip
@pytest.mark.parametrize("repeated", [False, True])
def test_a_value_of_another_type_or_out_of_range_is_refused_as_bad_data(
    codec: Codec[Any], value: object, repeated: bool
) -> None:
    values: Sequence[object] = Repeated(value, 2) if repeated else [value, value]
    with pytest.raises(Unencodable) as refusal:
        encode_copy([Column(codec, values)])
    assert isinstance(refusal.value, psycopg2.DataError)


@given(st.integers(0, 5), st.dictionaries(st.integers(0, 4), st.integers(), max_size=3))
def test_a_repeated_value_reads_like_a_list(length: int, exceptions: dict[int, int]) -> None:
    exceptions = {place: value for place, value in exceptions.items() if place < length}
    repeated = Repeated(-1, length, exceptions)
    as_list = [exceptions.get(place, -1) for place in range(length)]
    assert list(repeated) == as_list
    assert repeated[1:] == as_list[1:]
    assert [repeated[-place - 1] for place in range(length)] == as_list[::-1]
    with pytest.raises(IndexError):
        repeated[length]


@given(st.uuids(), st.lists(st.integers(0, 2**16 - 1)), st.data())
def test_numbered_uuids_read_like_a_list(base: uuid.UUID, numbers: list[int], data: st.DataObject) -> None:
    numbered = NumberedUuids(str(base), numbers)
    as_list = [str(uuid.UUID(int=base.int >> 16 << 16 | number)) for number in numbers]
    assert list(numbered) == as_list
    assert list(numbered[1:]) == as_list[1:]
    positions = data.draw(st.lists(st.integers(0, len(numbers) - 1))) if numbers else []
    assert list(numbered.select(positions)) == [as_list[position] for position in positions]
