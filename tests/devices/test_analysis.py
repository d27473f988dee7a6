"""Figures of measurements are exact: Python's fractions and its statistics have the same ones, whatever was sent."""

from __future__ import annotations

import asyncio
import statistics
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import execute
from servicekit.errors import Overloaded
from statistics_api.measurements import queries
from statistics_api.measurements.periods import Period
from statistics_api.measurements.queries import Chosen
from statistics_api.measurements.reader import LARGE_ANALYSES_MAX, MeasurementReader
from statistics_api.settings import Settings
from tests.database import assert_counts_are_exact, rows
from tests.devices.conftest import Fleet, assert_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.servers import Product, StartProduct

AXES = ("x", "y", "z")
SHARED_SCANS = """
    SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
    SET min_parallel_index_scan_size = 0
"""
NOTHING = "No statistics found for the specified period"
LARGEST = sys.float_info.max
NOW = datetime.now(UTC).replace(microsecond=0)

values = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.1, -0.2, 1e23, 5e-324, LARGEST, -LARGEST]
)
# Three values, how many seconds ago, and which of two processes gets them.
readings = st.tuples(st.tuples(values, values, values), st.integers(0, 9_000), st.integers(0, 1))
seconds_ago = st.none() | st.integers(-100, 9_100)


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Iterator[Product]:
    """Two processes of each service, which write to different slots. After the tests, every count is exact."""
    product = start_product(publics=2, privates=2)
    yield product
    assert_counts_are_exact(product)


@pytest.fixture(scope="module")
def shared(new_fleet: Callable[[], Fleet]) -> Fleet:
    """A project for all examples."""
    return new_fleet()


def nearest(exact: Fraction) -> float:
    return LARGEST if exact > LARGEST else -LARGEST if exact < -LARGEST else float(exact)


def texts(fleet: Fleet, number: int, start: datetime | None, end: datetime | None) -> list[tuple[Fraction, ...]]:
    """The decimal values of a device that are stored."""
    found = rows(
        fleet.product.database,
        """
        SELECT x::text, y::text, z::text FROM measurement
         WHERE device_number = %(number)s
           AND (%(start)s::timestamptz IS NULL OR occurred_at >= %(start)s)
           AND (%(end)s::timestamptz IS NULL OR occurred_at <= %(end)s)
        """,
        {"number": number, "start": start, "end": end},
    )
    return [tuple(map(Fraction, row)) for row in found]


def figures(stored: Sequence[tuple[Fraction, ...]]) -> dict[str, Any]:
    """What Python computes."""
    return {
        axis: {
            "min_value": nearest(min(column)),
            "max_value": nearest(max(column)),
            "count": len(column),
            "sum": nearest(sum(column, Fraction(0))),
            "median": nearest(statistics.median(column)),
        }
        for axis, column in zip(AXES, zip(*stored, strict=True), strict=True)
    }


def large(
    fleet: Fleet,
    number: int | None,
    period: Period,
    person: str | None = None,
    *,
    bracket: tuple[float | None, ...] | None = None,
) -> list[queries.Group]:
    """The groups of an analysis that sorts no more than two rows, and shares the scan of the first among processes.

    `bracket` is by default that of its look.
    """

    def work(lease: Lease) -> list[queries.Group]:
        chosen = Chosen(fleet.project_id, number, person)
        with lease.transaction() as conn:
            execute(conn, SHARED_SCANS, {})
        found = queries.look(lease, chosen, period, seconds_max=10, sorted_rows_max=2).bracket
        return queries.analysis(lease, chosen, period, bracket or found, seconds_max=10, sorted_rows_max=2)

    async def ask() -> list[queries.Group]:
        database = Database(dsn(fleet), connections_max=1, wait_seconds_max=5, read_only=True)
        try:
            return await database.run(work, 10)
        finally:
            database.close()

    return asyncio.run(ask())


def dsn(fleet: Fleet) -> str:
    """Where the public service reads."""
    known = {name.lower(): value for name, value in fleet.product.database.reader_env.items()}
    return Settings.model_validate(
        known | {"device_api_url": "http://localhost", "service_token": fleet.product.service_token}
    ).dsn("tests")


def send(fleet: Fleet, device_id: str, sent: Sequence[tuple[tuple[float, ...], int, int]]) -> None:
    for instance in (0, 1):
        items = [
            {**dict(zip(AXES, point, strict=True)), "timestamp": (NOW - timedelta(seconds=ago)).isoformat()}
            for point, ago, chosen in sent
            if chosen == instance
        ]
        if items:
            url = fleet.product.publics[instance].url + fleet.path(device_id)
            fleet.http.post(f"{url}/batch", json=items).raise_for_status()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(readings, min_size=1, max_size=15), start_ago=seconds_ago, end_ago=seconds_ago)
