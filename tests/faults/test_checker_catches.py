"""Real sabotage, really noticed: a checker that could not see these would prove nothing by its silence.

Each test breaks the private service from inside (see sabotage/) or the database, and lets a fault bring it to light.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from random import Random

import psycopg2
import pytest

from local.services import REGISTRATION_API
from tests.faults import experiment
from tests.faults.catalogue import EVERY_FAULT
from tests.faults.checker import Verdict
from tests.faults.event_kinds import AUTH_EVENTS, EventBatches, EventKind, SingleEvents
from tests.faults.experiment import Fault, Planned, plan, run
from tests.faults.stack import Stack
from tests.kinds import served_kinds as served

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAMS = served.WITH_SAMPLE
_BY_NAME = {fault.name: fault for fault in EVERY_FAULT}
KILL_POSTGRESQL = _BY_NAME["kill -9 postgresql"]
KILL_PRIVATE = _BY_NAME[f"kill -9 {REGISTRATION_API}"]
RESET_BEFORE_THE_REPLY = _BY_NAME["reset before the reply, link"]


@asynccontextmanager
async def sabotaged(stack: Stack, module: str) -> AsyncIterator[None]:
    """The private service with one of the modules in sabotage/, and sound again afterwards."""
    service = stack.services[REGISTRATION_API]
    sound = service.env["SABOTAGE_MODULES"]
    try:
        service.env["SABOTAGE_MODULES"] = f"{sound},{module}"
        await stack.restart(REGISTRATION_API)
        yield
    finally:
        service.env["SABOTAGE_MODULES"] = sound
        await stack.restart(REGISTRATION_API)


def execute(stack: Stack, *statements: str) -> None:
    with closing(psycopg2.connect(stack.admin_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)


async def verdict_of(stack: Stack, fault: Fault, seed: int, kind: EventKind = AUTH_EVENTS) -> tuple[Verdict, list[str]]:
    finished = await run(stack, plan(fault, seed), seed, kind)
    assert finished.verdict is not None
    print(finished.complaints)
    return finished.verdict, finished.complaints


async def test_a_service_process_that_dies_unasked_is_noticed(stack: Stack, seed: int) -> None:
    unannounced = replace(KILL_PRIVATE, kills=frozenset())
    _, complaints = await verdict_of(stack, unannounced, seed)
    assert [each for each in complaints if each.startswith(f"a process of {REGISTRATION_API} died")] == complaints != []


async def test_a_service_that_does_not_come_back_is_noticed(
    stack: Stack, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "NORMAL_SECONDS_MAX", 0.5)

    @asynccontextmanager
    async def stays_away(stack: Stack, _: Random) -> AsyncIterator[None]:
        stack.pause(REGISTRATION_API)
        yield

    staying = replace(KILL_PRIVATE, name="stays away", inject=stays_away)
    planned = [Planned(staying, at_seconds=1.0, lasts_seconds=0.1)]
    begun = asyncio.create_task(run(stack, planned, seed, AUTH_EVENTS))
    await asyncio.sleep(6.0)
    stack.resume(REGISTRATION_API)
    assert "not normal within 0.5 s" in (await begun).complaints


async def test_a_commit_that_does_not_wait_for_the_disk_loses_events(stack: Stack, seed: int) -> None:
    # What is not awaited is written after this long at the latest: give the kill something to destroy.
    execute(stack, "ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()")
    try:
        async with sabotaged(stack, "asynchronous_commit"):
            verdict, _ = await verdict_of(stack, KILL_POSTGRESQL, seed)
    finally:
        execute(stack, "ALTER SYSTEM RESET wal_writer_delay", "SELECT pg_reload_conf()")
    assert verdict.lost


async def test_an_acknowledgement_before_the_commit_loses_events(stack: Stack, seed: int) -> None:
    async with sabotaged(stack, "early_acknowledgement"):
        verdict, _ = await verdict_of(stack, KILL_POSTGRESQL, seed)
    assert verdict.lost
    assert verdict.false_reads


async def test_without_the_unique_key_repeats_count_twice(stack: Stack, seed: int) -> None:
    execute(stack, "ALTER TABLE idempotency DROP CONSTRAINT idempotency_pkey")
    try:
        async with sabotaged(stack, "no_unique_key"):
            verdict, _ = await verdict_of(stack, RESET_BEFORE_THE_REPLY, seed)
    finally:
        execute(stack, "TRUNCATE idempotency", "ALTER TABLE idempotency ADD PRIMARY KEY (project_id, key)")
    assert verdict.duplicated
    assert verdict.vacuous  # nothing was recognised as a repeat


@pytest.mark.parametrize(
    "kind",
    [SingleEvents(served.AUTH_EVENTS), EventBatches(served.PARCELS), SingleEvents(served.MEASUREMENTS)],
    ids=lambda kind: kind.name,
)
async def test_a_counter_that_adds_what_was_sent_drifts_from_the_facts(
    stack: Stack, seed: int, kind: SingleEvents
) -> None:
    async with sabotaged(stack, "count_rows_sent"):
        verdict, complaints = await verdict_of(stack, RESET_BEFORE_THE_REPLY, seed, kind)
    assert not verdict.lost
    assert not verdict.duplicated
    assert any(each.startswith("verify-counts") for each in complaints)
    _, said = await stack.operator_command("verify-counts")
    assert f"drift: {kind.kind.fact}, " in said
