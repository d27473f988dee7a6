"""Each fault of this kind once: 0 lost, 0 counted twice, 0 from nowhere, honest answers, and normal within 10 s."""

from pathlib import Path

import pytest

from tests.faults.catalogue import DATABASE_FAULTS
from tests.faults.event_kinds import AUTH_EVENTS
from tests.faults.experiment import Fault, plan, run
from tests.faults.proven import assert_proven
from tests.faults.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("fault", DATABASE_FAULTS, ids=lambda fault: fault.name)
async def test_every_promise_holds_through(fault: Fault, stack: Stack, seed: int, tmp_path: Path) -> None:
    assert_proven(await run(stack, plan(fault, seed), seed, AUTH_EVENTS), tmp_path)
