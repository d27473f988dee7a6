"""What an API request may say, how it is cleaned, and the cells of response times."""

import json
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.api_requests.columns import ApiRequestColumns
from contract.api_requests.events import ApiRequest
from contract.api_requests.latency import LATENCY_BOUNDS, RESPONSE_US_MAX, cell_range, latency_cell
from statistics_api.api_requests.kind import API_REQUESTS

GOOD = {"url_path": "/orders/{id}", "method": "GET", "response_status_code": 200, "response_time_ms": 12.5}


def read(**fields: object) -> ApiRequest:
    """As the public service reads it: by the client's own names alone."""
    return ApiRequest.model_validate(GOOD | fields, by_alias=True, by_name=False)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("/orders/7/?page=2", "/orders/7"),
        ("/orders#top", "/orders"),
        ("/orders//", "/orders"),
        ("/", "/"),
        ("///", "/"),
        ("/?/x", "/"),
        (" /é ", "/é"),
        ("/" + "x" * 2047 + "/?" + "q" * 5000, "/" + "x" * 2047),
    ],
    ids=["query", "fragment", "slashes", "root", "only-slashes", "query-of-root", "spaces", "longest"],
)
def test_a_path_is_kept_without_what_names_no_endpoint(sent: str, kept: str) -> None:
    assert read(url_path=sent).url_path == kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("response_time_ms", []),
        *[("url_path", each) for each in ("orders", "", " ", "?/a", "/a\0", "/\ud800", "/" + "x" * 2048, None, 1)],
        *[("method", each) for each in ("get", "FETCH", "", None)],
        *[("response_status_code", each) for each in (99, 600, "200", 200.0, True, None)],
        *[("response_time_ms", each) for each in (-1, 3_600_000.001, 3_600_001, 10**400, "1", True, None)],
        *[("response_time_ms", float(each)) for each in ("nan", "inf", "-inf")],
        *[("user_agent", each) for each in ("", "\t", "a\0", 1)],
        *[("consumer", each) for each in ("", "x" * 129, "\u200b", 1)],
        *[("timestamp", each) for each in (0, "2026-11-30", "2026-11-30T00:00:00")],
        *[("eventId", each) for each in ("", "x" * 256, 1)],
    ],
)
def test_what_is_refused_names_its_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        read(**{field: value})
    assert {each["loc"][0] for each in caught.value.errors()} == {field}


def test_a_long_user_agent_is_cut_and_unread_fields_may_hold_anything() -> None:
    event = read(user_agent="u" * 600, address={"any": [None]}, occurredAt="never", response_us=-1)
    assert event.user_agent == "u" * 512
    assert event == read(user_agent="u" * 512)
    assert event.idempotency_fields() == read(user_agent="u" * 512, response_time_ms=12.500).idempotency_fields()


@given(st.floats(0, 3_600_000) | st.integers(0, 3_600_000))
@example(0.0005)
@example(0.0015)
@example(1e-320)
@example(0.1)
def test_milliseconds_become_whole_microseconds_of_the_text(sent: float) -> None:
    text = json.dumps(sent)
    expected = int((Decimal(text) * 1000).quantize(Decimal(1), ROUND_HALF_EVEN))
    assert read(response_time_ms=json.loads(text)).response_us == expected


def test_whatever_an_event_holds_may_travel() -> None:
    event = read(url_path="/é", user_agent="ü", consumer="c" * 128, timestamp="2026-11-30T00:00:00+23:59")
    values = API_REQUESTS.values(event)
    columns: dict[str, Any] = dict(API_REQUESTS.name_columns([value] for value in values))
    assert len(ApiRequestColumns.model_validate_json(json.dumps(columns))) == 1
    for name, wrong in (("url_paths", "x" * 2049), ("response_us", -1), ("consumers", ""), ("status_codes", 600)):
        with pytest.raises(ValidationError):
            ApiRequestColumns.model_validate(columns | {name: [wrong]})


def test_the_cells_are_narrow_and_follow_each_other() -> None:
    ranges = [cell_range(cell) for cell in range(1, len(LATENCY_BOUNDS) + 1)]
    assert len(ranges) == 983
    assert (ranges[0], ranges[50], ranges[-1][1]) == ((0, 0), (50, 50), RESPONSE_US_MAX)
    for (first, last), (following, _) in zip(ranges, [*ranges[1:], (RESPONSE_US_MAX + 1, 0)], strict=True):
        assert first <= last == following - 1
        assert 99 * last <= 101 * first


@given(st.integers(0, RESPONSE_US_MAX))
def test_a_time_is_in_its_cell(response_us: int) -> None:
    first, last = cell_range(latency_cell(response_us))
    assert first <= response_us <= last
