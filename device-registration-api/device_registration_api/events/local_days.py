"""The days of one time zone."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo


class LocalDays:
    """Finds the day of an instant; the day that was found last is found again without the zone's rules. Used by several
    threads.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        # The first second of the day, that of the next one, and the day: replaced as a whole.
        self._last = (0.0, 0.0, date.min)

    def day_of(self, at: datetime) -> date:
        """Return the day of an instant in the zone."""
        timestamp = at.timestamp()
        begins, ends, day = self._last
        if begins <= timestamp < ends:
            return day
        day = at.astimezone(self._zone).date()
        self._last = (self._start(day), self._start(day + timedelta(days=1)), day)
        return day

    def starts(self, earliest: datetime, latest: datetime) -> tuple[date, list[datetime]]:
        """Return the day of the first instant, and when it and each day up to that of the last instant begin."""
        first, last = self.day_of(earliest), self.day_of(latest)
        days = (first + timedelta(days=number) for number in range((last - first).days + 1))
        return first, [datetime.fromtimestamp(self._start(day), UTC) for day in days]

    def _start(self, day: date) -> float:
        return datetime.combine(day, time(), self._zone).timestamp()
