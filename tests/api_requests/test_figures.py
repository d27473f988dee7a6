"""Figures from cells, against the exact ones of the same times; covers of ranges, against every minute of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.api_requests.latency import LATENCY_BOUNDS, RESPONSE_US_MAX, latency_cell
from statistics_api.api_requests.covers import Period, aligned, cover
from statistics_api.api_requests.figures import NO_REQUESTS, CellSums, Figures

WIDTHS = {Period.MINUTE: 1, Period.QUARTER_HOUR: 15, Period.DAY: 1440}
BEGINNING = datetime(2026, 11, 1, tzinfo=UTC)
BOUNDARY = st.sampled_from(LATENCY_BOUNDS).flatmap(lambda us: st.sampled_from([max(us - 1, 0), us, us + 1]))
TIMES = (
    st.integers(0, RESPONSE_US_MAX)
    | st.integers(0, 200)
    | BOUNDARY
    | st.floats(0, 21).map(lambda exponent: min(int(2.86**exponent), RESPONSE_US_MAX))
)


def figures(times: Sequence[int]) -> Figures:
    if not times:
        return Figures.of(NO_REQUESTS)
    cells = [latency_cell(us) for us in times]
    return Figures.of(CellSums(cells, [1] * len(times), 0, 0, sum(times), min(times), max(times)))


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
    found = Figures.of(CellSums([1, 2], [7, 8], 4, 5, 0, 0, 0))
    assert (found.requests, found.errors, found.error_rate) == (15, 9, 60.0)


@given(st.lists(TIMES, max_size=100), st.randoms(use_true_random=False))
def test_the_order_of_the_entries_does_not_matter(times: list[int], random: Random) -> None:
    whole = figures(times)
    random.shuffle(times)
    assert figures(times) == whole
    assert list(figures(times).by_cell) == sorted(whole.by_cell)
    assert sum(count for _, _, count in whole.distribution()) == len(times)


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


@pytest.mark.parametrize("seconds", [1, 59, 61])
def test_an_end_inside_a_bucket_is_extended(seconds: int) -> None:
    [part] = cover(BEGINNING, BEGINNING + timedelta(seconds=seconds), Period.MINUTE)
    assert part.end - part.start == timedelta(minutes=-(-seconds // 60))
