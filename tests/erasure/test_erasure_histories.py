"""Whatever is recorded, erased and deleted in whatever order, no published figure moves by what leaves."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TypeAlias
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.erasure.conftest import NOW, World
from tests.events.test_presences import distinct
from tests.maintenance.rounds import as_administrator, as_writer

PEOPLE = 4
DAYS = 6
NEW_PROJECT = "INSERT INTO project (name, project_key) VALUES ('p', %(key)s) RETURNING project_id"
INSERT_PEOPLE = "INSERT INTO project_person SELECT %(project)s, person FROM unnest(%(people)s::uuid[]) AS person"
RETIRE = "SELECT maintenance.retire_group_rows('api_request', %(project)s, '{}', %(starts)s, %(ends)s, %(rows)s)"

Event: TypeAlias = tuple[int, int]
EVENTS = st.lists(st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, DAYS)), min_size=1, max_size=5)
STEPS = st.lists(
    st.one_of(
        EVENTS,
        st.integers(0, PEOPLE - 1),  # who is erased
        st.tuples(st.integers(0, DAYS), st.integers(1, 3)),  # from which day back how many days' events are deleted
    ),
    min_size=2,
    max_size=10,
)


@settings(max_examples=8, deadline=None)
@given(STEPS)
def test_what_leaves_moves_no_figure(module_world: World, steps: list[list[Event] | int | tuple[int, int]]) -> None:
    world = module_world
    [(project,)] = as_administrator(world.database, NEW_PROJECT, key=f"p-{uuid4()}")
    people = [uuid4() for _ in range(PEOPLE)]
    as_administrator(world.database, INSERT_PEOPLE, project=project, people=[str(each) for each in people])
    erased: set[UUID] = set()
    present: set[tuple[UUID, date]] = set()
    for step in steps:
        if isinstance(step, list):
            events = [(people[who], NOW - timedelta(days=day)) for who, day in step if people[who] not in erased]
            if events:
                world.record(*events, project=project)
            present |= {(who, at.date()) for who, at in events}
            continue
        before = world.published()
        if isinstance(step, int):
            world.erase(people[step], project=project)
            erased.add(people[step])
        else:
            last, days = step
            ends = NOW - timedelta(days=last) + timedelta(minutes=1)
            bounds = {"starts": ends - timedelta(days=days), "ends": ends}
            while as_writer(world.database, RETIRE, project=project, rows=2, **bounds) != [(None,)]:
                pass
        assert world.published() == before
    world.assert_exact()
    for length in (1, 3, DAYS + 1):
        first = NOW.date() - timedelta(days=length - 1)
        expected = {who for who, day in present if day >= first}
        assert distinct(world.database, project, first, NOW.date() + timedelta(days=1)).total == len(expected)
    world.close_pools()
