"""The events of one transaction, in columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Generic, NamedTuple, Self, TypeVar

from contract.delivery import (
    Batch,
    Columns,
    Forward,
    IdempotencyKey,
    concatenate_sparse,
    select_sparse,
)
from device_registration_api.events.local_days import LocalDays
from servicekit.database.copy_encoding import NumberedUuids, Repeated

Value = TypeVar("Value")


class FactKey(NamedTuple):
    """The primary key of every fact table."""

    project_id: int
    received_at: datetime
    event_id: str


class ProjectSettings(NamedTuple):
    """The days of a project's time zone, and the key of its digests."""

    days: LocalDays
    presence_key: bytes


@dataclass(frozen=True, slots=True)
class Rows(Generic[Columns]):
    """The rows to store, one for each event; a sparse column maps the position of a row to its value.

    Columns that are the same in every row of a batch are `Repeated`, and its ids are `NumberedUuids`: neither takes
    time per row. `received_at` is in Python's own UTC, because times with pydantic's UTC take ten times as long to
    compare and subtract.
    """

    project_ids: Sequence[int]
    received_at: Sequence[datetime]
    event_ids: Sequence[str]
    columns: Columns
    occurred_at: Mapping[int, datetime]
    keys: Mapping[int, IdempotencyKey]
    # By the number of the project; a kind that counts who is present adds them (`EventTable.complete`).
    projects: Mapping[int, ProjectSettings] = field(default_factory=dict)

    @classmethod
    def of_forwards(cls, forwards: Sequence[Forward[Columns]]) -> Self:
        """The events of all `forwards`, one after the other."""
        lengths = [len(forward.event_ids) for forward in forwards]
        columns = type(forwards[0].columns)
        return cls(
            _repeated_if_equal(_chained([forward.project_ids for forward in forwards])),
            [at.astimezone(UTC) for forward in forwards for at in forward.received_at],
            _chained([forward.event_ids for forward in forwards]),
            columns.concatenate([forward.columns for forward in forwards]),
            concatenate_sparse([forward.occurred_at for forward in forwards], lengths),
            concatenate_sparse([forward.keys for forward in forwards], lengths),
        )

    @classmethod
    def of_batch(cls, batch: Batch[Columns]) -> Self:
        """The events of a client's batch."""
        length = len(batch.columns)
        return cls(
            Repeated(batch.project_id, length),
            Repeated(batch.received_at.astimezone(UTC), length),
            NumberedUuids(batch.batch_id, range(length)),  # as `Batch.event_id` has them
            batch.columns,
            batch.occurred_at,
            batch.keys,
        )

    def __len__(self) -> int:
        return len(self.event_ids)

    def fact_key(self, position: int) -> FactKey:
        """The key of the fact that a row becomes."""
        return FactKey(self.project_ids[position], self.received_at[position], self.event_ids[position])

    def fact_keys(self) -> list[FactKey]:
        """The keys of all rows."""
        return list(map(FactKey, self.project_ids, self.received_at, self.event_ids))

    def happened_at(self) -> Sequence[datetime]:
        """Return the time of each event: its `occurred_at`, or else its `received_at`."""
        if not self.occurred_at:
            return self.received_at
        if isinstance(self.received_at, Repeated):
            return Repeated(self.received_at.value, len(self), self.occurred_at)
        times = list(self.received_at)
        for position, at in self.occurred_at.items():
            times[position] = at
        return times

    def select(self, positions: Sequence[int]) -> Self:
        """The rows at `positions`, in that order."""
        return type(self)(
            _select(self.project_ids, positions),
            _select(self.received_at, positions),
            _select(self.event_ids, positions),
            self.columns.select(positions),
            select_sparse(self.occurred_at, positions),
            select_sparse(self.keys, positions),
            self.projects,
        )

    def in_key_order(self) -> Self:
        """The same rows in the order of their keys, in which two writers take their locks."""
        if isinstance(self.event_ids, NumberedUuids):
            return self  # the rows come from one batch, so they are in order
        keys = list(zip(self.project_ids, self.received_at, self.event_ids, strict=True))
        if keys == sorted(keys):
            return self
        return self.select(sorted(range(len(keys)), key=keys.__getitem__))


def _chained(parts: Sequence[list[Value]]) -> list[Value]:
    return parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))


def _repeated_if_equal(values: list[Value]) -> Sequence[Value]:
    return Repeated(values[0], len(values)) if values.count(values[0]) == len(values) else values


def _select(values: Sequence[Value], positions: Sequence[int]) -> Sequence[Value]:
    if isinstance(values, Repeated):
        return Repeated(values.value, len(positions))
    if isinstance(values, NumberedUuids):
        return values.select(positions)  # type: ignore[return-value]  # a sequence of strings, as it was
    return [values[position] for position in positions]
