"""Answers questions about store events; equal questions at the same time share one query."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from pydantic_core import to_json

from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import NotFound
from statistics_api.pages import Page
from statistics_api.polling.current_answers import CurrentAnswers
from statistics_api.polling.tagged_answers import TaggedAnswer
from statistics_api.store_events import queries
from statistics_api.time_series.users import AskedDays, zone_of

READ_SECONDS_MAX = 3.0


# Dataclasses, because two named tuples with the same values are equal: each question is a key of its answer.
@dataclass(frozen=True, slots=True)
class Amounts:
    """How many events each day had; of all types without one, and of a store that an operator named."""

    project_id: int
    type: str | None
    page: Page


@dataclass(frozen=True, slots=True)
class Averages:
    """How many events each user of a day had."""

    project_id: int
    type: str
    page: Page


@dataclass(frozen=True, slots=True)
class Types:
    """Which types of events there are."""

    project_id: int
    page: Page


@dataclass(frozen=True, slots=True)
class Users:
    """How many different users there were on these days."""

    project_id: int
    type: str | None
    days: AskedDays


Question: TypeAlias = Amounts | Averages | Types | Users


class StoreReader:
    """Reads the figures; one for each process, so that its requests share queries."""

    def __init__(self, database: Database) -> None:
        self.answers = CurrentAnswers[Question](database, _answer, seconds_max=READ_SECONDS_MAX)


def _answer(lease: Lease, question: Question) -> TaggedAnswer:
    answer: object
    if isinstance(question, Users):
        answer = _users(lease, question)
    elif isinstance(question, Types):
        answer = [{"type": each} for each in queries.types(lease, question.project_id, question.page)]
    else:
        answer = _days(lease, question)
    return TaggedAnswer(to_json(answer), question.project_id)


def _days(lease: Lease, question: Amounts | Averages) -> list[dict[str, object]]:
    found: Sequence[tuple[date, float]]
    if isinstance(question, Averages):
        name, found = "event_avg_time", queries.averages(lease, question.project_id, question.type, question.page)
    else:
        if question.type is None and zone_of(lease, question.project_id) is None:
            raise NotFound("Store not found")
        name, found = "event_amount", queries.amounts(lease, question.project_id, question.type, question.page)
    return [{"date": day, name: value} for day, value in found]


def _users(lease: Lease, question: Users) -> dict[str, object]:
    days = question.days.read(lease, question.project_id)
    return days.answer(queries.users(lease, question.project_id, question.type, days.first, days.last))
