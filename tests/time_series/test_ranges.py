"""What a range's parameters may be called and may say is a route's matter; what they mean is the same everywhere."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from starlette.datastructures import QueryParams

from servicekit.errors import BadRequest, Invalid
from statistics_api.time_series.formats import local_times
from statistics_api.time_series.ranges import POINTS_MAX, RangeParameters

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
OTHER_NAMES = RangeParameters(
    default_ranges={"day": timedelta(days=7), "hour": timedelta(hours=6), "minute": timedelta(hours=1)},
    minutes_kept=timedelta(days=3),
    start="start_date",
    end="end_date",
    interval="granularity",
    zone="tz",
)


def edges(query: str) -> list[str]:
    requested = OTHER_NAMES.read(QueryParams(query), NOW)
    return local_times(requested.edges, requested.zone)


def test_each_interval_has_a_default_range_and_the_first_is_the_default() -> None:
    assert len(edges("")) == 9  # seven days from now are parts of eight days
    assert edges("") == edges("granularity=day")
    assert (edges("")[0], edges("")[-1]) == ("2026-11-15T00:00:00Z", "2026-11-23T00:00:00Z")
    assert edges("granularity=hour")[0] == "2026-11-22T03:00:00Z"
    assert len(edges("granularity=minute")) == 61
    assert edges("end_date=2026-11-02T00:00:00Z")[0] == "2026-10-26T00:00:00Z"


def test_the_parameters_are_read_by_their_names_alone() -> None:
    assert edges("from=2020-01-01T00:00:00Z&interval=hour&timezone=Asia/Tokyo") == edges("")
    assert edges("start_date=2026-11-21T00:00:00Z&tz=Asia/Tokyo")[0] == "2026-11-21T00:00:00+09:00"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("granularity=month", "granularity"),  # another route has it, this one does not
        ("start_date=yesterday", "start_date"),
        ("end_date=1969-12-31T23:59:59Z", "end_date"),
        ("start_date=2026-11-21T00:00:00Z&end_date=2026-11-20T00:00:00Z", "start_date"),
        ("tz=Mars", "tz"),
    ],
)
def test_a_refusal_names_the_parameter_as_it_is_called(query: str, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        OTHER_NAMES.read(QueryParams(query), NOW)
    assert [each.loc for each in refusal.value.fields] == [("query", field)]


def test_a_start_ahead_of_now_without_an_end_is_an_empty_range() -> None:
    assert edges("start_date=2026-11-22T09:30:00Z") == ["2026-11-22T00:00:00Z"]
    assert edges("start_date=2026-11-22T09:30:30Z") == ["2026-11-22T00:00:00Z"]
    assert edges("start_date=2026-11-22T09:29:59Z") == ["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"]
    assert len(edges("start_date=2026-11-22T09:30:30Z&end_date=2026-11-22T09:31:00Z")) == 2


def test_minutes_reach_back_as_far_as_they_are_kept() -> None:
    first = NOW - timedelta(days=3)
    assert edges(f"granularity=minute&start_date={first:%Y-%m-%dT%H:%M:%SZ}&end_date={first:%Y-%m-%dT%H:%M:59Z}")
    with pytest.raises(BadRequest, match=r"^granularity=minute reaches back 3 days; use hour before that$"):
        edges(f"granularity=minute&start_date={first - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}")


def test_a_longer_range_than_a_series_may_have_is_refused_with_a_hint() -> None:
    start = NOW - timedelta(hours=POINTS_MAX)
    query = f"granularity=hour&start_date={start:%Y-%m-%dT%H}:00:00Z"
    assert len(edges(f"{query}&end_date={NOW:%Y-%m-%dT%H}:00:00Z")) == POINTS_MAX + 1
    with pytest.raises(BadRequest, match="more than 10000 points; shorten it or use a wider interval than hour"):
        edges(query)


def test_the_documentation_says_the_names_the_intervals_and_the_defaults() -> None:
    documented = {each["name"]: each for each in OTHER_NAMES.documented()}
    assert list(documented) == ["granularity", "start_date", "end_date", "tz"]
    assert documented["granularity"]["schema"]["enum"] == ["day", "hour", "minute"]
    assert documented["start_date"]["description"] == (
        "RFC 3339 with a zone. Default: the last 7 days by day, 6 hours by hour, hour by minute."
    )


def test_hours_are_lost_and_come_twice_with_the_clocks() -> None:
    spring = edges(
        "granularity=hour&tz=Europe/Berlin&start_date=2026-03-29T00:00:00%2B01:00&end_date=2026-03-30T00:00:00%2B02:00"
    )
    autumn = edges(
        "granularity=hour&tz=Europe/Berlin&start_date=2026-10-25T00:00:00%2B02:00&end_date=2026-10-26T00:00:00%2B01:00"
    )
    assert (len(spring) - 1, len(autumn) - 1) == (23, 25)
    assert not [each for each in spring if "T02:" in each]
    assert [each for each in autumn if "T02:" in each] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]


def test_a_time_is_written_as_rfc_3339_whatever_the_offset() -> None:
    requested = OTHER_NAMES.read(
        QueryParams("tz=Africa/Monrovia&start_date=1971-12-30T00:00:00Z&end_date=1972-01-09T00:00:00Z"), NOW
    )
    written = local_times(requested.edges, requested.zone)
    assert written[0] == "1971-12-29T00:44:30Z"  # the offset was 44 minutes and 30 seconds
    assert all(before < after for before, after in pairwise(map(datetime.fromisoformat, written)))
