"""GET /Log/auth/timeseries: buckets as a zone's clocks show them, gaps as 0, and never a series that is cut."""

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from tests.auth_events.payloads import DEVICE_TYPES, WINDOWS, event
from tests.database import rows
from tests.servers import Product

URL = "/Log/auth/timeseries"
# Older than what may be registered: as if recorded then. TV is used by nothing else in this module.
INSERT_PAST = """
    INSERT INTO auth_event_quarter_hour (project_id, device_type, bucket_start, slot, event_count)
    VALUES (1, 'TV', %(start)s, %(slot)s, %(count)s)
"""


def series(public: httpx2.Client, **parameters: str) -> dict[str, Any]:
    """Ask for a time series; `from_` stands for `from`."""
    answer = public.get(URL, params={name.rstrip("_"): value for name, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def points(body: Mapping[str, Any], device_type: str) -> dict[str, int]:
    """The points of one device type by their start, as text."""
    [found] = [each["points"] for each in body["series"] if each["deviceType"] == device_type]
    return {point["start"]: point["count"] for point in found}


@pytest.fixture(scope="module", autouse=True)
def long_ago(product: Product) -> None:
    """TV events around two changes of Berlin's clocks, two slots each, and one at the year's first instant."""
    for start, slot, count in [
        ("2026-03-28T23:00:00Z", 0, 1),  # 29 March 00:00, a day of 23 hours
        ("2026-03-29T00:45:00Z", 1, 2),  # 01:45, the last quarter before the jump
        ("2026-03-29T01:00:00Z", 0, 4),  # 03:00, the first one after it
        ("2026-03-29T21:45:00Z", 0, 8),  # 23:45
        ("2026-03-29T22:00:00Z", 0, 16),  # 30 March 00:00
        ("2025-10-26T00:30:00Z", 0, 32),  # 02:30 for the first time, a day of 25 hours
        ("2025-10-26T01:30:00Z", 0, 64),  # 02:30 for the second time
        ("2025-10-26T01:30:00Z", 5, 64),
        ("2025-12-31T23:00:00Z", 0, 128),  # 1 January 00:00
    ]:
        rows(product.database, INSERT_PAST, {"start": start, "slot": slot, "count": count})


def test_the_shape_is_the_contracts(public: httpx2.Client) -> None:
    body = series(public, from_="2026-01-01T00:00:00Z", to="2026-01-01T02:00:00Z")
    assert body == {
        "interval": "hour",
        "timezone": "UTC",
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-01T02:00:00Z",
        "series": [
            {
                "deviceType": name,
                "points": [
                    {"start": "2026-01-01T00:00:00Z", "count": 0},
                    {"start": "2026-01-01T01:00:00Z", "count": 0},
                ],
            }
            for name in DEVICE_TYPES
        ],
    }
    one = series(public, deviceType="iOS", from_="2026-01-01T00:00:00Z", to="2026-01-01T02:00:00Z")
    assert one == body | {"series": body["series"][3:]}


def test_a_day_of_23_hours(public: httpx2.Client) -> None:
    day = {"deviceType": "TV", "timezone": "Europe/Berlin", "from_": "2026-03-29T00:00:00+01:00"}
    hours = points(series(public, interval="hour", to="2026-03-30T00:00:00+02:00", **day), "TV")
    assert len(hours) == 23
    assert {start: count for start, count in hours.items() if count} == {
        "2026-03-29T00:00:00+01:00": 1,
        "2026-03-29T01:00:00+01:00": 2,
        "2026-03-29T03:00:00+02:00": 4,
        "2026-03-29T23:00:00+02:00": 8,
    }
    days = points(series(public, interval="day", to="2026-03-31T00:00:00+02:00", **day), "TV")
    assert days == {"2026-03-29T00:00:00+01:00": 15, "2026-03-30T00:00:00+02:00": 16}


def test_a_day_of_25_hours(public: httpx2.Client) -> None:
    day = {"deviceType": "TV", "timezone": "Europe/Berlin", "from_": "2025-10-26T00:00:00+02:00"}
    hours = points(series(public, interval="hour", to="2025-10-27T00:00:00+01:00", **day), "TV")
    assert len(hours) == 25
    assert {start: count for start, count in hours.items() if count} == {
        "2025-10-26T02:00:00+02:00": 32,
        "2025-10-26T02:00:00+01:00": 128,
    }
    days = points(series(public, interval="day", to="2025-10-27T00:00:00+01:00", **day), "TV")
    assert days == {"2025-10-26T00:00:00+02:00": 160}


def test_months_follow_the_calendar_of_the_zone(public: httpx2.Client) -> None:
    year = {"deviceType": "TV", "interval": "month", "from_": "2025-10-05T12:00:00Z", "to": "2026-04-01T00:00:00+02:00"}
    berlin = series(public, timezone="Europe/Berlin", **year)
    assert points(berlin, "TV") == {
        "2025-10-01T00:00:00+02:00": 160,
        "2025-11-01T00:00:00+01:00": 0,
        "2025-12-01T00:00:00+01:00": 0,
        "2026-01-01T00:00:00+01:00": 128,
        "2026-02-01T00:00:00+01:00": 0,
        "2026-03-01T00:00:00+01:00": 31,
    }
    utc = points(series(public, **year), "TV")
    assert utc["2025-12-01T00:00:00Z"] == 128  # in UTC the old year had an hour left


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Asia/Kolkata", "2026-03-29T05:30:00+05:30"),
        ("Asia/Kathmandu", "2026-03-29T05:45:00+05:45"),
        ("America/St_Johns", "2026-03-28T21:30:00-02:30"),
        ("Pacific/Chatham", "2026-03-29T13:45:00+13:45"),
    ],
)
def test_hours_begin_when_the_zones_clocks_say_so(public: httpx2.Client, zone: str, first: str) -> None:
    body = series(public, deviceType="TV", timezone=zone, from_="2026-03-29T00:00:00Z", to="2026-03-29T01:00:00Z")
    instant = datetime.fromisoformat(first)
    starts = [datetime.fromisoformat(start) for start in points(body, "TV")]
    # The hour that holds 00:00Z began at the full hour there; both hours that 00:00Z to 01:00Z touches are given.
    assert starts[0] == instant.replace(minute=0)
    assert len(starts) == 2
    assert all(start.minute == 0 and start.utcoffset() == instant.utcoffset() for start in starts)


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("minute", "{day}T10:07:00Z", "{day}T10:09:00Z"),
        ("hour", "{day}T10:00:00Z", "{day}T11:00:00Z"),
        ("day", "{day}T00:00:00Z", "{next_day}T00:00:00Z"),
    ],
)
def test_a_range_is_aligned_outwards(public: httpx2.Client, interval: str, start: str, end: str) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    days = {"day": yesterday, "next_day": yesterday + timedelta(days=1)}
    body = series(public, interval=interval, from_=f"{yesterday}T10:07:30Z", to=f"{yesterday}T10:08:00.5Z")
    assert (body["from"], body["to"]) == (start.format(**days), end.format(**days))


