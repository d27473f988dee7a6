"""Figures of recorded requests, against those that Python computes of the same requests."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api_requests.conftest import TrackedProject
from tests.api_requests.payloads import request
from tests.database import rows
from tests.servers import Product

MINUTE = timedelta(minutes=1)
PERCENTS = (50, 75, 95, 99)
THRESHOLD_MS = 500
DAYS = 29
# The requests of both projects happened in these minutes before this one.
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


class Sent(NamedTuple):
    at: datetime
    ms: float
    status: int
    path: str

    def body(self) -> dict[str, object]:
        return request(self.ms, self.status, self.path, timestamp=self.at.isoformat())


def some_requests(seed: int, number: int) -> list[Sent]:
    """Of all days, and many of the last hour; times from microseconds to an hour."""
    random = Random(seed)  # noqa: S311 - requests of a test
    return [
        Sent(
            NOW - timedelta(seconds=random.choice([random.uniform(0, DAYS * 86_400), random.uniform(0, 3_600)])),
            round(min(random.lognormvariate(4, 2.5), 3_600_000), 3),
            random.choice([200, 200, 200, 204, 302, 404, 422, 500, 503]),
            random.choice(["/a", "/b/{id}", "/c", "/c/{id}/d"]),
        )
        for _ in range(number)
    ]


def floor(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def within(sent: Sequence[Sent], start: datetime, last: datetime) -> list[Sent]:
    """Those of [start, last], extended to whole minutes."""
    return [each for each in sent if floor(start) <= each.at < floor(last) + MINUTE]


def assert_figures(found: dict[str, Any], sent: Sequence[Sent]) -> None:
    times = sorted(each.ms for each in sent)
    client, server = (sum(each.status // 100 == status for each in sent) for status in (4, 5))
    assert found["request_count"] == len(sent)
    assert (found["client_error_count"], found["server_error_count"]) == (client, server)
    assert found["error_count"] == client + server
    if not sent:
        assert (found["error_rate"], found["requests_per_minute"]) == (0, 0)
        assert {found[name] for name in found if name.endswith("_ms") or name == "apdex"} == {None}
        return
    assert found["error_rate"] == pytest.approx(100 * (client + server) / len(sent))
    assert found["avg_response_time_ms"] == pytest.approx(sum(times) / len(times))
    assert (found["fastest_request_ms"], found["slowest_request_ms"]) == (times[0], times[-1])
    for percent in PERCENTS:
        exact = times[ceil(percent * len(times) / 100) - 1]
        assert abs(found[f"p{percent}_ms"] - exact) <= 0.01 * exact + 1e-9
    satisfied = sum(ms <= THRESHOLD_MS for ms in times)
    tolerating = sum(THRESHOLD_MS < ms <= 4 * THRESHOLD_MS for ms in times)
    near = sum(abs(ms - bound) <= 0.02 * bound for ms in times for bound in (THRESHOLD_MS, 4 * THRESHOLD_MS))
    assert abs(found["apdex"] - (satisfied + tolerating / 2) / len(times)) <= near / len(times) + 1e-9


@pytest.fixture(scope="module")
def two(new_project: Callable[[], TrackedProject]) -> list[tuple[TrackedProject, list[Sent]]]:
    """Two projects that record at the same time."""
    found = [(new_project(), some_requests(seed, 3_000)) for seed in (1, 2)]
    for at in range(0, 3_000, 1_000):
        for project, sent in found:
            project.track_all([each.body() for each in sent[at : at + 1_000]])
    return found


MOMENTS = st.integers(0, DAYS * 86_400).map(lambda seconds: NOW - timedelta(seconds=seconds)) | st.integers(0, 70).map(
    lambda minutes: NOW - minutes * MINUTE
)
ZONES = st.sampled_from([timedelta(0), timedelta(hours=5, minutes=45), timedelta(hours=-3, minutes=-30)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(MOMENTS, MOMENTS), ZONES, st.integers(0, 1))
def test_a_summary_is_that_of_the_requests_in_its_range(
    two: list[tuple[TrackedProject, list[Sent]]], ends: tuple[datetime, datetime], offset: timedelta, which: int
) -> None:
    """In both projects, for any range, written in any zone: no request of the other project is in it."""
    project, sent = two[which]
    start, last = sorted(ends)
    shown = [(each + offset).replace(tzinfo=None).isoformat() + _offset(offset) for each in (start, last)]

    found = project.summary(start_date=shown[0], end_date=shown[1])

    inside = within(sent, start, last)
    assert_figures(found, inside)
    minutes = (min(floor(last) + MINUTE, datetime.now(UTC)) - floor(start)) / MINUTE
    assert found["requests_per_minute"] == pytest.approx(
        len(inside) / max(1, ceil(minutes)), rel=0.7 / max(1, minutes) + 1e-6
    )


def _offset(offset: timedelta) -> str:
    minutes = abs(offset) // MINUTE
    return f"{'-' if offset < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}"


def test_the_distribution_holds_each_request_once(two: list[tuple[TrackedProject, list[Sent]]]) -> None:
    project, sent = two[0]
    cells = project.table("distribution", start_date=(NOW - timedelta(days=30)).isoformat())
    assert sum(each["count"] for each in cells) == len(sent)
    assert [each["from_ms"] for each in cells] == sorted(each["from_ms"] for each in cells)
    for each in cells:
        inside = sum(each["from_ms"] <= ms <= each["to_ms"] for _, ms, _, _ in sent)
        assert inside == each["count"]


def test_one_request_is_every_figure_of_itself(tracked: TrackedProject) -> None:
    tracked.track(request(123))
    found = tracked.summary()
    names = ("avg_response_time_ms", "p50_ms", "p75_ms", "p95_ms", "p99_ms", "fastest_request_ms", "slowest_request_ms")
    assert [found[name] for name in names] == [123] * 7
    assert (found["request_count"], found["error_rate"], found["apdex"]) == (1, 0, 1)


def test_a_project_without_requests_has_counts_of_zero_and_no_times(tracked: TrackedProject) -> None:
    assert_figures(tracked.summary(), [])
    assert tracked.table("endpoints") == []
    assert tracked.table("distribution") == []


def test_exact_percentiles_are_those_of_the_rows(two: list[tuple[TrackedProject, list[Sent]]]) -> None:
    project, sent = two[1]
    for start in (NOW - timedelta(days=30), NOW - timedelta(minutes=17)):
        found = project.summary(start_date=start.isoformat(), exact="true")
        times = sorted(each.ms for each in within(sent, start, NOW))
        exact = [times[ceil(percent * len(times) / 100) - 1] for percent in PERCENTS]
        assert [found[f"p{percent}_ms"] for percent in PERCENTS] == exact
        rough = project.summary(start_date=start.isoformat())
        assert {name for name in found if found[name] != rough[name]} <= {f"p{percent}_ms" for percent in PERCENTS}


def test_exact_percentiles_of_no_requests_are_null(tracked: TrackedProject) -> None:
    assert_figures(tracked.summary(exact="true"), [])


def test_exact_percentiles_are_refused_where_rows_are_gone(product: Product, tracked: TrackedProject) -> None:
    tracked.track_all([request(ms, consumer="gone") for ms in (1, 2, 3)])
    rows(product.database, "DELETE FROM api_request WHERE response_us = 2000 AND consumer = 'gone'")
    assert tracked.summary()["request_count"] == 3
    answer = tracked.ask("summary", exact="true")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")
    assert "no longer kept" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("granularity", "zone", "days"),
    [
        ("minute", "UTC", 1),
        ("minute", "Asia/Kathmandu", 1),
        ("hour", "America/St_Johns", 20),
        ("day", "UTC", DAYS),
        ("day", "Asia/Kathmandu", DAYS),
    ],
)
def test_each_point_has_the_figures_of_its_bucket(
    two: list[tuple[TrackedProject, list[Sent]]], granularity: str, zone: str, days: int
) -> None:
    """Days of Nepal begin at 18:15 (UTC), and hours of Newfoundland half an hour after those of UTC."""
    project, sent = two[0]
    ends = {"start_date": (NOW - timedelta(days=days)).isoformat(), "end_date": NOW.isoformat()}
    points = project.table("time-series", granularity=granularity, timezone=zone, **ends)
    starts = [datetime.fromisoformat(each["timestamp"]) for each in points]
    seen = 0
    for point, start, end in zip(points, starts, [*starts[1:], datetime.max.replace(tzinfo=UTC)], strict=True):
        inside = [each for each in sent if start <= each.at < end]
        seen += len(inside)
        assert point["request_count"] == len(inside)
        client, server = (sum(each.status // 100 == status for each in inside) for status in (4, 5))
        assert (point["client_error_count"], point["server_error_count"]) == (client, server)
        assert point["error_count"] == client + server
        if not inside:
            assert (point["avg_response_time_ms"], point["p50_ms"]) == (None, None)
            continue
        times = sorted(each.ms for each in inside)
        assert point["avg_response_time_ms"] == pytest.approx(sum(times) / len(times))
        for percent in (50, 95, 99):
            exact = times[ceil(percent * len(times) / 100) - 1]
            assert abs(point[f"p{percent}_ms"] - exact) <= 0.01 * exact + 1e-9
    assert seen > 100


def test_endpoints_add_up_to_the_summary(two: list[tuple[TrackedProject, list[Sent]]]) -> None:
    project, sent = two[0]
    start = (NOW - timedelta(days=30)).isoformat()
    found = project.table("endpoints", start_date=start)
    assert [each["request_count"] for each in found] == sorted((each["request_count"] for each in found), reverse=True)
    for each in found:
        assert_figures(each, [one for one in sent if one.path == each["url_path"]])
    assert {each["url_path"] for each in found} == {each.path for each in sent}


@pytest.mark.parametrize(("granularity", "days"), [("hour", 16), ("day", 30)])
def test_each_endpoint_has_its_requests_of_each_bucket(
    two: list[tuple[TrackedProject, list[Sent]]], granularity: str, days: int
) -> None:
    width = timedelta(hours=1) if granularity == "hour" else timedelta(days=1)
    for project, sent in two:
        ends = {"start_date": (NOW - timedelta(days=days)).isoformat(), "end_date": NOW.isoformat()}
        # The second answer is of kept sums.
        for _ in range(2):
            found = project.ask("endpoints/time-series", granularity=granularity, **ends).raise_for_status().json()
            starts = [datetime.fromisoformat(each) for each in found["timestamps"]]
            assert {after - before for before, after in pairwise(starts)} == {width}
            assert starts[0] <= NOW - timedelta(days=days) < starts[1]
            for each in found["endpoints"]:
                times = [one.at for one in sent if one.path == each["url_path"]]
                assert each["request_counts"] == [sum(start <= at < start + width for at in times) for start in starts]
            assert {each["url_path"] for each in found["endpoints"]} == {each.path for each in sent}
            sums = [sum(each["request_counts"]) for each in found["endpoints"]]
            assert sums == sorted(sums, reverse=True)


def test_one_endpoint_has_a_distribution_of_its_own(two: list[tuple[TrackedProject, list[Sent]]]) -> None:
    for project, sent in two:
        for path in {each.path for each in sent}:
            named = {"method": "GET", "url_path": path}
            cells = project.table("distribution", start_date=(NOW - timedelta(days=30)).isoformat(), **named)
            times = [each.ms for each in sent if each.path == path]
            assert sum(each["count"] for each in cells) == len(times)
            for each in cells:
                assert each["count"] == sum(each["from_ms"] <= ms <= each["to_ms"] for ms in times)


def test_past_the_last_number_the_rest_is_one_row(tracked: TrackedProject) -> None:
    for first in range(0, 1_200, 400):
        tracked.track_all([request(path=f"/p/{number}") for number in range(first, first + 400)])
    found = tracked.table("endpoints")
    assert len(found) == 1_001
    assert (found[0]["method"], found[0]["url_path"], found[0]["request_count"]) == (None, "(other)", 200)
    assert sum(each["count"] for each in tracked.table("distribution", url_path="(other)")) == 200
    series = tracked.ask("endpoints/time-series", granularity="day").json()["endpoints"]
    assert (series[0]["method"], series[0]["url_path"], sum(series[0]["request_counts"])) == (None, "(other)", 200)


def test_consumers_are_counted_once_a_range(tracked: TrackedProject) -> None:
    day = timedelta(days=1)
    seen = [(0, "a"), (0, "b"), (1, "a"), (1, "a"), (2, "c"), (0, None)]
    tracked.track_all([request(timestamp=(NOW - days * day).isoformat(), consumer=who) for days, who in seen])
    for since, until, expected in ((0, 0, 2), (1, 0, 2), (2, 0, 3), (1, 1, 1), (2, 2, 1)):
        found = tracked.summary(start_date=(NOW - since * day).isoformat(), end_date=(NOW - until * day).isoformat())
        assert found["distinct_consumers"] == expected, (since, until)


def test_what_clients_dropped_is_summed(product: Product, tracked: TrackedProject) -> None:
    assert tracked.summary()["dropped"] == 0
    rows(
        product.database,
        "INSERT INTO dropped_event SELECT project_id, kind, date_bin('15 minutes', now() - ago, 'epoch'), 5 "
        "  FROM project, (VALUES ('api_requests'), ('auth_events')) AS kinds (kind), "
        "       (VALUES (interval '0'), ('1 day')) AS ages (ago) WHERE project_key = %(key)s",
        {"key": tracked.key},
    )
    assert tracked.summary(start_date=(NOW - timedelta(minutes=1)).isoformat())["dropped"] == 5
    assert tracked.summary(start_date=(NOW - timedelta(days=2)).isoformat())["dropped"] == 10
