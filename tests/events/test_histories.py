"""Any history of events, whatever is repeated, refused or contradicted in it, against a model of a few lines."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uuid_utils import uuid7

from contract.delivery import (
    Batch,
    BatchResponse,
    BatchResult,
    Forward,
    ForwardedBatchResponse,
    IdempotencyKey,
    OutcomeStatus,
)
from device_registration_api.events.batches import record_batch, record_batch_carefully
from device_registration_api.events.recording import KEY_REUSED, RECORDED, Recorded, record, record_carefully
from device_registration_api.events.rows import Rows
from servicekit.database.commit import repeat_until_known
from servicekit.errors import IdempotencyKeyReused
from tests.events.conftest import Spine
from tests.events.kinds import BODIES, KINDS, POISON, KindUnderTest

SLOT = 3
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Event:
    """What a client says. `occurred` is how many minutes ago, if it says that."""

    body: int
    key: str | None = None
    occurred: int | None = None

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.body} {self.occurred}".encode()).hexdigest()


@dataclass(frozen=True)
class Sent:
    """An event at the edge: every retry has the same id and time."""

    event: Event
    event_id: str
    received_at: datetime


@dataclass(frozen=True)
class Flush:
    """New events of several forwards in one transaction, then again events that were sent before, by their number."""

    forwards: list[list[Event]]
    retries: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class BatchSent:
    """A batch. `again` repeats the one with that number: with its id, as we do, or as its client does."""

    events: list[Event]
    key: str | None = None
    rejected: int = 0
    again: int | None = None
    by_client: bool = False


KEYS = st.none() | st.sampled_from(["k1", "k2", "k3"])
EVENTS = st.builds(
    Event,
    body=st.sampled_from([*BODIES, *BODIES, *POISON]),
    key=KEYS,
    occurred=st.none() | st.integers(0, 20),
)
FLUSHES = st.builds(
    Flush,
    forwards=st.lists(st.lists(EVENTS, min_size=1, max_size=4), min_size=1, max_size=3),
    retries=st.lists(st.integers(0, 30), max_size=3),
)
BATCHES = st.builds(
    BatchSent,
    events=st.lists(EVENTS, max_size=5),
    key=KEYS,
    rejected=st.integers(0, 2),
    again=st.none() | st.integers(0, 5),
    by_client=st.booleans(),
)


class Model:
    """What must come of it: one event after the other, as if each were alone."""

    def __init__(self, kind: KindUnderTest) -> None:
        self.kind = kind
        self.facts: dict[str, int] = {}
        self.keys: dict[str, Sent] = {}
        self.batches: dict[str, tuple[Batch[Any], BatchResponse]] = {}

    def record(self, sent: Sent) -> tuple[OutcomeStatus, object]:
        owner = self.keys.get(sent.event.key) if sent.event.key else None
        if owner is not None and owner.event_id != sent.event_id:
            if owner.event.fingerprint == sent.event.fingerprint:
                return OutcomeStatus.REPLAYED, self.kind.row(owner.event.body)
            return OutcomeStatus.CONFLICT, None
        if sent.event.body in POISON:
            return OutcomeStatus.REFUSED, None
        self.facts[sent.event_id] = sent.event.body
        if sent.event.key:
            self.keys[sent.event.key] = sent
        return OutcomeStatus.RECORDED, self.kind.row(sent.event.body)

    def record_batch(self, batch: Batch[Any], sent: Sequence[Sent]) -> ForwardedBatchResponse:
        if batch.key is not None and (owner := self.batches.get(batch.key.key)) is not None:
            first, response = owner
            if first.batch_id != batch.batch_id and first.key != batch.key:
                raise IdempotencyKeyReused(KEY_REUSED)
            return ForwardedBatchResponse(response=response, replayed=first.batch_id != batch.batch_id)
        statuses = [self.record(each)[0] for each in sent]
        duplicate, registered = statuses.count(OutcomeStatus.REPLAYED), statuses.count(OutcomeStatus.RECORDED)
        indexes = batch.indexes()
        results = [
            *((each.index, "rejected") for each in batch.rejected),
            *(
                (indexes[place], "duplicate" if status is OutcomeStatus.REPLAYED else "rejected")
                for place, status in enumerate(statuses)
                if status is not OutcomeStatus.RECORDED
            ),
        ]
        response = BatchResponse(
            registered=registered,
            duplicate=duplicate,
            rejected=len(sent) + len(batch.rejected) - registered - duplicate,
            results=[BatchResult(index=index, status=status, detail="") for index, status in sorted(results)],
        )
        if batch.key is not None:
            self.batches[batch.key.key] = batch, response
        return ForwardedBatchResponse(response=response)


class History:
    """Sends what a test says to the spine and to the model."""

    def __init__(self, spine: Spine, kind: KindUnderTest) -> None:
        self.spine = spine
        self.kind = kind
        self.project_id = spine.new_project()
        self.model = Model(kind)
        self.sent: list[Sent] = []
        self.batches: list[tuple[Batch[Any], list[Sent]]] = []

    def flush(self, flush: Flush) -> None:
        forwards = [[self.arrive(event) for event in events] for events in flush.forwards]
        earlier = len(self.sent) - sum(map(len, forwards))
        retried = [self.sent[number % earlier] for number in flush.retries] if earlier else []
        forwards += [[each] for each in retried]
        outcomes = recorded(self.spine, self.kind, self.rows(forwards))
        everything = [each for forward in forwards for each in forward]
        expected = [self.model.record(each) for each in everything]
        assert [self.told(outcomes, position) for position in range(len(everything))] == expected
        assert OutcomeStatus.RECORDED not in {each.status for each in outcomes.outcomes.values()}

    def send_batch(self, sent: BatchSent) -> None:
        if sent.again is not None and self.batches:
            batch, events = self.batches[sent.again % len(self.batches)]
            if sent.by_client:
                batch, events = self.batch_of([each.event for each in events], batch.key, len(batch.rejected))
        else:
            key = None if sent.key is None else IdempotencyKey(key=sent.key, fingerprint=fingerprint_of(sent))
            batch, events = self.batch_of(sent.events, key, sent.rejected)
        self.batches.append((batch, events))
        try:
            expected = self.model.record_batch(batch, events)
        except IdempotencyKeyReused:
            with pytest.raises(IdempotencyKeyReused):
                self.run_batch(batch)
            return
        found = self.run_batch(batch)
        assert found.replayed == expected.replayed
        assert without_details(found.response) == without_details(expected.response)

    def run_batch(self, batch: Batch[Any]) -> ForwardedBatchResponse:
        recorded = self.spine.run(
            partial(
                repeat_until_known,
                attempt=partial(record_batch, table=self.kind.table, batch=batch, slot=SLOT),
                fallback=partial(record_batch_carefully, table=self.kind.table, batch=batch, slot=SLOT),
            )
        )
        return recorded.answer

    def check(self) -> None:
        """Facts and counters are exactly what was told."""
        asked = {"project_id": self.project_id}
        stored = {str(event_id): body for event_id, body in self.spine.rows(self.kind.facts, **asked)}
        assert stored == self.model.facts
        for drift in self.kind.drift:
            assert self.spine.rows(drift, **asked) == []

    def arrive(self, event: Event) -> Sent:
        self.sent.append(Sent(event, str(uuid7()), datetime.now(UTC)))
        return self.sent[-1]

    def rows(self, forwards: Sequence[Sequence[Sent]]) -> Rows[Any]:
        return Rows.of_forwards([self.forward(each) for each in forwards])

    def forward(self, sent: Sequence[Sent]) -> Forward[Any]:
        return self.kind.table.forward_model.model_construct(
            project_ids=[self.project_id] * len(sent),
            event_ids=[each.event_id for each in sent],
            received_at=[each.received_at for each in sent],
            columns=self.kind.columns([each.event.body for each in sent]),
            **sparse(sent),
        )

    def batch_of(
        self, events: Sequence[Event], key: IdempotencyKey | None, rejected: int
    ) -> tuple[Batch[Any], list[Sent]]:
        received_at = datetime.now(UTC)
        batch: Batch[Any] = self.kind.table.batch_model.model_construct(
            project_id=self.project_id,
            batch_id=str(uuid7()),
            received_at=received_at,
            columns=self.kind.columns([event.body for event in events]),
            key=key,
            rejected=[BatchResult(index=index, status="rejected", detail="") for index in range(rejected)],
            **sparse([Sent(event, "", received_at) for event in events]),
        )
        return batch, [Sent(event, batch.event_id(place), received_at) for place, event in enumerate(events)]

    def told(self, recorded: Recorded, position: int) -> tuple[OutcomeStatus, object]:
        outcome = recorded.outcomes.get(position, RECORDED)
        if position not in recorded.rows:
            return outcome.status, None
        row = json.loads(recorded.rows[position])
        assert isinstance(row["number"], int)  # the database's own
        return outcome.status, {name: value for name, value in row.items() if name != "number"}


def recorded(spine: Spine, kind: KindUnderTest, rows: Rows[Any]) -> Recorded:
    """What becomes of them, written as the service writes them."""
    return spine.run(
        partial(
            repeat_until_known,
            attempt=partial(record, table=kind.table, rows=rows, slot=SLOT),
            fallback=partial(record_carefully, table=kind.table, rows=rows, slot=SLOT),
        )
    )


def sparse(sent: Sequence[Sent]) -> dict[str, Any]:
    return {
        "occurred_at": {
            position: each.received_at - timedelta(minutes=each.event.occurred)
            for position, each in enumerate(sent)
            if each.event.occurred is not None
        },
        "keys": {
            position: IdempotencyKey(key=each.event.key, fingerprint=each.event.fingerprint)
            for position, each in enumerate(sent)
            if each.event.key is not None
        },
    }


def fingerprint_of(sent: BatchSent) -> str:
    return hashlib.sha256(repr(sent.events).encode()).hexdigest()


def without_details(response: BatchResponse) -> BatchResponse:
    return response.model_copy(
        update={"results": [each.model_copy(update={"detail": ""}) for each in response.results]}
    )


P, G = Event(100, "k1"), Event(1, "k1")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table.kind)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(FLUSHES | BATCHES, min_size=1, max_size=6))
@example(
    [Flush([[P, G, Event(2)], [Event(1), G, Event(2, "k1"), Event(101), Event(102)]]), Flush([[Event(0)]], [0, 1])]
)
@example(
    [BatchSent([Event(1, "k1"), Event(1, "k1")], "k1", 1), Flush([[G]]), BatchSent([], None, 0, 0, by_client=True)]
)
@example([BatchSent([Event(1, "k1"), Event(100), Event(2)], "k1", 2), BatchSent([], None, 0, 0), BatchSent([G], "k1")])
def test_every_outcome_fact_and_count_is_exact(
    spine: Spine, kind: KindUnderTest, history: list[Flush | BatchSent]
) -> None:
    told = History(spine, kind)
    for step in history:
        told.flush(step) if isinstance(step, Flush) else told.send_batch(step)
        told.check()
