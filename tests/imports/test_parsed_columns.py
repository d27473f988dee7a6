"""Columns that are parsed as a whole are the same as those of events that are validated one by one."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from contract.api_requests.columns import ApiRequestColumns
from contract.api_requests.events import ApiRequest
from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import AuthEvent
from contract.delivery import EventColumns
from contract.measurements.events import Measurement, MeasurementColumns
from contract.store_events.columns import StoreEventColumns
from contract.store_events.events import StoreEvent
from device_registration_api.imports.source import EARLIEST, Times
from device_registration_api.imports.validation import read

USER = "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55"
TEXTS = st.one_of(
    st.none(),
    st.text(max_size=4),
    st.sampled_from(["a", " a ", "a\x01", "\u200b", "é" * 300, "view", "\ud800", "\x1d"]),
)
NUMBERS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 0.0005, 1.0005, 2.5e-4, 3.6e6, 3.6e6 + 1, -1e-9, None]))
PATHS = st.one_of(TEXTS, st.sampled_from(["/", "/a", " /a/?b ", "/a#b", "a/b", "//", "/" + "a" * 3000, "/é/"]))
AGENTS = st.one_of(st.none(), st.sampled_from(["agent", " agent ", "é " * 600, "\x01", "\u200b"]))
DATA = st.sampled_from([None, "{}", '{"b": 2.0, "a": [1e300]}', "[1]", "null", "{", '{"a": "\\u0000"}', '{"a": NaN}'])
NOW = datetime(2026, 12, 1, tzinfo=UTC)
# Around the times that are accepted, without a zone.
EARLY = (EARLIEST - timedelta(days=1)).replace(tzinfo=None)
LATE = (NOW + timedelta(days=2)).replace(tzinfo=None)


class Kind(NamedTuple):
    """How the rows of a source become the columns of a kind: at once, and one by one."""

    rows: st.SearchStrategy[list[tuple[Any, ...]]]
    parse: Callable[..., EventColumns]
    read: Callable[..., Any]
    columns: Sequence[tuple[str, str]]


def _rows(*fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(st.tuples(*fields), min_size=1, max_size=5)


KINDS = {
    "auth_events": Kind(
        _rows(TEXTS, st.sampled_from(["iOS", "TV", "ios", None])),
        lambda keys, types: AuthEventColumns.parse([*keys], [*types]),
        lambda key, type_: read(AuthEvent, {"user_key": key, "device_type": type_}),
        [("user_keys", "user_key"), ("device_types", "device_type")],
    ),
    "measurements": Kind(
        _rows(NUMBERS, NUMBERS, NUMBERS),
        lambda xs, ys, zs: MeasurementColumns.parse([1] * len(xs), xs, ys, zs),
        lambda x, y, z: read(Measurement, {"device_number": 1, "x": x, "y": y, "z": z}),
        [("device_numbers", "device_number"), ("xs", "x"), ("ys", "y"), ("zs", "z")],
    ),
    "api_requests": Kind(
        _rows(
            PATHS, st.sampled_from(["GET", "POST", "get", None]), st.sampled_from([99, 200, 599, 600]), NUMBERS, AGENTS
        ),
        ApiRequestColumns.parse,
        lambda path, method, code, ms, agent: read(
            ApiRequest,
            {
                "url_path": path,
                "method": method,
                "response_status_code": code,
                "response_time_ms": ms,
                "user_agent": agent,
            },
        ),
        [
            ("url_paths", "url_path"),
            ("methods", "method"),
            ("status_codes", "response_status_code"),
            ("response_us", "response_us"),
            ("user_agents", "user_agent"),
            ("consumers", "consumer"),
        ],
    ),
    "store_events": Kind(
        _rows(TEXTS, DATA),
        lambda types, data: StoreEventColumns.parse(types, [USER] * len(types), data),
        lambda type_, data: read(StoreEvent, {"type": type_, "user_id": USER, "data": _data(data)}),
        [("types", "type"), ("user_ids", "user_id"), ("data", "data")],
    ),
}


def _data(text: str | None) -> object:
    try:
        return {} if text is None else from_json(text)
    except ValueError:
        return None


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@given(data=st.data())
def test_columns_are_those_of_valid_events_or_are_refused(kind: Kind, data: st.DataObject) -> None:
    found = data.draw(kind.rows)
    events = [kind.read(*row) for row in found]
    try:
        columns = kind.parse(*zip(*found, strict=True))
    except ValueError:
        # A user key with surrounding space is left to the model, too.
        changed = any(isinstance(row[0], str) and row[0] != row[0].strip() for row in found)
        assert any(isinstance(event, str) for event in events) or (kind is KINDS["auth_events"] and changed)
        return
    for column, field in kind.columns:
        # As text: a negative zero equals zero.
        assert repr(getattr(columns, column)) == repr(
            [str(value) if isinstance(value := getattr(event, field), str) else value for event in events]
        )


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Etc/GMT+12"])
@given(
    times=st.one_of(
        st.lists(st.one_of(st.none(), st.datetimes()), min_size=1, max_size=4),
        st.lists(st.datetimes(min_value=EARLY, max_value=LATE), min_size=1, max_size=4),
        st.lists(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=3))])), min_size=1, max_size=4),
    )
)
def test_a_column_of_times_is_converted_as_each_of_them(zone: str, times: list[datetime | None]) -> None:
    converter = Times(ZoneInfo(zone), NOW)
    each = [converter.instant(at) for at in times]
    try:
        assert converter.instants(times) == each
    except ValueError:
        assert None in each
