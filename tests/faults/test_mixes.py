"""Several faults at once, and the same promises for every kind of event, sent singly and in batches."""

import struct
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from psycopg2 import sql

from local.services import STATISTICS_API
from tests.faults.catalogue import DATABASE_FAULTS, EVERY_FAULT, PROCESS_FAULTS
from tests.faults.event_kinds import KINDS, TWO_PROJECTS, EventKind, SingleEvents, kind_named, select
from tests.faults.experiment import Fault, plan, plan_mix, run
from tests.faults.proven import assert_proven
from tests.faults.stack import Stack
from tests.kinds.served_kinds import WITH_SAMPLE

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAMS = WITH_SAMPLE
# The long ones belong to the soak.
SHORT = [fault for fault in EVERY_FAULT if fault.seconds <= 4.0]
KILL_PUBLIC, KILL_PRIVATE, *_ = PROCESS_FAULTS
KILL_DATABASE, *_ = DATABASE_FAULTS
# Groups are projects, devices and types of events.
KILLED = [
    (TWO_PROJECTS[0], KILL_PUBLIC),
    (TWO_PROJECTS[1], KILL_PRIVATE),
    (kind_named("measurements"), KILL_DATABASE),
    (kind_named("store_events"), KILL_PRIVATE),
]


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.name for kind in KINDS])
async def test_every_promise_holds_through_several_faults_at_once(
    stack: Stack, seed: int, tmp_path: Path, number: int
) -> None:
    seed += number  # another mix for each kind
    assert_proven(await run(stack, plan_mix(SHORT, seed), seed, KINDS[number]), tmp_path)


@pytest.mark.parametrize(("kind", "fault"), KILLED, ids=lambda each: each.name)
async def test_each_group_has_its_own_count_through_a_kill(
    stack: Stack, seed: int, tmp_path: Path, kind: EventKind, fault: Fault
) -> None:
    assert_proven(await run(stack, plan(fault, seed), seed, kind), tmp_path)
    async with httpx2.AsyncClient(base_url=stack.url, timeout=10, trust_env=False) as client:
        told = {group: kind.count(await kind.read_count(client, group), group) for group in kind.groups}
    facts = kind.facts(stack.admin_url)
    assert told == {group: facts[group] for group in kind.groups}
    assert min(told.values()) > 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_the_clock_that_the_rig_steps_is_the_one_of_every_kind(stack: Stack, kind: SingleEvents) -> None:
    identity = f"stepped {kind.name}"
    clock = stack.clock_files[STATISTICS_API]
    clock.write_bytes(struct.pack("d", 3600.0))
    try:
        async with httpx2.AsyncClient(base_url=stack.url, timeout=10, trust_env=False) as client:
            answer = await kind.send(client, identity, kind.groups[0], None, 10.0)
    finally:
        clock.write_bytes(struct.pack("d", 0.0))
    assert answer.status_code == kind.recorded_status
    names = {"fact": sql.Identifier(kind.kind.fact), "identity": sql.Identifier(kind.kind.identity_column)}
    statement = sql.SQL("SELECT received_at - now() FROM {fact} WHERE {identity} = %(identity)s").format(**names)
    [(ahead,)] = select(stack.admin_url, statement, {"identity": kind.kind.stored(identity)})
    assert timedelta(minutes=59) < ahead < timedelta(minutes=61)
