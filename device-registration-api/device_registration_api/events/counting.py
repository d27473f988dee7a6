"""Groups of events, as rollups count them."""

from collections import Counter
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from device_registration_api.events.rows import Rows
from servicekit.database.copy_encoding import Repeated

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_QUARTER_HOUR = timedelta(minutes=15)
_DAY = timedelta(days=1)


class PerMinute(NamedTuple):
    """How many events of one project and one group fell into one minute."""

    project_id: int
    group: Any
    bucket_start: datetime
    events: int


def per_minute(rows: Rows[Any], groups: Sequence[Hashable]) -> list[PerMinute]:
    """Count every row at `received_at`, then move the few rows that have an `occurred_at`.

    In the common case, all rows were received in one minute, and no Python code runs per row.
    """
    if not groups:
        return []
    counted: Counter[tuple[int, Any, datetime]] = Counter()
    minute = _only_minute(rows)
    if minute is not None:
        for (project_id, group), events in _by_project(rows, groups).items():
            counted[project_id, group, minute] = events
    else:
        counted.update(zip(rows.project_ids, groups, _minutes(rows.received_at), strict=True))
    for position, at in rows.occurred_at.items():
        counted[rows.project_ids[position], groups[position], minute_of(rows.received_at[position])] -= 1
        counted[rows.project_ids[position], groups[position], minute_of(at)] += 1
    return [PerMinute(*group, events) for group, events in counted.items() if events]


def minutes_of(rows: Rows[Any]) -> Sequence[datetime]:
    """Return the minute that each row counts in. In the common case all are one, and no Python code runs per row."""
    if not rows:
        return []
    minute = _only_minute(rows)
    if minute is None:
        minutes = _minutes(rows.received_at)
        for position, at in rows.occurred_at.items():
            minutes[position] = minute_of(at)
        return minutes
    return Repeated(minute, len(rows), {position: minute_of(at) for position, at in rows.occurred_at.items()})


def _minutes(times: Sequence[datetime]) -> list[datetime]:
    """Return the minute of each time. Times of one minute that follow each other have one object, with one hash."""
    begins = minute_of(times[0])
    ends = begins + _MINUTE
    minutes = []
    for at in times:
        if not begins <= at < ends:
            begins = minute_of(at)
            ends = begins + _MINUTE
        minutes.append(begins)
    return minutes


def _by_project(rows: Rows[Any], groups: Sequence[Hashable]) -> Counter[tuple[int, Any]]:
    if isinstance(rows.project_ids, Repeated):
        project_id = rows.project_ids.value
        return Counter({(project_id, group): events for group, events in Counter(groups).items()})
    return Counter(zip(rows.project_ids, groups, strict=True))


def _only_minute(rows: Rows[Any]) -> datetime | None:
    """Return the minute in which all rows were received, or None if there are several."""
    if isinstance(rows.received_at, Repeated):
        return minute_of(rows.received_at.value)
    earliest, latest = minute_of(min(rows.received_at)), minute_of(max(rows.received_at))
    return earliest if earliest == latest else None


def minute_of(at: datetime) -> datetime:
    """Return the beginning of the minute (UTC) that an instant is in."""
    return _begin(at, _MINUTE)


def quarter_hour_of(at: datetime) -> datetime:
    """Return the beginning of the quarter of an hour (UTC) that an instant is in."""
    return _begin(at, _QUARTER_HOUR)


def day_of(at: datetime) -> datetime:
    """Return the beginning of the day (UTC) that an instant is in."""
    return _begin(at, _DAY)


def _begin(at: datetime, length: timedelta) -> datetime:
    at = at.astimezone(UTC)
    return at - (at - _EPOCH) % length  # in a third of the time of `replace`
