"""Facts are on the workers and counts on the coordinator, and both are compared as of one moment."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.maintenance.rounds import as_administrator, record, verify
from tests.servers import MigratedDatabase

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROUNDS = 10


@pytest.fixture
def written(database: MigratedDatabase) -> Iterator[MigratedDatabase]:
    """A database in which two writers record without a pause."""
    stop = threading.Event()
    failures: list[Exception] = []

    def write(device_type: str) -> None:
        try:
            while not stop.is_set():
                record(database, NOW, device_type=device_type)
        except Exception as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    writers = [threading.Thread(target=write, args=(each,)) for each in ("iOS", "TV")]
    for each in writers:
        each.start()
    yield database
    stop.set()
    for each in writers:
        each.join()
    assert failures == []


def test_no_drift_is_seen_beside_writers(written: MigratedDatabase) -> None:
    seen = []
    for _ in range(ROUNDS):
        verdict = verify(written)
        assert verdict.drifts == []
        seen.append(sum(int(each.by_source["facts"] or 0) for each in verdict.counts if each.measure.column is None))
    assert seen[-1] > seen[0]


def test_a_real_drift_is_found(database: MigratedDatabase) -> None:
    record(database, NOW)
    as_administrator(database, "UPDATE auth_event_total SET event_count = event_count + 1")
    assert verify(database).drifts == ["auth_event, project 1, iOS: total 2, facts + retired 1 (+1)"]