def test_the_end_is_not_included_and_the_start_is(public: httpx2.Client) -> None:
    for to, expected in (("2026-03-28T23:00:00Z", 0), ("2026-03-28T23:00:01Z", 1)):
        body = series(public, deviceType="TV", from_="2026-03-28T22:00:00Z", to=to)
        assert sum(points(body, "TV").values()) == expected
    body = series(public, deviceType="TV", from_="2026-03-28T23:00:00Z", to="2026-03-29T00:00:00Z")
    assert sum(points(body, "TV").values()) == 1


@pytest.mark.parametrize(
    ("interval", "reach"),
    [
        ("minute", timedelta(hours=1)),
        ("hour", timedelta(days=1)),
        ("day", timedelta(days=30)),
        ("month", timedelta(days=365)),
    ],
)
def test_the_default_range_ends_now(public: httpx2.Client, interval: str, reach: timedelta) -> None:
    before = datetime.now(UTC)
    body = series(public, interval=interval)
    start, end = datetime.fromisoformat(body["from"]), datetime.fromisoformat(body["to"])
    assert start <= before - reach
    assert end >= before
    assert [each["deviceType"] for each in body["series"]] == DEVICE_TYPES
    for each in body["series"]:
        starts = [datetime.fromisoformat(point["start"]) for point in each["points"]]
        assert starts[0] == start
        assert all(earlier < later for earlier, later in pairwise(starts))


def test_without_parameters_it_is_hours_in_utc(public: httpx2.Client) -> None:
    body = series(public)
    assert (body["interval"], body["timezone"]) == ("hour", "UTC")
    assert len(body["series"][0]["points"]) == 25  # the last day, aligned outwards


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(days=1), timedelta(days=29, hours=23)], ids=str)
def test_an_event_is_counted_in_the_buckets_of_the_time_it_happened(public: httpx2.Client, ago: timedelta) -> None:
    moment = datetime.now(UTC) - ago
    public.post("/Log/auth", json=event("late", "Watch", occurredAt=moment.isoformat())).raise_for_status()

    minute = moment.replace(second=0, microsecond=0)
    around = {"from_": (minute - timedelta(minutes=2)).isoformat(), "to": (minute + timedelta(minutes=3)).isoformat()}
    hour = minute.replace(minute=0)
    for interval, start in (("minute", minute), ("hour", hour), ("day", hour.replace(hour=0))):
        found = points(series(public, deviceType="Watch", interval=interval, **around), "Watch")
        assert {datetime.fromisoformat(each): count for each, count in found.items() if count} == {start: 1}


