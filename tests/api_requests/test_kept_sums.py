"""Figures that are made of kept sums, against those of the same requests while more of them arrive."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.api_requests.latency import CELLS_OF_BAND, LATENCY_BOUNDS
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from statistics_api.api_requests.covers import Part, Period, cover
from statistics_api.api_requests.kept import Kept, Known
from statistics_api.api_requests.queries import endpoints, figures, series
from tests.api_requests.conftest import TrackedProject
from tests.api_requests.payloads import request
from tests.api_requests.test_metrics import MINUTE, NOW, Sent, assert_figures, within
from tests.database import dsn_of, rows
from tests.servers import Product

DAY = timedelta(days=1)
# The first and the last times of bands, and of the bands at 500 ms and 2 s, which an index of satisfaction divides.
LIMITS = [us / 1000 for bound in LATENCY_BOUNDS[CELLS_OF_BAND - 1 :: CELLS_OF_BAND] for us in (bound - 1, bound)]
TIMES = [*LIMITS, 499.999, 500, 500.001, 1999.999, 2000, 2000.001]
PATHS = ["/a", "/b/{id}", "/c"]
PERCENTS = (50, 95, 99)


def more_requests(random: Random, number: int) -> list[Sent]:
    """Some of the last three days, at edges of stored buckets and inside of them."""
    ages = [timedelta(0), 7 * MINUTE, 40 * MINUTE, DAY, DAY + 13 * MINUTE, 3 * DAY - MINUTE]
    return [
        Sent(
            NOW - random.choice([*ages, random.uniform(0, 1) * 3 * DAY]),
            random.choice([random.choice(TIMES), round(min(random.lognormvariate(4, 2), 3_600_000), 3)]),
            random.choice([200, 404, 500]),
            random.choice(PATHS),
        )
        for _ in range(number)
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_figures_are_those_of_now_however_often_they_were_read(tracked: TrackedProject, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - requests of a test
    sent: list[Sent] = []
    ranges = [(NOW - 4 * DAY, NOW), (NOW - 2 * DAY - 7 * MINUTE, NOW - 20 * MINUTE), (NOW - 50 * MINUTE, NOW)]
    for number in (0, 1, 2, 60, 1, 300, 1, 0):
        new = more_requests(random, number)
        sent += new
        if new:
            tracked.track_all([each.body() for each in new])
        for start, last in ranges:
            ends = {"start_date": start.isoformat(), "end_date": last.isoformat()}
            assert_figures(tracked.summary(**ends), within(sent, start, last))
        for each in tracked.table("endpoints", start_date=(NOW - 5 * DAY).isoformat()):
            assert_figures(each, [one for one in sent if one.path == each["url_path"]])
        for granularity, days in (("minute", 1), ("hour", 3), ("day", 3)):
            assert_points(tracked, sent, granularity, NOW - days * DAY)


def assert_points(tracked: TrackedProject, sent: list[Sent], granularity: str, start: datetime) -> None:
    points = tracked.table(
        "time-series", granularity=granularity, start_date=start.isoformat(), end_date=NOW.isoformat()
    )
    edges = [*(datetime.fromisoformat(each["timestamp"]) for each in points), datetime.max.replace(tzinfo=UTC)]
    for point, (first, end) in zip(points, pairwise(edges), strict=True):
        times = sorted(each.ms for each in sent if first <= each.at < end)
        assert point["request_count"] == len(times)
        for percent in PERCENTS if times else ():
            exact = times[ceil(percent * len(times) / 100) - 1]
            assert abs(point[f"p{percent}_ms"] - exact) <= 0.01 * exact + 1e-9


@pytest.fixture(scope="module")
def lease(product: Product) -> Iterator[Lease]:
    reader = Database(dsn_of(product.database.reader_env), connections_max=1, wait_seconds_max=5.0, read_only=True)
    yield Lease(reader)
    reader.close()


def test_what_has_not_changed_is_not_read_again(product: Product, tracked: TrackedProject, lease: Lease) -> None:
    """Rows that change without a request do not change what is kept; one request more has its part read again."""
    tracked.track_all([request(at, timestamp=(NOW - at * DAY).isoformat()) for at in (1, 2)])
    [(project_id,)] = rows(
        product.database, "SELECT project_id FROM project WHERE project_key = %(key)s", {"key": tracked.key}
    )
    assert isinstance(project_id, int)
    kept = Kept(1_000)
    today = NOW.replace(hour=0, minute=0)
    parts = cover(today - 3 * DAY, NOW + MINUTE, Period.QUARTER_HOUR)
    minutes = [today - DAY + number * MINUTE for number in range(1441)]

    def errors() -> list[int]:
        points = series(lease, kept, project_id, Part(Period.MINUTE, minutes[0], minutes[-1]), minutes)
        return [
            figures(lease, kept, project_id, parts).errors,
            sum(each.figures.errors for each in endpoints(lease, kept, project_id, parts)),
            sum(each.error_count for each in points.values()),
        ]

    assert errors() == [0, 0, 0]
    for table in ("minute", "day", "endpoint_day"):
        rows(
            product.database,
            f"UPDATE api_request_{table} SET client_error_sum = 10 WHERE project_id = %(project)s",  # noqa: S608
            {"project": project_id},
        )
    assert errors() == [0, 0, 0]
    tracked.track(request(status=404, timestamp=(NOW - DAY).isoformat()))
    assert errors() == [21, 21, 11]


def test_a_part_that_changes_between_two_readings_is_read_with_the_others(
    tracked: TrackedProject, product: Product, lease: Lease
) -> None:
    [(project_id,)] = rows(
        product.database, "SELECT project_id FROM project WHERE project_key = %(key)s", {"key": tracked.key}
    )
    assert isinstance(project_id, int)
    kept = Kept(1_000)
    today = NOW.replace(hour=0, minute=0)
    parts = cover(today - 2 * DAY, NOW + MINUTE, Period.MINUTE)
    for number in range(1, 4):
        tracked.track_all([request(timestamp=(NOW - ago * DAY).isoformat()) for ago in (0, 1)])
        assert figures(lease, kept, project_id, parts).requests == 2 * number


KEYS = st.integers(0, 9)


@given(st.lists(st.tuples(KEYS, st.integers(0, 12))))
def test_what_is_kept_is_the_last_and_never_more_than_its_size(puts: list[tuple[int, int]]) -> None:
    kept = Kept(10)
    for number, (key, size) in enumerate(puts):
        kept.put(key, Known(str(number), number, size))
        found = kept.get(key)
        assert found == (Known(str(number), number, size) if size <= 10 else None)
        held = [known for known in map(kept.get, range(10)) if known is not None]
        assert sum(known.size for known in held) <= 10


def test_what_was_used_last_stays() -> None:
    kept = Kept(2)
    for key in (1, 2):
        kept.put(key, Known("", key, 1))
    assert kept.get(1) is not None
    kept.put(3, Known("", 3, 1))
    assert [key for key in (1, 2, 3) if kept.get(key)] == [1, 3]
