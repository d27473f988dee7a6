"""How many different users a range of days had: how clients ask for it and are answered, for every kind of event."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from fastapi import Request

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from servicekit.errors import NotFound
from statistics_api.time_series.days import DayRangeParameters

RANGE = DayRangeParameters()

ZONE = "SELECT timezone FROM stats.project WHERE project_id = %(project_id)s"


class Users(NamedTuple):
    """How many different users there were, and how many of them had no event before."""

    distinct: int
    new: int


class Days(NamedTuple):
    """A range of days in the time zone of a project, both included."""

    first: date
    last: date
    zone: ZoneInfo

    @property
    def start(self) -> datetime:
        """When the first day begins."""
        return _start(self.first, self.zone)

    @property
    def end(self) -> datetime:
        """When the last day ends."""
        return _start(self.last + timedelta(days=1), self.zone)

    def answer(self, users: Users) -> dict[str, object]:
        """Return the answer, as `UserNumbers` has it."""
        return {
            "from": self.first,
            "to": self.last,
            "timezone": self.zone.key,
            "distinct": users.distinct,
            "new": users.new,
            "returning": users.distinct - users.new,
        }


class AskedDays(NamedTuple):
    """The days that a request asks for, before the zone of its project is known; `now` is when the present minute
    began. Equal questions share a query.
    """

    parameters: frozenset[tuple[str, str]]
    now: datetime

    @classmethod
    def of(cls, request: Request, now: datetime) -> Self:
        """Return what the parameters of a request say."""
        parameters = request.query_params
        asked = frozenset((name, parameters[name]) for name in (RANGE.start, RANGE.end) if name in parameters)
        return cls(asked, now)

    def read(self, lease: Lease, project_id: int) -> Days:
        """Return the days in the zone of the project.

        Raises:
            Invalid: a parameter is malformed, or the first day is after the last.
            NotFound: there is no such project any more.
        """
        zone = zone_of(lease, project_id)
        if zone is None:
            raise NotFound("the project was deleted")
        return Days(*RANGE.read(dict(self.parameters), self.now, ZoneInfo(zone)), ZoneInfo(zone))


def zone_of(lease: Lease, project_id: int) -> str | None:
    """Return the name of a project's time zone; None if there is no such project."""
    with lease.transaction() as conn:
        return next(iter(fetch_all(conn, ZONE, {"project_id": project_id}, str)), None)


def _start(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
