"""An erased person leaves all three databases, and no published figure moves."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from device_registration_api.erasure import job
from device_registration_api.erasure.commands import Step
from servicekit.errors import NotFound
from tests.erasure.conftest import PROJECT, SECONDS, World
from tests.maintenance.rounds import as_administrator


def test_a_person_leaves_and_every_figure_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "BATCH_ROWS", 2)
    gone, kept = world.person_with_events(), world.person_with_events([0, 2])
    before, others = world.published(), world.left(kept)
    assert world.left(gone) == [3, 2, 1]

    erased = world.erase(gone)

    assert world.left(gone) == [0, 0, 0]
    assert world.left(kept) == others
    assert (erased.step, erased.users, erased.events) == (Step.PERSON, 1, 3)
    assert erased.finished_at is not None
    assert world.published() == before
    world.assert_exact()
    # Who comes later is counted beside the erased one.
    world.person_with_events([0])
    world.assert_exact()


def test_a_repeat_has_the_same_receipt_and_a_stranger_has_none(world: World) -> None:
    gone = world.person_with_events()
    first = world.erase(gone)
    assert world.erase(gone) == first
    for project, nobody in ((PROJECT, uuid4()), (2, gone)):
        with pytest.raises(NotFound):
            asyncio.run(world.erasures().erase(project, nobody, time.monotonic() + SECONDS))


@pytest.mark.parametrize("absent", ["personal", "keyring"])
def test_without_a_database_the_erasure_is_begun_and_the_next_request_completes_it(world: World, absent: str) -> None:
    gone = world.person_with_events()
    before = world.published()
    begun = asyncio.run(world.erasures(**{absent: "absent"}).erase(PROJECT, gone, time.monotonic() + SECONDS))
    assert (begun.finished_at, begun.step, begun.users, begun.events) == (None, Step.PRESENCES, 0, 3)
    assert world.left(gone)[0] == 0
    assert world.left(gone)[2] == 1
    world.assert_exact()
    finished = world.erase(gone)
    assert (finished.receipt, finished.events) == (begun.receipt, 3)
    assert world.left(gone) == [0, 0, 0]
    assert world.published() == before


def test_a_request_without_time_leaves_the_rest_to_the_next(world: World) -> None:
    gone = world.person_with_events()
    begun = asyncio.run(world.erasures().erase(PROJECT, gone, time.monotonic() + 0.4))
    assert begun.finished_at is None
    [(refused,)] = as_administrator(
        world.database,
        "SELECT erased_at IS NOT NULL FROM project_person WHERE person_id = %(person)s",
        person=str(gone),
    )
    assert refused
    assert world.erase(gone).receipt == begun.receipt
    assert world.left(gone) == [0, 0, 0]


DEVICES = """
    INSERT INTO device (project_id, device_id, person_id) VALUES (1, %(person)s || '-a', %(person)s::uuid),
        (1, %(person)s || '-b', %(person)s::uuid), (1, %(person)s || '-c', NULL);
    INSERT INTO measurement (project_id, received_at, event_id, occurred_at, device_number, x, y, z)
    SELECT 1, now(), gen_random_uuid(), now(), device_number, 0.1, -2, 3
      FROM device, generate_series(1, 3) WHERE starts_with(device_id, %(person)s);
    INSERT INTO measurement_quarter_hour
    SELECT project_id, device_number, date_bin('15 minutes', occurred_at, '2000-01-01Z'), 0, count(*),
           sum(x::text::numeric), sum(y::text::numeric), sum(z::text::numeric),
           min(x), max(x), min(y), max(y), min(z), max(z)
      FROM measurement JOIN device USING (project_id, device_number) WHERE starts_with(device_id, %(person)s)
     GROUP BY 1, 2, 3;
    INSERT INTO device_latest
    SELECT DISTINCT ON (device_number) project_id, device_number, occurred_at, event_id, x, y, z
      FROM measurement JOIN device USING (project_id, device_number) WHERE starts_with(device_id, %(person)s)
"""
OF_DEVICES = """
    SELECT (SELECT count(*)::int FROM device WHERE starts_with(device_id, %(person)s)),
           (SELECT count(*)::int FROM measurement), (SELECT count(*)::int FROM device_latest),
           (SELECT sum(event_count)::int FROM measurement_quarter_hour),
           (SELECT coalesce(sum(event_count), 0)::int FROM measurement_retired)
"""


def test_the_devices_of_a_person_leave_with_their_measurements(world: World) -> None:
    gone = world.person_with_events()
    as_administrator(world.database, DEVICES, person=str(gone))
    assert as_administrator(world.database, OF_DEVICES, person=str(gone)) == [(3, 9, 3, 9, 0)]
    erased = world.erase(gone)
    assert erased.events == 3 + 6
    assert as_administrator(world.database, OF_DEVICES, person=str(gone)) == [(1, 3, 1, 9, 6)]
    world.assert_exact()
