"""Several faults at once, and the same promises through another route."""

from pathlib import Path

import pytest

from tests.faults.catalogue import EVERY_FAULT
from tests.faults.event_kinds import AuthEventBatches
from tests.faults.experiment import plan_mix, run
from tests.faults.proven import assert_proven
from tests.faults.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The long ones belong to the soak.
SHORT = [fault for fault in EVERY_FAULT if fault.seconds <= 4.0]


async def test_every_promise_holds_through_several_faults_at_once(stack: Stack, seed: int, tmp_path: Path) -> None:
    assert_proven(await run(stack, plan_mix(SHORT, seed), seed), tmp_path)


async def test_every_promise_holds_for_events_in_batches(stack: Stack, seed: int, tmp_path: Path) -> None:
    assert_proven(await run(stack, plan_mix(SHORT, seed + 1), seed + 1, AuthEventBatches()), tmp_path)
