"""Each container is restarted in order and killed, under load: nothing acknowledged is lost or counted twice."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.compose.stack import Stack
from tests.faults.checker import check
from tests.faults.event_kinds import SingleEvents
from tests.faults.history import Ending, History
from tests.faults.writers import Writers
from tests.kinds.served_kinds import AUTH_EVENTS

SEED = int(os.environ.get("COMPOSE_SEED", "1"))
# Long enough for some repeats to meet what is stored already: a run without one proves nothing.
WARM_UP_SECONDS = 3.0
# Until the writers work again: an orderly stop takes up to 20 s, PostgreSQL's recovery and a start some more.
NORMAL_SECONDS_MAX = 40.0
CALM_SECONDS = 1.0
CALM_EVENTS = 20
RESTART_SECONDS_MAX = 20.0


class EventsInContainers(SingleEvents):
    """Read by psql in the database's container: no port leads there."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(AUTH_EVENTS)
        self._stack = stack

    def rows(self, admin_url: str, run: str) -> Counter[str]:
        del admin_url
        statement = f"SELECT user_key, count(*) FROM auth_event WHERE starts_with(user_key, '{run}') GROUP BY 1"  # noqa: S608 - a name of ours
        return Counter({user_key: int(count) for user_key, count in self._stack.sql(statement)})

    def counts(self, admin_url: str) -> dict[str, int]:
        del admin_url
        found = self._stack.sql("SELECT device_type, sum(event_count) FROM auth_event_total GROUP BY 1")
        return {device_type: int(count) for device_type, count in found}


def restarted(service: str) -> Callable[[Stack], None]:
    """As an operator does it."""

    def fault(stack: Stack) -> None:
        stack.compose("restart", service)

    return fault


def killed(service: str) -> Callable[[Stack], None]:
    """As the kernel does it; the restart policy brings it back."""

    def fault(stack: Stack) -> None:
        before = stack.inspect(service)
        stack.kill(service)
        stack.wait_restarted(service, before, RESTART_SECONDS_MAX)

    return fault


FAULTS = {
    **{f"restart {name}": restarted(name) for name in ("statistics-api", "device-registration-api", "postgres")},
    **{f"kill {name}": killed(name) for name in ("statistics-api", "device-registration-api", "postgres", "maintain")},
}


async def until_normal(history: History, since: float) -> None:
    """Return when the writers have been recording without trouble for a while. Raises TimeoutError."""
    deadline = time.monotonic() + NORMAL_SECONDS_MAX
    while time.monotonic() < deadline:
        calm_since = max(since, history.last_trouble)
        recorded = sum(each.ending is Ending.OK and each.begun >= calm_since for each in history.attempts[-500:])
        if time.monotonic() - calm_since >= CALM_SECONDS and recorded >= CALM_EVENTS:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"not normal within {NORMAL_SECONDS_MAX:.0f} seconds")


@pytest.mark.parametrize("name", FAULTS)
async def test_nothing_acknowledged_is_lost_and_nothing_counted_twice(
    stack: Stack, report: list[str], name: str
) -> None:
    kind, history = EventsInContainers(stack), History()
    run = f"run{time.time_ns():x}"
    baseline = kind.counts("")
    writers = Writers(stack.url, kind, history, run=run, seed=SEED)
    stop = asyncio.Event()
    writing = asyncio.create_task(writers.write(stop))
    try:
        await asyncio.sleep(WARM_UP_SECONDS)
        begun = time.monotonic()
        await asyncio.to_thread(FAULTS[name], stack)
        fault_seconds = time.monotonic() - begun
        await until_normal(history, begun + fault_seconds)
    finally:
        stop.set()
        await writing
    await writers.settle()

    verdict = check(history, kind.rows("", run), baseline)
    report.append(
        f"{name}, seed {SEED}: {verdict.acknowledged} acknowledged, {verdict.unknown} unknown, "
        f"{verdict.suppressed} repeats suppressed; the fault took {fault_seconds:.1f} s"
    )
    assert verdict.complaints() == []
    assert "no drift" in stack.verify_counts()
    stack.up("--no-build", "--no-recreate")  # healthy again, each of them
