"""A worker is killed while events are recorded: nothing is lost, nothing counted twice, and no answer is a lie."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from tests.citus_nodes import KILL_WORKER, START_WORKER, can_lose_a_worker, kill_worker, start_worker
from tests.faults.event_kinds import KINDS, SingleEvents
from tests.faults.experiment import Fault, plan, run
from tests.faults.proven import assert_proven
from tests.faults.stack import Stack, running_stack
from tests.kinds.served_kinds import WITH_SAMPLE
from tests.servers import Cluster, MigratedDatabase

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not can_lose_a_worker(), reason=f"NOT CHECKED: {KILL_WORKER} and {START_WORKER} are not set"),
]

# What was in doubt is recovered every 5 s (citus.recover_2pc_interval, as `distribute` sets it).
RECOVERED_SECONDS = 7.0


@asynccontextmanager
async def _worker_killed(_: Stack, __: Random) -> AsyncIterator[None]:
    try:
        await asyncio.to_thread(kill_worker)
        yield
    finally:
        await asyncio.to_thread(start_worker)
        await asyncio.sleep(RECOVERED_SECONDS)


FAULT = Fault("kill -9 a worker of the cluster", 1.0, _worker_killed, frozenset({"worker"}))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The product with the sample kind, on a distributed database."""
    with cluster.new_database(template) as name:
        database = MigratedDatabase(cluster.admin_url(name))
        await asyncio.to_thread(WITH_SAMPLE.install, database)
        folder = tmp_path_factory.mktemp("stack")
        async with running_stack(folder, database=database, programs=WITH_SAMPLE) as running:
            yield running


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_every_promise_holds_when_a_worker_is_killed(kind: SingleEvents, stack: Stack, tmp_path: Path) -> None:
    seed = 1 + KINDS.index(kind)  # each time at another moment
    assert_proven(await run(stack, plan(FAULT, seed), seed, kind), tmp_path)
