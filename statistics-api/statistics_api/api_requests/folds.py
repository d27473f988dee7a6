"""Reads the sums of parts of ranges, and keeps them as long as they are those of the database.

What is kept has a state: the number of requests of the part, and the sum of their times. Requests are only ever added
to rollups, and all rollups grow in one transaction, so sums whose state is the same have not changed. A state costs
little: it is read from the buckets of the whole project, without their cells. It names the server's start, too: after a
failover or a restore other requests may add up to the same.
"""

from array import array
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, LiteralString, NamedTuple

from contract.api_requests.latency import CELLS
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from statistics_api.api_requests.covers import Part, Period, aligned
from statistics_api.api_requests.kept import Kept, Known
from statistics_api.api_requests.sums import BandSums

OF_PROJECT: Mapping[Period, LiteralString] = {
    Period.MINUTE: "stats.api_request_minute",
    Period.QUARTER_HOUR: "stats.api_request_quarter_hour",
    Period.DAY: "stats.api_request_day",
}
OF_ENDPOINTS: Mapping[Period, LiteralString] = {
    Period.QUARTER_HOUR: "stats.api_request_endpoint_quarter_hour",
    Period.DAY: "stats.api_request_endpoint_day",
}
# The sums and the cells of a band.
SUMS: LiteralString = """
               stats.total(event_count) AS requests, stats.total(client_error_sum) AS client_errors,
               stats.total(server_error_sum) AS server_errors, sum(response_us_sum) AS us_sum,
               min(response_us_min) AS us_min, max(response_us_max) AS us_max"""
SUMS_OF_CELLS: LiteralString = ", ".join(
    [f"coalesce(stats.total(cell_{number}), 0) AS cell_{number}" for number in CELLS]
)
# A range has at most five parts.
_PLACES: tuple[LiteralString, ...] = ("0", "1", "2", "3", "4")
_STATE_PLACES: tuple[LiteralString, ...] = ("state_0", "state_1", "state_2", "state_3", "state_4")
# The columns of `_bands`: a part, a group, a band, six sums, and cells.
_COLUMNS = 9 + len(CELLS)
_NOTHING_MORE: Mapping[str, object] = MappingProxyType({})


class Grouping(NamedTuple):
    """What a row of sums is of: the views that are read, and the expression whose values are the groups.

    `by_days`: the state of a part is that of its whole days, which are few rows. Then any request of these days has the
    part read again, which must cost little.
    """

    views: Mapping[Period, LiteralString]
    group: LiteralString
    by_days: bool


class Reading(NamedTuple):
    """The bands of each part, the states of all, and what was read beside them in the same moment."""

    folds: Sequence[Sequence[BandSums]]
    state: str
    beside: tuple[Any, ...]


def read_folds(
    lease: Lease,
    kept: Kept,
    grouping: Grouping,
    project_id: int,
    parts: Sequence[Part],
    beside: LiteralString | None = None,
    more: Mapping[str, object] = _NOTHING_MORE,
) -> Reading:
    """Return the bands of parts of a project, all of one moment; those that are kept are not read again.

    `beside` is a statement of one row that is read in the same moment, with the parameters `more`.
    """
    counted = [Part(Period.DAY, *aligned(part.start, part.end, Period.DAY)) for part in parts]
    counted = counted if grouping.by_days else list(parts)
    parameters = {**_ends(_PLACES, parts), **state_parameters(project_id, counted), **more}
    keys = [(project_id, grouping.group, part) for part in parts]
    known = [kept.get(key) for key in keys]
    unread = [each is None for each in known]
    while True:
        statement = _statement(grouping, parts, unread, counted, beside)
        with lease.transaction() as conn:
            found = fetch_all(conn, statement, parameters, _row)
        states = found[0][0].split(" ")
        # What has changed is read in the next turn, together with all states again: no answer is of two moments.
        stale = [each is not None and each.state != state for each, state in zip(known, states, strict=True)]
        if not any(stale):
            break
        known = [None if is_stale else each for each, is_stale in zip(known, stale, strict=True)]
        unread = [each is None for each in known]
    width = _COLUMNS if any(unread) else 0
    folds: list[list[BandSums]] = [[] for _ in parts]
    for row in found if width else ():
        if row[1] is not None:  # without requests there is one row, of no part
            folds[row[1]].append(_sums(*row[2 : 1 + width]))
    for key, state, fold, is_unread in zip(keys, states, folds, unread, strict=True):
        if is_unread:
            kept.put(key, Known(state, fold, len(fold)))
    read = [fold if each is None else each.value for each, fold in zip(known, folds, strict=True)]
    return Reading(read, found[0][0], found[0][1 + width :])


