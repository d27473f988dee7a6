"""Two transactions at once that contradict or repeat each other: they wait, and each is exact."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from contract.delivery import OutcomeStatus
from servicekit.database.lease import Lease
from tests.citus_nodes import cluster_of_environment
from tests.events.conftest import Spine
from tests.events.kinds import KINDS, KindUnderTest
from tests.events.test_histories import Event, Flush, History, Sent, recorded

WRITERS = 2
FLUSHES = 12
KEYS = [f"key-{number}" for number in range(40)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table.kind)
def test_of_many_events_under_each_key_one_is_stored_and_counted(
    spine: Spine, kind: KindUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(spine, kind)
    begin = threading.Barrier(WRITERS)
    attempts: list[Lease] = []
    transaction = Lease.round_trips

    def counted_round_trips(self: Lease):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as the original
        attempts.append(self)
        return transaction(self)

    monkeypatch.setattr(Lease, "round_trips", counted_round_trips)

    def write(seed: int) -> list[tuple[Sent, OutcomeStatus]]:
        random = Random(seed)  # noqa: S311 - not a secret
        told: list[tuple[Sent, OutcomeStatus]] = []
        begin.wait()
        for _ in range(FLUSHES):
            keys = random.sample(KEYS, 20)
            sent = [history.arrive(Event(body=1, key=key)) for key in keys]
            outcomes = recorded(spine, kind, history.rows([sent]))
            told += [(each, history.told(outcomes, place)[0]) for place, each in enumerate(sent)]
        return told

    with ThreadPoolExecutor(WRITERS) as threads:
        told = [each for half in threads.map(write, range(WRITERS)) for each in half]

    statuses = {status for _, status in told}
    assert statuses == {OutcomeStatus.RECORDED, OutcomeStatus.REPLAYED}
    winners = [sent for sent, status in told if status is OutcomeStatus.RECORDED]
    assert Counter(each.event.key for each in winners) == dict.fromkeys(KEYS, 1)
    history.model.facts = {each.event_id: each.event.body for each in winners}
    history.check()
    # Claims are sorted, so nobody was in a deadlock: no attempt had to be repeated. Citus asks shards at the same time.
    assert len(attempts) == WRITERS * FLUSHES or cluster_of_environment() is not None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table.kind)
def test_a_retry_that_overtakes_its_first_attempt_is_stored_once(spine: Spine, kind: KindUnderTest) -> None:
    history = History(spine, kind)
    sent = [history.arrive(Event(body=place % 6, key=f"own-{place}" if place % 2 else None)) for place in range(50)]
    rows = history.rows([sent])
    with ThreadPoolExecutor(4) as threads:
        several = list(threads.map(lambda _: recorded(spine, kind, rows), range(4)))
    for outcomes in several:
        assert {history.told(outcomes, place)[0] for place in range(len(sent))} == {OutcomeStatus.RECORDED}
    history.model.facts = {each.event_id: each.event.body for each in sent}
    history.check()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.table.kind)
def test_an_erased_event_is_told_as_erased_to_its_replay(spine: Spine, kind: KindUnderTest) -> None:
    history = History(spine, kind)
    history.flush(Flush([[Event(1, "erased"), Event(2, "kept")]]))
    spine.rows(kind.erase, project_id=history.project_id, event_id=history.sent[0].event_id)
    again = [history.arrive(Event(1, "erased")), history.arrive(Event(2, "kept"))]
    outcomes = recorded(spine, kind, history.rows([again, [history.sent[0]]]))
    erased = OutcomeStatus.REPLAYED if kind.table.read is None else OutcomeStatus.ERASED
    told = [history.told(outcomes, place)[0] for place in range(3)]
    assert told[:2] == [erased, OutcomeStatus.REPLAYED]
    # Our own retry of what was recorded, and erased since: not stored anew.
    assert told[2] is (OutcomeStatus.RECORDED if kind.table.read is None else OutcomeStatus.ERASED)
    assert len(spine.rows(kind.facts, project_id=history.project_id)) == 1
