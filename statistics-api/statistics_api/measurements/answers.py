"""Answers about measurements: exact numbers are rounded here, once, to the nearest double."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from fastapi import Response
from pydantic_core import to_json

from contract.measurements.analysis import AxisPoint, PeriodDraft
from contract.measurements.events import AXES
from statistics_api.measurements.queries import Axis, Group
from statistics_api.measurements.reader import Analysed
from statistics_api.time_series.formats import csv_series, json_series, local_times
from statistics_api.time_series.ranges import Range

_POINT = tuple(AxisPoint.model_fields)


def nearest(exact: Decimal | Fraction) -> float:
    """Return the nearest double; beyond the range of doubles it is the greatest or the least one."""
    largest = sys.float_info.max
    return min(max(float(exact), -largest), largest) if isinstance(exact, Decimal) else _nearest_quotient(exact)


def analysis(group: Group, asked: PeriodDraft, raw_since: datetime | None) -> dict[str, Any]:
    """Return the fields of contract.measurements.analysis.Analysis."""
    fields: dict[str, Any] = {
        name: _figures(axis, group.event_count, is_whole=group.kept == group.event_count)
        for name, axis in zip(AXES, group.axes, strict=True)
    }
    fields |= {"period_start": asked.start_time, "period_end": asked.end_time}
    return fields if group.kept == group.event_count else fields | {"raw_since": raw_since}


def user_analysis(user_id: UUID, analysed: Analysed, asked: PeriodDraft) -> dict[str, Any]:
    """Return the fields of contract.measurements.analysis.UserAnalysis. There is at least one group."""

    def fields(group: Group) -> dict[str, Any]:
        return analysis(group, asked, analysed.raw_since(group))

    return {
        "user_id": user_id,
        # Of one device alone there is no other group.
        "aggregate_stats": fields(analysed.groups[0]),
        "device_stats": [
            {"device_id": group.device_id, "stats": fields(group)}
            for group in analysed.groups
            if group.device_number is not None
        ],
    }


def series(asked: Range, found: Mapping[int, tuple[int, tuple[Axis, ...]]], *, as_csv: bool) -> Response:
    """Return a series as JSON (contract.measurements.analysis.Series), or as CSV with one line a bucket."""
    times = local_times(asked.edges, asked.zone)
    rows = points(times[:-1], found)
    if as_csv:
        header = ["start", *(f"{axis}_{name}" for axis in AXES for name in _POINT)]
        return csv_series(header, rows, name="measurements.csv")
    width = len(_POINT)
    fields = {
        "interval": asked.interval,
        "timezone": asked.zone.key,
        "from": times[0],
        "to": times[-1],
        "points": [
            {"start": row[0]}
            | {axis: dict(zip(_POINT, row[1 + place * width :], strict=False)) for place, axis in enumerate(AXES)}
            for row in rows
        ],
    }
    return json_series(to_json(fields))


def points(starts: Sequence[str], found: Mapping[int, tuple[int, tuple[Axis, ...]]]) -> list[list[Any]]:
    """Return a row for each bucket: its start, then the values of each axis, as AxisPoint has them."""
    nothing = [None, None, None, None, 0] * len(AXES)
    return [
        [start, *(_of_bucket(*found[number]) if number in found else nothing)] for number, start in enumerate(starts)
    ]


def _nearest_quotient(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:  # a mean is between two doubles
        return sys.float_info.max if exact > 0 else -sys.float_info.max


def _of_bucket(count: int, axes: Sequence[Axis]) -> list[Any]:
    return [
        value
        for axis in axes
        for value in (axis.min, axis.max, nearest(Fraction(axis.sum) / count), nearest(axis.sum), count)
    ]


def _figures(axis: Axis, count: int, *, is_whole: bool) -> dict[str, Any]:
    return {
        "min_value": axis.min,
        "max_value": axis.max,
        "count": count,
        "sum": nearest(axis.sum),
        "median": nearest(axis.median) if is_whole and axis.median is not None else None,
    }
