"""Events in columns: what is the same in every row costs nothing, and reads like a list all the same."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils import uuid7

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import DeviceType
from contract.delivery import BATCH_ITEMS_MAX, Batch, BatchResult, Forward, IdempotencyKey
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events.counting import PerMinute, minutes_of, per_minute
from device_registration_api.events.rows import Rows

START = datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def batch_of(user_keys: list[str], **more: Any) -> Batch[AuthEventColumns]:  # noqa: ANN401 - fields of the model
    return AUTH_EVENTS.batch_model(
        project_id=1,
        batch_id=str(uuid7()),
        received_at=START,
        columns=AuthEventColumns(user_keys=user_keys, device_types=[DeviceType.TV] * len(user_keys)),
        **more,
    )


def forward_of(
    *moments: datetime,
    project_id: int = 1,
    **more: Any,  # noqa: ANN401 - fields of the model
) -> Forward[AuthEventColumns]:
    return AUTH_EVENTS.forward_model(
        project_ids=[project_id] * len(moments),
        event_ids=[str(uuid7()) for _ in moments],
        received_at=list(moments),
        columns=AuthEventColumns(
            user_keys=[f"{project_id}-{place}" for place, _ in enumerate(moments)],
            device_types=[DeviceType.IOS if place % 2 else DeviceType.TV for place, _ in enumerate(moments)],
        ),
        **more,
    )


def listed(rows: Rows[AuthEventColumns]) -> list[tuple[object, ...]]:
    """Every row, value by value."""
    return [
        (
            *rows.fact_key(place),
            rows.columns.user_keys[place],
            rows.happened_at()[place],
            rows.keys.get(place),
        )
        for place in range(len(rows))
    ]


def test_the_ids_of_a_batch_grow_and_are_its_own() -> None:
    batch, next_batch = (batch_of(["u"] * BATCH_ITEMS_MAX) for _ in range(2))
    ids = list(Rows.of_batch(batch).event_ids)
    assert ids == [batch.event_id(place) for place in range(BATCH_ITEMS_MAX)]
    assert ids == sorted(set(ids))
    assert {UUID(each).version for each in ids} == {7}
    assert next_batch.event_id(0) not in ids


def test_batches_of_one_millisecond_share_no_id() -> None:
    """All but the last 16 bits of a UUIDv7 of one process differ: it counts within a millisecond."""
    ids = [str(uuid7()) for _ in range(100_000)]
    assert len({each[:-4] for each in ids}) == len(ids)


@given(st.sets(st.integers(0, 12), max_size=13))
def test_rows_are_at_the_indexes_that_were_not_rejected(rejected: set[int]) -> None:
    refused = [BatchResult(index=index, status="rejected", detail="") for index in rejected]
    batch = batch_of(["u"] * (13 - len(rejected)), rejected=refused)
    assert batch.indexes() == [index for index in range(13) if index not in rejected]


KEY = IdempotencyKey(key="k", fingerprint="0" * 64)
ROWS = [
    Rows.of_batch(batch_of(["a", "b", "c", "d"], occurred_at={2: START - MINUTE}, keys={1: KEY})),
    Rows.of_forwards([forward_of(START, START + MINUTE, keys={0: KEY}), forward_of(START, START, project_id=2)]),
    Rows.of_forwards([forward_of(*[START] * 4, occurred_at={3: START - MINUTE})]),
]


@pytest.mark.parametrize("rows", ROWS, ids=["batch", "forwards", "forward"])
@given(positions=st.lists(st.integers(0, 3)))
def test_rows_that_are_selected_are_those_rows(rows: Rows[AuthEventColumns], positions: list[int]) -> None:
    everything = listed(rows)
    assert listed(rows.select(positions)) == [everything[position] for position in positions]


def test_forwards_that_are_joined_keep_their_events_and_their_sparse_columns() -> None:
    first = forward_of(START, START + MINUTE, occurred_at={1: START})
    second = forward_of(START, project_id=7, keys={0: KEY})
    rows = Rows.of_forwards([first, second])
    assert list(rows.project_ids) == [1, 1, 7]
    assert list(rows.event_ids) == [*first.event_ids, *second.event_ids]
    assert rows.columns.user_keys == ["1-0", "1-1", "7-0"]
    assert (rows.occurred_at, rows.keys) == ({1: START}, {2: KEY})


def test_rows_are_written_in_the_order_of_their_keys() -> None:
    rows = Rows.of_forwards([forward_of(START + MINUTE, START, project_id=2), forward_of(START)])
    ordered = rows.in_key_order()
    assert ordered.fact_keys() == sorted(rows.fact_keys()) != rows.fact_keys()
    assert sorted(map(str, listed(ordered))) == sorted(map(str, listed(rows)))
    assert ordered.in_key_order() is ordered


MOMENTS = st.integers(0, 200).map(lambda seconds: START + timedelta(seconds=seconds))


@given(
    st.lists(st.lists(MOMENTS, min_size=1, max_size=5), min_size=1, max_size=3),
    st.lists(st.integers(1, 2), min_size=3, max_size=3),
    st.dictionaries(st.integers(0, 4), st.integers(0, 10), max_size=3),
)
def test_events_are_counted_by_the_minute_in_which_they_happened(
    moments: list[list[datetime]], projects: list[int], ago: dict[int, int]
) -> None:
    forwards = [
        forward_of(
            *each,
            project_id=project_id,
            occurred_at={place: each[place] - minutes * MINUTE for place, minutes in ago.items() if place < len(each)},
        )
        for each, project_id in zip(moments, projects, strict=False)
    ]
    rows = Rows.of_forwards(forwards)
    counted = per_minute(rows, rows.columns.device_types)
    one_by_one: dict[tuple[object, ...], int] = {}
    for place, at in enumerate(rows.happened_at()):
        group = (rows.project_ids[place], rows.columns.device_types[place], at.replace(second=0))
        one_by_one[group] = one_by_one.get(group, 0) + 1
    assert {tuple(each[:3]): each.events for each in counted} == one_by_one
    assert len(counted) == len(one_by_one)
    assert list(minutes_of(rows)) == [at.replace(second=0) for at in rows.happened_at()]


def test_of_no_events_nothing_is_counted() -> None:
    nothing = Rows.of_batch(batch_of([]))
    assert per_minute(nothing, []) == list(minutes_of(nothing)) == []


def test_a_batch_is_counted_at_its_own_time_but_for_events_that_say_another() -> None:
    rows = Rows.of_batch(batch_of(["a", "b", "c"], occurred_at={1: START - 5 * MINUTE}))
    minute = START.replace(second=0)
    assert sorted(per_minute(rows, rows.columns.device_types)) == [
        PerMinute(1, DeviceType.TV, minute - 5 * MINUTE, 1),
        PerMinute(1, DeviceType.TV, minute, 2),
    ]
    assert list(minutes_of(rows)) == [minute, minute - 5 * MINUTE, minute]