def state_of(parts: Sequence[Part]) -> LiteralString:
    """Return a statement with one row: the state of each part, with spaces between them."""
    counted: LiteralString = " UNION ALL ".join(
        [
            f"""
        SELECT '{place}' AS part,
               coalesce(stats.total(event_count), 0) || ':' || coalesce(sum(response_us_sum), 0)
                   || ':' || extract(epoch FROM pg_postmaster_start_time()) AS state
          FROM {within(OF_PROJECT[part.period], place)}
            """  # noqa: S608 - of constants of this file
            for place, part in zip(_STATE_PLACES, parts, strict=False)
        ]
    )
    return f"SELECT string_agg(state, ' ' ORDER BY part) AS state FROM ({counted}) AS counted"  # noqa: S608


def within(view: LiteralString, place: LiteralString) -> LiteralString:
    """Return FROM and WHERE: the rows of a view in the part with this place."""
    return f"""{view}
         WHERE project_id = %(project_id)s
           AND bucket_start >= %(start_{place})s
           AND bucket_start < %(end_{place})s"""


def state_parameters(project_id: int, parts: Sequence[Part]) -> dict[str, object]:
    """Return the parameters of `state_of`."""
    return {"project_id": project_id, **_ends(_STATE_PLACES, parts)}


def _ends(places: Sequence[LiteralString], parts: Sequence[Part]) -> dict[str, object]:
    """Return the parameters of `within` of each part."""
    return {
        name: instant
        for place, part in zip(places, parts, strict=False)
        for name, instant in ((f"start_{place}", part.start), (f"end_{place}", part.end))
    }


def _statement(
    grouping: Grouping,
    parts: Sequence[Part],
    unread: Sequence[bool],
    counted: Sequence[Part],
    beside: LiteralString | None,
) -> LiteralString:
    """Return a statement whose rows have the state of all parts, a band of an unread part, and `beside`."""
    # Each part is grouped on its own: of a union, the planner takes the number of groups for ten times what it is.
    bands: LiteralString = " UNION ALL ".join(
        [
            f"""
        (SELECT {place} AS part, {grouping.group} AS grouped_by, latency_band, {SUMS}, {SUMS_OF_CELLS}
          FROM {within(grouping.views[part.period], place)}
         GROUP BY grouped_by, latency_band)
            """  # noqa: S608 - of constants of this file
            for place, part, is_unread in zip(_PLACES, parts, unread, strict=False)
            if is_unread
        ]
    )
    columns: LiteralString = "counted.state" + (", bands.*" if bands else "") + (", beside.*" if beside else "")
    source: LiteralString = f"({state_of(counted)}) AS counted" + (
        f" CROSS JOIN ({beside}) AS beside" if beside else ""
    )
    joined: LiteralString = f" LEFT JOIN ({bands}) AS bands ON true" if bands else ""
    return f"SELECT {columns} FROM {source}{joined}"  # noqa: S608 - of constants of this file


def _row(*columns: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as the statement lists them
    return columns


def _sums(group: Any, number: int, *counts: int) -> BandSums:  # noqa: ANN401 - as the statement groups
    requests, client_errors, server_errors, us_sum, us_min, us_max, *cells = counts
    return BandSums(
        group, number, requests, client_errors, server_errors, int(us_sum), us_min, us_max, array("q", cells)
    )
