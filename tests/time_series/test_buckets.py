"""Buckets of time are what the clocks of a zone show, whatever its rules do to them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from contract.time_series import Interval
from statistics_api.time_series.buckets import TooManyBucketsError, bucket_edges

NO_LIMIT = 1_000_000
QUARTER = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# "Factory" and the right/ and posix/ trees are no places.
ZONES = sorted(name for name in available_timezones() if not name.startswith(("Factory", "right/", "posix/")))
LONGEST: dict[Interval, timedelta] = {
    "minute": timedelta(hours=5),
    "hour": timedelta(days=5),
    "day": timedelta(days=90),
    "month": timedelta(days=1200),
}


def hours(zone: str, start: str, end: str, interval: Interval = "day") -> list[float]:
    """How long each bucket is."""
    edges = local_edges(zone, start, end, interval)
    return [(after - before) / timedelta(hours=1) for before, after in pairwise(edges)]


def local_edges(zone: str, start: str, end: str, interval: Interval = "day") -> list[datetime]:
    place = ZoneInfo(zone)
    first, last = (datetime.fromisoformat(text).replace(tzinfo=place) for text in (start, end))
    return bucket_edges(first, last, interval, place, buckets_max=NO_LIMIT)


def shown(zone: str, edges: list[datetime]) -> list[str]:
    """What the clocks of `zone` show."""
    return [f"{edge.astimezone(ZoneInfo(zone)):%d. %H:%M}" for edge in edges]


DAYS = {
    "Europe/Berlin, clocks forward": ("Europe/Berlin", "2025-03-29", "2025-04-01", [24, 23, 24]),
    "Europe/Berlin, clocks back": ("Europe/Berlin", "2025-10-25", "2025-10-28", [24, 25, 24]),
    "America/New_York, clocks forward": ("America/New_York", "2025-03-08", "2025-03-11", [24, 23, 24]),
    "America/New_York, clocks back": ("America/New_York", "2025-11-01", "2025-11-04", [24, 25, 24]),
    "Asia/Kathmandu, never": ("Asia/Kathmandu", "2025-03-29", "2025-04-01", [24, 24, 24]),
    "Asia/Kathmandu, a quarter of an hour forward": ("Asia/Kathmandu", "1985-12-31", "1986-01-03", [24, 23.75, 24]),
    "Australia/Lord_Howe, half an hour forward": ("Australia/Lord_Howe", "2025-10-04", "2025-10-07", [24, 23.5, 24]),
    "Australia/Lord_Howe, half an hour back": ("Australia/Lord_Howe", "2025-04-05", "2025-04-08", [24, 24.5, 24]),
    "Pacific/Apia, without 30 December 2011": ("Pacific/Apia", "2011-12-29", "2012-01-01", [24, 24]),
    "Pacific/Kwajalein, without 21 August 1993": ("Pacific/Kwajalein", "1993-08-20", "1993-08-23", [24, 24]),
    "Asia/Beirut, forward at midnight": ("Asia/Beirut", "2025-03-29", "2025-04-01", [24, 23, 24]),
    "Africa/Cairo, forward at midnight": ("Africa/Cairo", "2024-04-25", "2024-04-28", [24, 23, 24]),
    "Africa/Cairo, back at midnight": ("Africa/Cairo", "2024-10-31", "2024-11-02", [25, 24]),
    "America/Havana, forward at midnight": ("America/Havana", "2025-03-08", "2025-03-11", [24, 23, 24]),
    "America/Havana, midnight comes twice": ("America/Havana", "2025-11-01", "2025-11-04", [24, 25, 24]),
    "America/St_Johns, back at one past midnight": ("America/St_Johns", "2010-11-06", "2010-11-09", [24, 25, 24]),
    "Antarctica/Troll, two hours forward": ("Antarctica/Troll", "2025-03-29", "2025-04-01", [24, 22, 24]),
}


@pytest.mark.parametrize("name", DAYS)
def test_a_day_is_as_long_as_the_clocks_make_it(name: str) -> None:
    zone, start, end, lengths = DAYS[name]

    assert hours(zone, start, end) == lengths


def test_where_midnight_is_skipped_the_day_begins_with_the_jump() -> None:
    edges = local_edges("Asia/Beirut", "2025-03-29", "2025-04-01")

    assert shown("Asia/Beirut", edges) == ["29. 00:00", "30. 01:00", "31. 00:00", "01. 00:00"]


def test_where_midnight_comes_twice_the_day_begins_with_the_first() -> None:
    edges = local_edges("America/Havana", "2025-11-02", "2025-11-03")

    assert edges[0] == datetime(2025, 11, 2, 4, tzinfo=UTC)
    assert shown("America/Havana", edges) == ["02. 00:00", "03. 00:00"]


def test_an_hour_that_comes_twice_is_two_buckets() -> None:
    edges = local_edges("Europe/Berlin", "2025-10-26T01:00", "2025-10-26T04:00", "hour")

    assert shown("Europe/Berlin", edges) == ["26. 01:00", "26. 02:00", "26. 02:00", "26. 03:00", "26. 04:00"]


def test_an_hour_that_is_skipped_is_no_bucket() -> None:
    edges = local_edges("Europe/Berlin", "2025-03-30T01:00", "2025-03-30T04:00", "hour")

    assert shown("Europe/Berlin", edges) == ["30. 01:00", "30. 03:00", "30. 04:00"]


HALF_HOURS = {
    "Australia/Lord_Howe, half an hour back": (
        ("Australia/Lord_Howe", "2025-04-06T00:00", "2025-04-06T04:00"),
        ["06. 00:00", "06. 01:00", "06. 01:30", "06. 02:00", "06. 03:00", "06. 04:00"],
        [1, 1, 0.5, 1, 1],
    ),
    "Australia/Lord_Howe, half an hour forward": (
        ("Australia/Lord_Howe", "2025-10-05T00:00", "2025-10-05T05:00"),
        ["05. 00:00", "05. 01:00", "05. 02:30", "05. 03:00", "05. 04:00", "05. 05:00"],
        [1, 1, 0.5, 1, 1],
    ),
    "Asia/Kathmandu, a quarter forward": (
        ("Asia/Kathmandu", "1985-12-31T22:00", "1986-01-01T02:00"),
        ["31. 22:00", "31. 23:00", "01. 00:15", "01. 01:00", "01. 02:00"],
        [1, 1, 0.75, 1],
    ),
    "Asia/Pyongyang, half an hour back": (
        ("Asia/Pyongyang", "2015-08-14T22:00", "2015-08-15T02:00"),
        ["14. 22:00", "14. 23:00", "14. 23:30", "15. 00:00", "15. 01:00", "15. 02:00"],
        [1, 1, 0.5, 1, 1],
    ),
    "America/Caracas, half an hour back": (
        ("America/Caracas", "2007-12-09T01:00", "2007-12-09T04:00"),
        ["09. 01:00", "09. 02:00", "09. 02:30", "09. 03:00", "09. 04:00"],
        [1, 1, 0.5, 1],
    ),
    "America/St_Johns, back at one past midnight: as if at midnight": (
        ("America/St_Johns", "2010-11-06T22:00", "2010-11-07T01:00"),
        ["06. 22:00", "06. 23:00", "07. 00:00", "07. 00:00", "07. 01:00"],
        [1, 1, 1, 1],
    ),
}


@pytest.mark.parametrize("name", HALF_HOURS)
def test_an_hour_ends_where_clocks_are_turned_within_it(name: str) -> None:
    (zone, start, end), begins_at, lengths = HALF_HOURS[name]

    assert shown(zone, local_edges(zone, start, end, "hour")) == begins_at
    assert hours(zone, start, end, "hour") == lengths


def by_looking_at_every_quarter(zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Where the hour that the clocks show changes, or their offset does."""
    quarter = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    edges: list[datetime] = []
    before = None
    while not edges or edges[-1] < end:
        local = (quarter + QUARTER - timedelta(microseconds=1)).astimezone(zone)
        shows = (local.replace(minute=0, second=0, microsecond=0, tzinfo=None), local.utcoffset())
        if before not in (None, shows):
            edges.append(quarter)
        before, quarter = shows, quarter + QUARTER
    return edges[sum(edge <= start for edge in edges) - 1 :]


