"""Groups of events, as rollups count them."""

from collections import Counter
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from device_registration_api.events.rows import Rows
from servicekit.database.copy_encoding import Repeated


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
        counted.update(zip(rows.project_ids, groups, map(minute_of, rows.received_at), strict=True))
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
        return list(map(minute_of, rows.happened_at()))
    return Repeated(minute, len(rows), {position: minute_of(at) for position, at in rows.occurred_at.items()})


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
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def quarter_hour_of(at: datetime) -> datetime:
    """Return the beginning of the quarter of an hour (UTC) that an instant is in."""
    minute = minute_of(at)
    return minute.replace(minute=minute.minute - minute.minute % 15)


def day_of(at: datetime) -> datetime:
    """Return the beginning of the day (UTC) that an instant is in."""
    return minute_of(at).replace(hour=0, minute=0)
