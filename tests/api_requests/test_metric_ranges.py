"""The ranges of figures, their forms and their refusals."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import httpx2
import pytest

from tests.access.conftest import make_key
from tests.api_requests.conftest import TrackedProject
from tests.api_requests.payloads import request
from tests.database import rows
from tests.servers import Product

METRICS = ["", "summary", "endpoints", "endpoints/time-series", "distribution", "time-series"]


@pytest.fixture(scope="module")
def shared(new_project: Callable[[], TrackedProject]) -> TrackedProject:
    """A project with a few requests, of now."""
    project = new_project()
    project.track_all([request(number + 0.5, 200 + number, consumer="=app") for number in range(5)])
    return project


def starts(project: TrackedProject, **parameters: str) -> list[str]:
    return [each["timestamp"] for each in project.table("time-series", **parameters)]


def test_hours_follow_the_zone_when_clocks_change(shared: TrackedProject) -> None:
    berlin = {"granularity": "hour", "timezone": "Europe/Berlin"}
    spring = starts(shared, start_date="2026-03-28T23:00:00Z", end_date="2026-03-29T21:59:59.999Z", **berlin)
    assert len(spring) == 23
    assert not any("T02" in each for each in spring)
    autumn = shared.table(
        "time-series", start_date="2026-10-24T22:00:00Z", end_date="2026-10-25T22:59:59.999Z", **berlin
    )
    assert len(autumn) == 25
    twice = [each["timestamp"] for each in autumn if "T02" in each["timestamp"]]
    assert [each[-6:] for each in twice] == ["+02:00", "+01:00"]
    assert {each["request_count"] for each in autumn} == {0}
    assert {each["avg_response_time_ms"] for each in autumn} == {None}


def test_a_series_has_no_gaps_and_the_sum_of_the_summary(shared: TrackedProject) -> None:
    # Two whole days, for the requests may be of yesterday by now.
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    days = {"start_date": start.isoformat(), "end_date": (start + timedelta(days=2, microseconds=-1)).isoformat()}
    for granularity, width in (("minute", 60), ("hour", 3600), ("day", 86_400)):
        points = shared.table("time-series", granularity=granularity, **days)
        moments = [datetime.fromisoformat(each["timestamp"]) for each in points]
        assert {(after - before).total_seconds() for before, after in pairwise(moments)} <= {width}
        assert len(points) == 2 * 86_400 // width
        assert sum(each["request_count"] for each in points) == 5
        assert sum(each["error_count"] for each in points) == 0
        [busiest] = [each for each in points if each["request_count"] == 5] or [points[0]]
        if busiest["request_count"]:  # the minute may have changed between two requests
            assert (busiest["avg_response_time_ms"], busiest["p99_ms"]) == (2.5, 4.5)


def test_without_a_range_it_is_today_in_the_zone_of_the_project(
    product: Product, new_project: Callable[[], TrackedProject]
) -> None:
    for zone in ("Pacific/Kiritimati", "America/St_Johns"):
        project = new_project()
        rows(
            product.database,
            "UPDATE project SET timezone = %(zone)s WHERE project_key = %(key)s",
            {"zone": zone, "key": project.key},
        )
        before = datetime.now(ZoneInfo(zone)).date()
        found = starts(project, granularity="hour")
        [shown] = {datetime.fromisoformat(each).astimezone(ZoneInfo(zone)).date() for each in found}
        assert before <= shown <= datetime.now(ZoneInfo(zone)).date()
        assert len(starts(project, granularity="day", timezone="Asia/Tokyo")) == 1


def test_both_ends_are_included(shared: TrackedProject) -> None:
    assert starts(shared, granularity="day", start_date="2026-11-01T00:00:00Z", end_date="2026-11-02T00:00:00Z") == [
        "2026-11-01T00:00:00Z",
        "2026-11-02T00:00:00Z",
    ]
    assert (
        len(starts(shared, granularity="day", start_date="2026-11-01T00:00:00Z", end_date="2026-11-01T23:59:59Z")) == 1
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("start_date=yesterday", "start_date"),
        ("start_date=2026-11-30T00:00:00", "start_date"),
        ("start_date=2026-11-30", "start_date"),
        ("end_date=1969-01-01T00:00:00Z", "end_date"),
        ("start_date=2026-11-02T00:00:00Z&end_date=2026-11-01T00:00:00Z", "start_date"),
        ("from=2026-11-02T00:00:00Z", "from"),
        ("end_date=2026-11-02T00:00:00Z&end_date=2026-11-02T00:00:00Z", "end_date"),
        ("format=xml", "format"),
    ],
)
def test_a_refusal_names_the_parameter(shared: TrackedProject, metric: str, query: str, field: str) -> None:
    answer = shared.http.get(f"{shared.path(metric)}?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert answer.json()["error"] == answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("granularity=month", 422),
        ("timezone=Mars", 422),
        ("start_date=2026-01-01T00:00:00Z", 400),  # minutes, far back
        ("granularity=hour&start_date=2024-01-01T00:00:00Z", 400),  # more than 10,000 points
        ("granularity=day&start_date=2000-01-01T00:00:00Z", 200),
    ],
)
def test_a_series_that_cannot_be_is_refused_with_a_hint(shared: TrackedProject, query: str, status: int) -> None:
    answer = shared.http.get(f"{shared.path('time-series')}?{query}")
    assert answer.status_code == status
    if status == httpx2.codes.BAD_REQUEST:
        assert "hour" in answer.json()["detail"]


def test_the_series_of_endpoints_has_a_column_for_each_bucket_as_csv(shared: TrackedProject) -> None:
    found = shared.ask("endpoints/time-series", granularity="hour").json()
    lines = shared.ask("endpoints/time-series", granularity="hour", format="csv").text
    [line] = csv.DictReader(io.StringIO(lines))
    [endpoint] = found["endpoints"]
    named = {"method": endpoint["method"], "url_path": endpoint["url_path"]}
    counts = map(str, endpoint["request_counts"])
    assert line == named | dict(zip(found["timestamps"], counts, strict=True))
    assert sum(endpoint["request_counts"]) == 5


@pytest.mark.parametrize(
    ("metric", "parameters", "status", "field"),
    [
        ("endpoints/time-series", {"granularity": "minute"}, 422, "granularity"),
        ("endpoints/time-series", {"granularity": "hour", "start_date": "2026-01-01T00:00:00Z"}, 400, None),
        ("distribution", {"method": "GET"}, 422, "url_path"),
        ("distribution", {"url_path": "/orders"}, 422, "method"),
    ],
)
def test_what_endpoints_are_not_asked_for_is_refused(
    shared: TrackedProject, metric: str, parameters: dict[str, str], status: int, field: str | None
) -> None:
    answer = shared.ask(metric, **parameters)
    assert answer.status_code == status
    if field is not None:
        assert [each["field"] for each in answer.json()["errors"]] == [field]


def test_an_endpoint_that_nobody_knows_has_an_empty_distribution(shared: TrackedProject) -> None:
    assert shared.table("distribution", method="GET", url_path="/nowhere") == []


@pytest.mark.parametrize("metric", [each for each in METRICS if each != "endpoints/time-series"])
def test_every_answer_is_also_csv_and_has_a_tag(shared: TrackedProject, metric: str) -> None:
    ends = {"start_date": "2026-11-01T00:00:00Z", "end_date": "2026-11-02T00:00:00Z"}
    path = shared.path(metric) if metric else shared.path("")
    parameters = {"granularity": "hour"} if metric == "time-series" else {}
    found = shared.http.get(path, params=parameters | ends)
    lines = shared.http.get(path, params=parameters | ends, headers={"Accept": "text/csv"})
    assert lines.headers["content-type"].startswith("text/csv")
    assert lines.content == shared.http.get(path, params=parameters | ends | {"format": "csv"}).content
    objects = found.json() if isinstance(found.json(), list) else [found.json()]
    parsed = list(csv.DictReader(io.StringIO(lines.text)))
    assert len(parsed) == len(objects)
    for line, each in zip(parsed, objects, strict=True):
        assert line == {name: "" if value is None else str(value) for name, value in each.items()}
    for answer in (found, lines):
        again = shared.http.get(
            answer.request.url,
            headers={"If-None-Match": answer.headers["etag"]} | {"Accept": answer.request.headers["accept"]},
        )
        assert (again.status_code, again.content) == (304, b"")
        assert {"Accept", "X-API-Key"} <= {each.strip() for each in answer.headers["vary"].split(",")}
    assert found.headers["etag"] != lines.headers["etag"]


@pytest.mark.parametrize("metric", METRICS)
def test_figures_are_only_for_a_key_of_the_project_that_may_read(
    product: Product, shared: TrackedProject, new_project: Callable[[], TrackedProject], metric: str
) -> None:
    other = new_project()
    sender = make_key(product, shared.key, "ingest")
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        for headers, expected in (
            ({}, (401, "not-authenticated")),
            ({"X-API-Key": "ds_live_x"}, (401, "not-authenticated")),
            ({"X-API-Key": sender}, (403, "forbidden")),
            ({"X-API-Key": other.api_key}, (404, "not-found")),
        ):
            answer = client.get(shared.path(metric), headers=headers)
            assert (answer.status_code, answer.json()["code"]) == expected
            assert answer.json()["error"] == answer.json()["detail"]
        foreign = client.get(shared.path(metric), headers={"X-API-Key": other.api_key}).json()
        for unknown in ("nothing-here", "x" * 5_000, "a%2Fb", "%27%20OR%201", "DEFAULT"):
            path = f"/api/v1/projects/{unknown}/metrics/{metric}"
            answer = client.get(path, headers={"X-API-Key": other.api_key})
            assert (answer.status_code, answer.json()) == (404, foreign)
        assert client.get(
            shared.path(metric) + ("/" if metric else ""), headers={"X-API-Key": shared.api_key}
        ).is_success


def test_a_minute_far_back_is_part_of_a_quarter_of_an_hour(product: Product, tracked: TrackedProject) -> None:
    """Minutes are kept for 35 days, and quarters of an hour for ever."""
    tracked.track_all([request(timestamp=(datetime.now(UTC) - timedelta(days=1)).isoformat()) for _ in range(3)])
    for table in ("quarter_hour", "day", "minute"):
        rows(
            product.database,
            f"UPDATE api_request_{table} AS r SET bucket_start = bucket_start - interval '60 days' "  # noqa: S608 - names of ours
            "  FROM project AS p WHERE p.project_id = r.project_id AND p.project_key = %(key)s",
            {"key": tracked.key},
        )
    rows(product.database, "DELETE FROM api_request_minute WHERE bucket_start < now() - interval '35 days'")
    then = datetime.now(UTC) - timedelta(days=61)
    found = tracked.summary(start_date=then.isoformat(), end_date=(then + timedelta(seconds=1)).isoformat())
    assert found["request_count"] == 3
    assert tracked.summary(start_date=(then - timedelta(days=1)).isoformat())["request_count"] == 3
    assert tracked.summary(start_date=(then + timedelta(minutes=16)).isoformat())["request_count"] == 0