# Before 1980 some offsets were no multiple of a quarter of an hour.
_SINCE_1980 = st.integers(10 * 365 * 86400, 80 * 365 * 86400).map(lambda seconds: EPOCH + timedelta(seconds=seconds))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ZONES), _SINCE_1980, st.integers(1, 100 * 3600))
@example("Australia/Lord_Howe", datetime(2025, 4, 5, 14, 40, tzinfo=UTC), 7200)
@example("Australia/Lord_Howe", datetime(2025, 10, 4, 15, 40, tzinfo=UTC), 7200)
@example("America/St_Johns", datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC), 7200)
@example("Asia/Pyongyang", datetime(2018, 5, 4, 14, 50, tzinfo=UTC), 7200)
@example("Antarctica/Troll", datetime(2025, 3, 30, 0, 50, tzinfo=UTC), 7200)
def test_hours_are_those_that_the_clocks_show(name: str, start: datetime, seconds: int) -> None:
    zone = ZoneInfo(name)
    end = start + timedelta(seconds=seconds)

    assert bucket_edges(start, end, "hour", zone, buckets_max=NO_LIMIT) == by_looking_at_every_quarter(zone, start, end)


def test_hours_are_right_at_every_change_of_every_zone() -> None:
    changes = set()
    for name in ZONES:
        zone = ZoneInfo(name)
        days = [datetime(1980, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(0, 50 * 366, 7)]
        for day, following in pairwise(days):
            if day.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset():
                change = following - day, day, day.astimezone(zone).utcoffset(), following.astimezone(zone).utcoffset()
                if change not in changes and (change[2] - change[3]) % timedelta(hours=1):  # type: ignore[operator]
                    edges = bucket_edges(day, following, "hour", zone, buckets_max=NO_LIMIT)
                    assert edges == by_looking_at_every_quarter(zone, day, following), (name, day)
                changes.add(change)
    assert len(changes) > 1_000  # that is, it was looked for them


@pytest.mark.parametrize(("zone", "minute"), [("Asia/Kolkata", 30), ("Asia/Kathmandu", 15), ("Pacific/Chatham", 15)])
def test_hours_begin_when_the_clocks_of_the_zone_show_them(zone: str, minute: int) -> None:
    edges = local_edges(zone, "2025-06-01T10:10", "2025-06-01T11:50", "hour")

    assert shown(zone, edges) == ["01. 10:00", "01. 11:00", "01. 12:00"]
    assert {edge.minute for edge in edges} == {minute}


def test_months_follow_the_calendar_and_the_clocks() -> None:
    assert hours("Europe/Berlin", "2024-02-10", "2024-04-10", "month") == [29 * 24, 31 * 24 - 1, 30 * 24]


@pytest.mark.parametrize("interval", LONGEST)
def test_the_limit_is_exact(interval: Interval) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    edges = bucket_edges(start, start + LONGEST[interval], interval, ZoneInfo("UTC"), buckets_max=NO_LIMIT)
    buckets = len(edges) - 1

    assert bucket_edges(start, edges[-1], interval, ZoneInfo("UTC"), buckets_max=buckets) == edges
    with pytest.raises(TooManyBucketsError):
        bucket_edges(start, edges[-1], interval, ZoneInfo("UTC"), buckets_max=buckets - 1)
    beyond = edges[-1] + timedelta(microseconds=1)
    with pytest.raises(TooManyBucketsError):
        bucket_edges(start, beyond, interval, ZoneInfo("UTC"), buckets_max=buckets)


_RANGES = st.tuples(
    st.sampled_from(ZONES),
    st.sampled_from(sorted(LONGEST)),
    st.integers(0, 220 * 365 * 86400).map(lambda seconds: EPOCH + timedelta(seconds=seconds)),
    st.floats(0, 1, exclude_min=True),
)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@settings(max_examples=600, deadline=None)
@given(_RANGES)
@example(("Australia/Lord_Howe", "hour", _instant("2025-04-05T13:00Z"), 0.1))
@example(("Australia/Lord_Howe", "hour", _instant("2025-10-04T14:45Z"), 0.1))
@example(("America/St_Johns", "day", _instant("2010-11-07T03:00Z"), 0.1))
@example(("America/Scoresbysund", "day", _instant("2024-03-30T12:00Z"), 0.1))
@example(("Antarctica/Casey", "day", _instant("2023-03-08T12:00Z"), 0.1))
@example(("Asia/Pyongyang", "hour", _instant("2015-08-14T12:00Z"), 0.3))
@example(("America/Caracas", "hour", _instant("2007-12-08T12:00Z"), 0.3))
@example(("Pacific/Kiritimati", "hour", _instant("1970-01-01T05:40Z"), 0.1))
def test_buckets_cover_the_range_without_gaps_and_begin_when_the_clocks_say(
    asked: tuple[str, Interval, datetime, float],
) -> None:
    name, interval, start, share = asked
    zone = ZoneInfo(name)
    end = start + max(LONGEST[interval] * share, timedelta(microseconds=1))

    edges = bucket_edges(start, end, interval, zone, buckets_max=NO_LIMIT)

    assert edges[0] <= start
    # After the first midnight, clocks may be turned back into the day before (St. John's, to 2011).
    by_date = interval in ("day", "month") and start.astimezone(zone).date() < edges[1].astimezone(zone).date()
    assert start < edges[1] or by_date
    assert edges[-2] < end <= edges[-1]
    assert all(before < after for before, after in pairwise(edges))
    assert all(edge.utcoffset() == timedelta(0) for edge in edges)
    assert all(begins(edge, interval, zone) for edge in edges)


def begins(edge: datetime, interval: Interval, zone: ZoneInfo) -> bool:
    """Whether a bucket begins at `edge`: the clocks show it in full there, or jump past it."""
    local = edge.astimezone(zone)
    before = (edge - timedelta(microseconds=1)).astimezone(zone)
    if interval == "minute":
        return local.second == local.microsecond == 0
    if interval == "hour":
        # Or clocks are turned in this quarter of an hour.
        after = (edge + QUARTER).astimezone(zone)
        return local.minute == 0 or after.utcoffset() != before.utcoffset()
    if interval == "day":
        return local.date() != before.date() or (local.hour, local.minute) == (0, 0)
    return (local.year, local.month) != (before.year, before.month)


@settings(max_examples=300, deadline=None)
@given(_RANGES, st.floats(0, 1, exclude_max=True))
def test_a_bucket_does_not_depend_on_the_range_it_was_asked_in(
    asked: tuple[str, Interval, datetime, float], later: float
) -> None:
    name, interval, start, share = asked
    zone = ZoneInfo(name)
    end = start + LONGEST[interval] * share
    edges = bucket_edges(start, end, interval, zone, buckets_max=NO_LIMIT)
    inner_start = start + (end - start) * later
    assume(inner_start < end)

    inner = bucket_edges(inner_start, end, interval, zone, buckets_max=NO_LIMIT)

    assert inner == edges[-len(inner) :]


def test_every_edge_since_1980_falls_on_a_quarter_of_an_hour() -> None:
    # So the 15-minute rollups can answer any of them exactly.
    weeks = [datetime(1980, 1, 1, tzinfo=UTC) + timedelta(weeks=week) for week in range(60 * 52)]
    histories = {tuple(week.astimezone(ZoneInfo(name)).utcoffset() for week in weeks): name for name in ZONES}
    for offsets, name in histories.items():
        assert all(offset is not None and offset % QUARTER == timedelta(0) for offset in set(offsets)), name
        # With such an offset, clocks that are left alone show full hours on quarters; what remains are the jumps.
        turned = [week for week, (before, after) in zip(weeks, pairwise(offsets), strict=False) if before != after]
        for week in turned:
            edges = bucket_edges(week, week + timedelta(weeks=1), "day", ZoneInfo(name), buckets_max=NO_LIMIT)
            assert all((edge - weeks[0]) % QUARTER == timedelta(0) for edge in edges), (name, week)