def test_the_sum_over_everything_is_the_count(public: httpx2.Client) -> None:
    now = datetime.now(UTC)
    items = [event("sum", "Android", occurredAt=(now - timedelta(hours=7 * n)).isoformat()) for n in range(100)]
    assert public.post("/Log/auth/batch", json=items).json()["registered"] == 100
    count = public.get("/Log/auth/statistics", params={"deviceType": "Android"}).json()["count"]
    assert count == 100
    for interval in ("hour", "day", "month"):
        for zone in ("UTC", "Europe/Berlin", "Asia/Kathmandu"):
            start, end = (now - timedelta(days=31)).isoformat(), (now + timedelta(minutes=5)).isoformat()
            body = series(public, deviceType="Android", interval=interval, timezone=zone, from_=start, to=end)
            assert sum(points(body, "Android").values()) == count
    days = [series(public, deviceType="Android", interval="minute",
                   from_=(now - timedelta(days=n + 6)).isoformat(), to=(now - timedelta(days=n)).isoformat())
            for n in range(0, 30, 6)]  # fmt: skip
    starts: dict[str, int] = {}
    for body in days:
        starts |= points(body, "Android")
    assert sum(starts.values()) == count


def test_a_plus_sign_that_was_not_escaped_is_understood(public: httpx2.Client) -> None:
    unescaped = public.get(f"{URL}?from=2026-03-29T00:00:00+01:00&to=2026-03-29T05:00:00+02:00&deviceType=TV")
    escaped = series(public, deviceType="TV", from_="2026-03-29T00:00:00+01:00", to="2026-03-29T05:00:00+02:00")
    assert unescaped.json() == escaped
    spaces = public.get(f"{URL}?from=2026-03-29 00:00:00+01:00&to=2026-03-29%2005:00:00.000000000+02:00&deviceType=TV")
    assert spaces.json() == escaped


@pytest.mark.parametrize("interval", ["minute", "hour", "day"])
def test_more_than_ten_thousand_points_are_refused_with_a_hint(public: httpx2.Client, interval: str) -> None:
    width = timedelta(**{f"{interval}s": 1})
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    fits, too_long = (
        public.get(
            URL,
            params={
                "interval": interval,
                "deviceType": "TV",
                "from": (end - number * width).isoformat(),
                "to": end.isoformat(),
            },
        )
        for number in (10_000, 10_001)
    )
    assert len(fits.json()["series"][0]["points"]) == 10_000
    assert (too_long.status_code, too_long.json()) == (
        400,
        {"detail": f"The range has more than 10000 points; shorten it or use a wider interval than {interval}"},
    )


def test_minutes_reach_back_35_days_and_say_so(public: httpx2.Client) -> None:
    start = datetime.now(UTC) - timedelta(days=35)
    for ago, status in ((timedelta(seconds=30), 200), (-timedelta(seconds=30), 400)):
        moment = start + ago
        answer = public.get(
            URL,
            params={"interval": "minute", "from": moment.isoformat(), "to": (moment + timedelta(hours=1)).isoformat()},
        )
        assert answer.status_code == status
    assert answer.json() == {"detail": "interval=minute reaches back 35 days; use hour before that"}


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"interval": "second"}, "interval"),
        ({"interval": ""}, "interval"),
        ({"timezone": "Europe/Nowhere"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": "+01:00"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"from": "2026-01-01"}, "from"),
        ({"from": "2026-01-01T00:00:00"}, "from"),
        ({"from": "1767225600"}, "from"),
        ({"from": ""}, "from"),
        ({"to": "tomorrow"}, "to"),
        ({"to": "0001-01-01T00:00:00+23:59"}, "to"),
        ({"from": "9999-12-31T23:59:59-23:59"}, "from"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"from": "\x00"}, "from"),
        ({"from": "2016-12-31T23:59:60Z"}, "from"),
        ({"to": "2026-01-01T24:00:00Z"}, "to"),
        ({"tz": "Europe/Berlin"}, "tz"),
        ({"interval": "hour", "From": "2026-01-01T00:00:00Z"}, "From"),
    ],
    ids=str,
)
def test_a_malformed_parameter_is_422_and_named(public: httpx2.Client, parameters: dict[str, str], field: str) -> None:
    answer = public.get(URL, params=parameters)
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["query", field]]


def test_an_unknown_device_type_is_400(public: httpx2.Client) -> None:
    answer = public.get(URL, params={"deviceType": "Windows"})
    assert (answer.status_code, answer.json()) == (400, {"detail": WINDOWS})


