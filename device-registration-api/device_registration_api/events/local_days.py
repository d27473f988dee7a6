"""The days of one time zone."""

from datetime import date, datetime, time, timedelta, tzinfo


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

    def _start(self, day: date) -> float:
        return datetime.combine(day, time(), self._zone).timestamp()
