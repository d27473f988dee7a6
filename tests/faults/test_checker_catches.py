"""Real sabotage, really noticed: a checker that could not see these would prove nothing by its silence.

Each test breaks the private service from inside (see inside/) or the database, and lets a fault bring it to light.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import psycopg2
import pytest

from local.services import REGISTRATION_API
from tests.faults.catalogue import DATABASE_FAULTS, NETWORK_FAULTS
from tests.faults.checker import Verdict
from tests.faults.experiment import Fault, plan, run
from tests.faults.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

_BY_NAME = {fault.name: fault for fault in (*DATABASE_FAULTS, *NETWORK_FAULTS)}
KILL_POSTGRESQL = _BY_NAME["kill -9 postgresql"]
RESET_BEFORE_THE_REPLY = _BY_NAME["reset before the reply, link"]


@asynccontextmanager
async def sabotaged(stack: Stack, module: str) -> AsyncIterator[None]:
    """The private service with one of the modules in inside/, and sound again afterwards."""
    service = stack.services[REGISTRATION_API]
    sound = service.env["INSIDE_MODULES"]
    try:
        service.env["INSIDE_MODULES"] = f"{sound},{module}"
        await stack.restart(REGISTRATION_API)
        yield
    finally:
        service.env["INSIDE_MODULES"] = sound
        await stack.restart(REGISTRATION_API)


def execute(stack: Stack, *statements: str) -> None:
    with closing(psycopg2.connect(stack.admin_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)


async def verdict_of(stack: Stack, fault: Fault, seed: int) -> tuple[Verdict, list[str]]:
    finished = await run(stack, plan(fault, seed), seed)
    assert finished.verdict is not None
    print(finished.complaints)
    return finished.verdict, finished.complaints


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


async def test_a_counter_that_adds_what_was_sent_drifts_from_the_facts(stack: Stack, seed: int) -> None:
    async with sabotaged(stack, "count_rows_sent"):
        verdict, complaints = await verdict_of(stack, RESET_BEFORE_THE_REPLY, seed)
    assert not verdict.lost
    assert not verdict.duplicated
    assert any(each.startswith("verify-counts") for each in complaints)