def test_figures_are_those_of_fractions_in_any_order_and_slot(
    shared: Fleet, sent: list[Any], start_ago: int | None, end_ago: int | None
) -> None:
    device_id = str(uuid4())
    number = shared.create(device_id)["id"]
    send(shared, device_id, sent)
    assert shared.analyze(device_id).json() == {
        **figures(texts(shared, number, None, None)),
        "period_start": None,
        "period_end": None,
    }

    start, end = (None if ago is None else NOW - timedelta(seconds=ago) for ago in (start_ago, end_ago))
    if start is not None and end is not None and start > end:
        start, end = end, start
    period = {"start_time": start, "end_time": end}
    answer = shared.analyze(device_id, **{name: at.isoformat() for name, at in period.items() if at is not None})
    stored = texts(shared, number, start, end)
    if not stored:
        assert_problem(answer, 404, NOTHING)
        return
    expected = figures(stored)
    found = answer.json()
    assert {axis: found[axis] for axis in AXES} == expected
    assert [found["period_start"], found["period_end"]] == [
        None if at is None else at.isoformat().replace("+00:00", "Z") for at in (start, end)
    ]
    [group] = large(shared, number, Period.inclusive(start, end))
    for axis, of_axis in zip(AXES, group.axes, strict=True):
        assert of_axis.median is not None
        assert nearest(Fraction(of_axis.median)) == expected[axis]["median"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(readings, min_size=3, max_size=12), data=st.data())
def test_medians_are_exact_whatever_rows_the_bracket_was_made_of(
    shared: Fleet, sent: list[Any], data: st.DataObject
) -> None:
    """As when measurements arrive or leave between the two statements."""
    device_id = str(uuid4())
    number = shared.create(device_id)["id"]
    send(shared, device_id, sent)
    expected = figures(texts(shared, number, None, None))
    bracket: list[float | None] = []
    for place in range(len(AXES)):
        # Mostly values that are stored.
        end = st.sampled_from([point[place] for point, _, _ in sent]) | values
        low, high = sorted([data.draw(end), data.draw(end)])
        bracket += data.draw(st.sampled_from([(low, high, None), (low, high, low), (low, high, high), (None,) * 3]))
    [group] = large(shared, number, Period(None, None), bracket=tuple(bracket))
    found = [None if axis.median is None else nearest(Fraction(axis.median)) for axis in group.axes]
    assert found == [expected[axis]["median"] for axis in AXES]


@pytest.mark.parametrize(
    ("sent", "median"), [([1, 2, 3, 10], 2.5), (list(range(10)), 4.5), ([7], 7.0), ([-0.022, -0.0219], -0.02195)]
)
def test_the_median_of_an_even_count_is_the_mean_of_the_middle_two(
    fleet: Fleet, sent: list[float], median: float
) -> None:
    fleet.create("d")
    fleet.measure_all("d", [{"x": each, "y": 0, "z": 0} for each in sent])
    found = fleet.analyze("d").json()["x"]
    assert (found["median"], found["count"]) == (median, len(sent))


