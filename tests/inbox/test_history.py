"""The history checker over events that may wait in the inbox: none is refused, each is counted once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.faults.catalogue import DATABASE_LINK, EVERY_FAULT
from tests.faults.checker import check
from tests.faults.experiment import NORMAL_SECONDS_MAX
from tests.faults.history import History
from tests.faults.stack import DATABASE
from tests.faults.writers import Writers
from tests.inbox.rig import DeferrableBatches, DeferrableEvents, StackWithInbox
from tests.kinds import served_kinds as served

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Longer than the service waits for a database that says nothing, on a busy machine, too.
AWAY_SECONDS = 5.0
SEED = 1
FAULTS = {fault.name: fault for fault in EVERY_FAULT}
RUNS: Sequence[tuple[str, type[DeferrableEvents], served.ServedKind]] = (
    (f"kill -9 {DATABASE}", DeferrableEvents, served.AUTH_EVENTS),
    (f"black hole, {DATABASE_LINK}", DeferrableBatches, served.API_REQUESTS),
)


@pytest.mark.parametrize(("fault", "way", "kind"), RUNS, ids=lambda value: getattr(value, "__name__", str(value)[:30]))
async def test_an_outage_refuses_no_deferrable_event_and_each_is_counted_once(
    installation: StackWithInbox,
    fault: str,
    way: type[DeferrableEvents],
    kind: served.ServedKind,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The inbox does not know the keys of the first database, so a conflict is noticed by the drain.
    monkeypatch.setattr("tests.faults.writers.CONFLICT_SHARE", 0)
    stack = installation.stack
    sent = way(kind)
    history = History()
    run = f"history {fault} {sent.name} "
    writers = Writers(stack.url, sent, history, run=run, seed=SEED)
    baseline = await asyncio.to_thread(sent.counts, stack.admin_url)
    stop = asyncio.Event()
    writing = asyncio.create_task(writers.write(stop))
    try:
        await until_sent(history, 100)
        async with FAULTS[fault].inject(stack, writers.random(0)):
            await asyncio.sleep(AWAY_SECONDS)
        await until_sent(history, len(history.attempts) + 100)
    finally:
        stop.set()
        await writing
    await writers.settle()
    await installation.drained()

    # An event that waits is acknowledged, and is in no count yet.
    history.reads = [replace(read, acknowledged=0) for read in history.reads]
    rows = await asyncio.to_thread(sent.rows, stack.admin_url, run)
    verdict = check(history, rows, baseline)
    assert verdict.complaints() == []
    assert sent.deferred > 0
    assert [attempt for attempt in history.attempts if attempt.status == 503 and not attempt.refusable] == []
    assert verdict.lost == verdict.duplicated == ()
    assert (await stack.operator_command("verify-counts"))[0]


async def until_sent(history: History, number: int) -> None:
    async with asyncio.timeout(NORMAL_SECONDS_MAX):
        while len(history.attempts) < number:  # noqa: ASYNC110 - the history has no event
            await asyncio.sleep(0.05)