def test_the_ends_of_the_calendar_are_answered(public: httpx2.Client) -> None:
    for parameters in (
        {"interval": "month", "from": "1970-01-01T00:00:00Z", "to": "2200-01-01T00:00:00Z"},
        {"interval": "month", "to": "1970-01-01T00:00:00Z", "timezone": "Pacific/Apia"},
        {
            "interval": "day",
            "from": "2011-12-29T00:00:00-10:00",
            "to": "2012-01-01T00:00:00+14:00",
            "timezone": "Pacific/Apia",
        },
    ):
        assert public.get(URL, params=parameters).status_code == 200
    assert len(public.get(URL, params=parameters).json()["series"][0]["points"]) == 2  # one day was skipped there


@pytest.mark.parametrize("ahead", [timedelta(seconds=30), timedelta(days=1), timedelta(days=36_500)])
@pytest.mark.parametrize("interval", ["minute", "hour", "day", "month"])
def test_a_range_that_begins_ahead_of_now_is_empty_until_it_has_an_end(
    public: httpx2.Client, interval: str, ahead: timedelta
) -> None:
    start = datetime.now(UTC) + ahead
    body = series(public, interval=interval, from_=start.isoformat())
    assert body["series"] == [{"deviceType": name, "points": []} for name in DEVICE_TYPES]
    assert body["from"] == body["to"] <= start.isoformat()
    ended = series(public, interval=interval, from_=start.isoformat(), to=(start + timedelta(seconds=1)).isoformat())
    assert all(len(each["points"]) >= 1 for each in ended["series"])


def test_a_start_after_the_end_is_told_so_only_where_both_were_sent(public: httpx2.Client) -> None:
    both = public.get(URL, params={"from": "2150-01-01T00:00:00Z", "to": "2149-01-01T00:00:00Z"})
    assert both.json()["detail"][0]["msg"] == "must be before `to`"


LONG_AGO = "from=2026-03-29T00:00:00%2B01:00&to=2026-03-29T04:00:00%2B02:00&timezone=Europe/Berlin"
CSV = (
    "deviceType,start,count\r\n"
    "TV,2026-03-29T00:00:00+01:00,1\r\n"
    "TV,2026-03-29T01:00:00+01:00,2\r\n"
    "TV,2026-03-29T03:00:00+02:00,4\r\n"
)


@pytest.mark.parametrize(
    ("format_", "accept"),
    [
        ("&format=csv", None),
        ("&format=csv", "application/json"),  # the parameter wins
        ("", "text/csv"),
        ("", "text/csv; header=present, application/json;q=0.5"),
        ("", "application/json;q=0.1, text/*"),
    ],
)
def test_a_series_comes_as_csv(public: httpx2.Client, format_: str, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    for method in ("GET", "HEAD"):
        answer = public.request(method, f"{URL}?{LONG_AGO}&deviceType=TV{format_}", headers=headers)
        assert answer.status_code == 200
        assert answer.text == (CSV if method == "GET" else "")
        assert answer.headers["content-type"] == "text/csv; header=present; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="timeseries.csv"'
        assert answer.headers["vary"] == "Accept, Authorization, Cookie, X-API-Key"


@pytest.mark.parametrize(
    ("format_", "accept"),
    [("", None), ("", "*/*"), ("", "text/html, */*;q=0.8"), ("", "image/png"), ("&format=json", "text/csv")],
)
def test_otherwise_it_comes_as_json(public: httpx2.Client, format_: str, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = public.get(f"{URL}?{LONG_AGO}{format_}", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["vary"] == "Accept, Authorization, Cookie, X-API-Key"
    assert answer.json()["timezone"] == "Europe/Berlin"


@pytest.mark.parametrize("format_", ["xml", "", "CSV", "json,csv"])
def test_another_format_is_422_and_named(public: httpx2.Client, format_: str) -> None:
    answer = public.get(f"{URL}?format={format_}", headers={"Accept": "text/csv"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/json", "a refusal is JSON"
    assert [each["loc"] for each in answer.json()["detail"]] == [["query", "format"]]


def test_both_forms_say_the_same(public: httpx2.Client) -> None:
    query = {"interval": "hour", "timezone": "Australia/Lord_Howe", "from": "2025-04-05T12:00:00Z",
             "to": "2026-04-06T00:00:00Z"}  # fmt: skip
    body = public.get(URL, params=query).json()
    lines = list(csv.reader(io.StringIO(public.get(URL, params=query | {"format": "csv"}).text)))
    assert lines == [
        ["deviceType", "start", "count"],
        *(
            [each["deviceType"], point["start"], str(point["count"])]
            for each in body["series"]
            for point in each["points"]
        ),
    ]