@pytest.mark.parametrize("spread", ["a-quarter", "one-instant", "days"])
def test_the_bracket_finds_the_same_median_as_a_sort(fleet: Fleet, spread: str) -> None:
    number = fleet.create("d")["id"]
    seconds = {"a-quarter": 0.3, "one-instant": 0, "days": 900}[spread]
    at = [NOW - timedelta(days=1) - timedelta(seconds=seconds * place) for place in range(2_000)]
    fleet.measure_all(
        "d",
        [
            {"x": place * 37 % 2_001, "y": place // 500, "z": -1e-300 * place, "timestamp": each.isoformat()}
            for place, each in enumerate(at)
        ],
    )
    [group] = large(fleet, number, Period(None, None))
    expected = figures(texts(fleet, number, None, None))
    assert [nearest(Fraction(axis.median or 0)) for axis in group.axes] == [expected[axis]["median"] for axis in AXES]
    assert (group.kept, group.event_count) == (2_000, 2_000)


def test_the_bracket_holds_whatever_share_of_the_rows_has_one_value(fleet: Fleet) -> None:
    count = 18_000
    random = Random(count)  # noqa: S311 - of a test

    def values(constant: float, share: float, *others: tuple[float, float]) -> list[float]:
        """So large a share has one value, the rest is spread over the others."""
        drawn = [random.uniform(*random.choice(others)) for _ in range(count - round(share * count))]
        return [*drawn, *[constant] * (count - len(drawn))]

    at = [(NOW - timedelta(hours=2) + timedelta(seconds=0.3 * place)).isoformat() for place in range(count)]
    for device_id, columns in {
        "one value": (values(-0.0, 1), values(2, 0.6, (1, 1), (3, 3)), values(1, 0.58, (0, 0))),
        "a large share": (values(0, 0.47, (1, 2)), values(5, 0.47, (1, 2)), values(7, 0.2, (0, 1), (8, 9))),
    }.items():
        for column in columns:
            random.shuffle(column)
        number = fleet.create(device_id)["id"]
        points = [{"x": x, "y": y, "z": z, "timestamp": each} for x, y, z, each in zip(*columns, at, strict=True)]
        for begun in (0, 9_000):
            fleet.measure_all(device_id, points[begun : begun + 9_000])
        expected = figures(texts(fleet, number, None, None))
        was_bracketed = []
        for _ in range(3):
            [group] = large(fleet, number, Period(None, None))
            for axis, found in zip(AXES, group.axes, strict=True):
                assert nearest(Fraction(found.median or 0)) == expected[axis]["median"]
            was_bracketed.append(group.is_bracketed)
        # The sample is drawn at random: once in some hundred times it misses, and all rows are sorted.
        assert was_bracketed.count(True) >= 2


def test_a_user_has_the_figures_of_all_devices_together_and_of_each(fleet: Fleet) -> None:
    user = fleet.person()
    numbers = {name: fleet.create(name, user_id=user)["id"] for name in ("a", "b", "silent")}
    fleet.create("other")
    for name, points in (("a", [1, 2, 3]), ("b", [10, 20]), ("other", [1_000])):
        fleet.measure_all(name, [{"x": each, "y": -each, "z": 0.1} for each in points])
    url = f"/api/v1/stats/users/{user}/analyze"

    found = fleet.http.post(url).json()

    assert found["user_id"] == user
    together = [row for name in ("a", "b") for row in texts(fleet, numbers[name], None, None)]
    assert {axis: found["aggregate_stats"][axis] for axis in AXES} == figures(together)
    assert [each["device_id"] for each in found["device_stats"]] == ["a", "b"]
    for each in found["device_stats"]:
        stored = texts(fleet, numbers[each["device_id"]], None, None)
        assert {axis: each["stats"][axis] for axis in AXES} == figures(stored)
    assert [group.device_id for group in large(fleet, None, Period(None, None), user)] == [None, "a", "b"]

    fleet.http.put("/api/v1/devices/b", json={"user_id": None}).raise_for_status()
    found = fleet.http.post(url, json={"end_time": "2099-01-01T00:00:00"}).json()
    assert found["aggregate_stats"] == found["device_stats"][0]["stats"]
    assert_problem(fleet.http.post(url, json={"end_time": "2020-01-01T00:00:00"}), 404, NOTHING)
    for unknown in (fleet.person(), "nobody"):
        assert_problem(fleet.http.post(f"/api/v1/stats/users/{unknown}/analyze"), 404, NOTHING)


@pytest.mark.parametrize(
    "body", ['{"start_time":"x"}', '{"start_time":1}', "[]", "{", '{"start_time":"2026-01-02","end_time":null}'],
    ids=["text", "number", "array", "syntax", "date"],
)  # fmt: skip
def test_a_malformed_period_is_refused(fleet: Fleet, body: str) -> None:
    fleet.create("d")
    assert fleet.http.post(f"{fleet.path('d')}/analyze", content=body).status_code == 422
    backwards = fleet.analyze("d", start_time="2026-11-30T10:00:00", end_time="2026-11-30T09:00:00")
    assert (backwards.status_code, backwards.json()["code"]) == (422, "invalid")


def test_where_rows_have_left_all_but_the_median_stays(fleet: Fleet) -> None:
    number = fleet.create("d")["id"]
    quarter = NOW.replace(minute=0, second=0) - timedelta(hours=5)
    times = [quarter + timedelta(minutes=minute) for minute in (1, 14, 16, 31)]
    fleet.measure_all("d", [{"x": n, "y": n, "z": n, "timestamp": at.isoformat()} for n, at in enumerate(times)])
    before = fleet.analyze("d").json()
    retire = """
        SELECT maintenance.add_to_retired(
               maintenance.known_fact_table('measurement'),
               format('DELETE FROM public.measurement WHERE device_number = %%L AND x = 1 RETURNING *', %(number)s))
    """
    assert rows(fleet.product.database, retire, {"number": number}) == [(1,)]

    after = fleet.analyze("d").json()

    since = (quarter + timedelta(minutes=15)).isoformat().replace("+00:00", "Z")
    assert after.pop("raw_since") == since
    for axis in AXES:
        assert before[axis].pop("median") == 1.5
        assert after[axis].pop("median") is None
    assert after == before
    # The quarter of an hour of an edge counts as a whole, because its rows are not all there.
    edge = fleet.analyze("d", start_time=times[1].isoformat()).json()
    assert (edge["x"]["count"], edge["x"]["median"], edge["raw_since"]) == (4, None, since)
    kept = fleet.analyze("d", start_time=since).json()
    assert (kept["x"]["count"], kept["x"]["median"]) == (2, 2.5)
    assert "raw_since" not in kept


async def test_only_so_many_large_analyses_of_a_project_run_at_once(fleet: Fleet) -> None:
    number = fleet.create("d")["id"]
    fleet.measure_all("d", [{"x": each, "y": 0, "z": 0} for each in range(5)])
    database = Database(dsn(fleet), connections_max=2, wait_seconds_max=5, read_only=True)
    chosen, period = Chosen(fleet.project_id, number), Period(None, None)
    few, many = MeasurementReader(database), MeasurementReader(database, sorted_rows_max=4)
    for reader in (few, many):
        with ExitStack() as running:
            for _ in range(LARGE_ANALYSES_MAX - 1):
                running.enter_context(reader.large_analysis(fleet.project_id))
            assert (await reader.analysis(chosen, period)).groups[0].axes[0].median == 2
            running.enter_context(reader.large_analysis(fleet.project_id))
            if reader is few:
                await reader.analysis(chosen, period)
                continue
            with pytest.raises(Overloaded, match="large analyses"):
                await reader.analysis(chosen, period)
            with reader.large_analysis(fleet.project_id + 1):
                pass
        assert (await reader.analysis(chosen, period)).groups[0].kept == 5
    database.close()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_a_series_has_the_figures_of_each_bucket_and_null_for_a_gap(fleet: Fleet, zone: str) -> None:
    number = fleet.create("d")["id"]
    start = NOW.replace(minute=0, second=0) - timedelta(hours=6)
    sent = [((0.1 * n, -n, LARGEST), minute) for n, minute in enumerate((0, 29, 31, 59, 60, 200, 201))]
    for point, minute in reversed(sent):
        at = (start + timedelta(minutes=minute)).isoformat()
        fleet.measure("d", {**dict(zip(AXES, point, strict=True)), "timestamp": at}).raise_for_status()
    asked = {"from": start.isoformat()[:-6], "to": (start + timedelta(hours=5)).isoformat(), "timezone": zone}

    found = fleet.http.get(f"{fleet.path('d')}/series", params=asked).json()

    edges = [datetime.fromisoformat(each["start"]) for each in found["points"]]
    edges.append(datetime.fromisoformat(found["to"]))
    assert len(edges) == (6 if zone == "UTC" else 7)
    for point, first, last in zip(found["points"], edges, edges[1:], strict=False):
        stored = texts(fleet, number, first, last - timedelta(microseconds=1))
        for place, axis in enumerate(AXES):
            column = [row[place] for row in stored]
            total = sum(column, Fraction(0))
            assert point[axis] == {
                "min": nearest(min(column)) if column else None,
                "max": nearest(max(column)) if column else None,
                "avg": nearest(total / len(column)) if column else None,
                "sum": nearest(total) if column else None,
                "count": len(column),
            }
    assert sum(point["x"]["count"] for point in found["points"]) == len(sent)
    assert [point["x"]["avg"] for point in found["points"]].count(None) > 0
    lines = fleet.http.get(f"{fleet.path('d')}/series", params=asked | {"format": "csv"}).text.split("\r\n")
    assert lines[0].startswith("start,x_min,x_max,x_avg,x_sum,x_count,y_min")
    assert len(lines) == len(edges) + 1


def test_a_series_that_cannot_be_is_refused(fleet: Fleet) -> None:
    fleet.create("d")
    for parameters, status in (
        ({"interval": "minute"}, 422),
        ({"timezone": "Mars"}, 422),
        ({"from": "2026-11-30T10:00:00", "to": "2026-11-30T09:00:00"}, 422),
        ({"from": "1990-01-01T00:00:00Z", "interval": "hour"}, 400),
    ):
        answer = fleet.http.get(f"{fleet.path('d')}/series", params=parameters)
        assert answer.status_code == status, parameters
