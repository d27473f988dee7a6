"""Figures from cells, against the exact ones of the same times; covers of ranges, against every minute of them."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.api_requests.latency import CELLS_OF_BAND, LATENCY_BOUNDS, RESPONSE_US_MAX, cell_range, latency_cell
from statistics_api.api_requests.covers import Part, Period, aligned, cover, with_end_apart
from statistics_api.api_requests.figures import NOTHING, Band, Figures

WIDTHS = {Period.MINUTE: 1, Period.QUARTER_HOUR: 15, Period.DAY: 1440}
BEGINNING = datetime(2026, 11, 1, tzinfo=UTC)
BOUNDARY = st.sampled_from(LATENCY_BOUNDS).flatmap(lambda us: st.sampled_from([max(us - 1, 0), us, us + 1]))
TIMES = (
    st.integers(0, RESPONSE_US_MAX)
    | st.integers(0, 200)
    | BOUNDARY
    | st.floats(0, 21).map(lambda exponent: min(int(2.86**exponent), RESPONSE_US_MAX))
)


def figures(times: Sequence[int], client_errors: int = 0, server_errors: int = 0) -> Figures:
    if not times:
        return NOTHING
    bands: list[Band] = []
    for number, alike in groupby(sorted(map(latency_cell, times)), lambda cell: cell // CELLS_OF_BAND):
        counted = Counter(cell % CELLS_OF_BAND for cell in alike)
        before = sum(each.requests for each in bands)
        cells = [counted[place] for place in range(CELLS_OF_BAND)]
        bands.append(Band(number, before, counted.total(), cells))
    return Figures(len(times), client_errors, server_errors, sum(times), min(times), max(times), bands)


@given(st.lists(TIMES, min_size=1, max_size=300), st.integers(1, 100))
@example([123_000], 50)
@example([0], 99)
@example([RESPONSE_US_MAX], 99)
@example([1, 1, 3_600_000_000], 67)
def test_a_percentile_is_within_one_percent_of_the_time_at_its_rank(times: list[int], percent: int) -> None:
    exact = sorted(times)[ceil(percent * len(times) / 100) - 1] / 1000
    found = figures(times).percentile_ms(percent)
    assert found is not None
    assert abs(found - exact) <= 0.01 * exact + 1e-12
    assert min(times) / 1000 <= found <= max(times) / 1000


def test_one_request_is_every_figure_of_itself() -> None:
    one = figures([123_000])
    assert [one.percentile_ms(percent) for percent in (50, 75, 95, 99)] == [123.0] * 4
    assert (one.requests, one.average_ms, one.error_rate, one.us_min, one.us_max) == (1, 123.0, 0.0, 123_000, 123_000)
    assert one.apdex(123) == 1.0
    assert one.apdex(122) == 0.5
    assert one.apdex(30) == 0.0


def test_no_requests_have_no_times() -> None:
    none = figures([])
    assert (none.requests, none.error_rate, none.average_ms, none.percentile_ms(50), none.apdex(500)) == (
        0,
        0.0,
        None,
        None,
        None,
    )
    assert none.distribution() == []


def test_the_rate_of_errors_is_a_percentage_of_all_requests() -> None:
    found = figures([0] * 7 + [40] * 8, client_errors=4, server_errors=5)
    assert (found.requests, found.errors, found.error_rate) == (15, 9, 60.0)


@given(st.lists(TIMES, max_size=100))
def test_a_distribution_has_each_request_once_and_the_fastest_first(times: list[int]) -> None:
    whole = figures(times)
    cells = [first for first, _, _ in whole.distribution()]
    assert cells == sorted(set(cells))
    assert sum(count for _, _, count in whole.distribution()) == len(times)


@given(st.lists(TIMES, min_size=1, max_size=100), st.integers(1, 60_000))
def test_the_index_of_satisfaction_is_a_sum_over_cells(times: list[int], threshold_ms: int) -> None:
    found = figures(times)
    values = [min(max(2 * lo * hi / (lo + hi) if hi else 0.0, min(times)), max(times)) for lo, hi in map(ends, times)]
    points = [1.0 if each <= 1000 * threshold_ms else 0.5 if each <= 4000 * threshold_ms else 0.0 for each in values]
    assert found.apdex(threshold_ms) == pytest.approx(sum(points) / len(times), abs=1e-12)


def ends(us: int) -> tuple[int, int]:
    return cell_range(latency_cell(us))


@given(st.integers(0, 6000), st.integers(0, 6000), st.sampled_from([Period.MINUTE, Period.QUARTER_HOUR]))
def test_a_range_is_covered_once_and_by_whole_buckets(start: int, length: int, shortest: Period) -> None:
    begin, end = BEGINNING + timedelta(minutes=start), BEGINNING + timedelta(minutes=start + length)
    parts = cover(begin, end, shortest)
    first, last = aligned(begin, end, shortest)
    edges = [first, *(part.end for part in parts)]
    assert edges[-1] == last
    assert [part.start for part in parts] == edges[:-1]
    for part in parts:
        width = timedelta(minutes=WIDTHS[part.period])
        assert part.start < part.end
        assert (part.start - BEGINNING) % width == (part.end - BEGINNING) % width == timedelta(0)
    assert len(parts) <= 5
    # No day that is wholly inside is read in pieces.
    pieces = [part.end - part.start for part in parts if part.period is not Period.DAY]
    assert all(piece < timedelta(days=2) for piece in pieces)


@given(st.integers(0, 6000), st.integers(0, 6000))
def test_the_last_hours_apart_are_the_same_buckets(start: int, length: int) -> None:
    begin, end = BEGINNING + timedelta(minutes=start), BEGINNING + timedelta(minutes=start + length)
    parts = cover(begin, end, Period.QUARTER_HOUR)
    apart = with_end_apart(parts)
    assert len(apart) <= 4
    assert all(part.start < part.end for part in apart)
    joined = list(apart)
    if len(apart) > len(parts):
        *joined, one, other = apart
        assert (one.period, one.end) == (other.period, other.start)
        assert other.end - other.start <= timedelta(hours=4)
        joined.append(Part(one.period, one.start, other.end))
    assert joined == parts


@pytest.mark.parametrize("seconds", [1, 59, 61])
def test_an_end_inside_a_bucket_is_extended(seconds: int) -> None:
    [part] = cover(BEGINNING, BEGINNING + timedelta(seconds=seconds), Period.MINUTE)
    assert part.end - part.start == timedelta(minutes=-(-seconds // 60))
