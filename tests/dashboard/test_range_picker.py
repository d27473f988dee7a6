"""Ranges as the pages compute them: the buckets of the server, and comparisons of equally many local days."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page

from contract.time_series import Interval
from statistics_api.time_series.buckets import bucket_edges

# Days of 23, 24.5 and 25 hours; no midnight on some days; offsets of quarters of an hour; a day that was left out.
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago",
    "Asia/Beirut", "Africa/Cairo", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns", "Pacific/Chatham",
)  # fmt: skip
INTERVALS: tuple[Interval, ...] = ("minute", "hour", "day", "month")
CALL = """
    async ([file, name, calls]) => {
        const module = await import(`/dashboard/static/test/${file}`);
        return calls.map((each) => module[name](...each));
    }
"""
DAYS_BACK = {"today": 1, "yesterday": 1, "7d": 7, "30d": 30}
SEED = 20261130


@pytest.fixture
def scripts(page: Page) -> Page:
    """A page that may import the modules."""
    page.goto("/dashboard")
    return page


def milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000)


def at(instant: float) -> datetime:
    return datetime.fromtimestamp(instant / 1_000, UTC)


def instants(count: int) -> list[datetime]:
    """Times in the years 2010 to 2037, half of them within the hours around a change of some zone's clock."""
    chosen = random.Random(SEED)  # noqa: S311 - no secret
    first = datetime(2010, 1, 1, tzinfo=UTC)
    made = [first + timedelta(seconds=chosen.randrange(27 * 365 * 86_400)) for _ in range(count)]
    changes = [
        day
        for zone in map(ZoneInfo, ZONES)
        for day in (first + timedelta(days=number) for number in range(27 * 365))
        if day.astimezone(zone).utcoffset() != (day + timedelta(days=1)).astimezone(zone).utcoffset()
    ]
    return made + [chosen.choice(changes) + timedelta(seconds=chosen.randrange(86_400)) for _ in range(count)]


def test_buckets_begin_where_those_of_the_server_do(scripts: Page) -> None:
    asked = [(each, interval, zone) for each in instants(60) for interval in INTERVALS for zone in ZONES]
    calls = [[milliseconds(instant), interval, zone] for instant, interval, zone in asked]
    found = scripts.evaluate(CALL, ["zones.js", "bucketStart", calls])
    wrong = [
        (instant, interval, zone, at(start), expected)
        for (instant, interval, zone), start in zip(asked, found, strict=True)
        if at(start) != (expected := first_edge(instant, interval, zone))
    ]
    assert wrong == []


def first_edge(instant: datetime, interval: Interval, zone: str) -> datetime:
    return bucket_edges(instant, instant + timedelta(microseconds=1), interval, ZoneInfo(zone), buckets_max=3)[0]


@pytest.mark.parametrize("name", [*DAYS_BACK, "12m", "24h", "30min"])
def test_a_comparison_has_equally_many_local_days(scripts: Page, name: str) -> None:
    asked = [(each, zone) for each in instants(40) for zone in ZONES]
    calls: list[list[Any]] = [
        [{"range": name, "interval": None, "compare": "previous", "zone": zone}, milliseconds(instant)]
        for instant, zone in asked
    ]
    for (instant, zone), range_ in zip(asked, scripts.evaluate(CALL, ["range.js", "rangeOf", calls]), strict=True):
        said = (instant, zone, range_)
        start, complete = at(range_["from"]), at(range_["completeUntil"])
        assert start <= complete <= at(range_["to"]) <= instant, said
        # Both ends are edges of buckets: nothing of another bucket is compared.
        interval = range_["interval"]
        assert start == first_edge(start, interval, zone), said
        assert complete == first_edge(complete, interval, zone), said
        if range_["before"] is None:
            assert complete == start, said
            continue
        before = {each: at(range_["before"][each]) for each in ("from", "to")}
        assert before["to"] <= complete, said
        local = [each.astimezone(ZoneInfo(zone)) for each in (start, before["from"], complete, before["to"])]
        if name in DAYS_BACK:
            assert (local[0].date() - local[1].date()).days == DAYS_BACK[name], said
            assert (local[2].date() - local[3].date()).days == DAYS_BACK[name], said
        elif name == "12m":
            assert [each.day for each in local] == [1, 1, 1, 1], said
            assert (local[0].year - local[1].year, local[0].month) == (1, local[1].month), said
        else:
            assert complete - start == before["to"] - before["from"], said


def test_a_month_that_has_no_such_day_is_compared_with_its_last_day(scripts: Page) -> None:
    leap_day = datetime(2028, 2, 29, 12, tzinfo=UTC)
    [found] = scripts.evaluate(CALL, ["zones.js", "shifted", [[milliseconds(leap_day), "UTC", {"months": -12}]]])
    assert at(found) == datetime(2027, 2, 28, 12, tzinfo=UTC)
