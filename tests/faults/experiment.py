"""One run: writers at work, faults on a plan that a seed decides, then the judgement."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random

from tests.faults.checker import Verdict, check
from tests.faults.event_kinds import EventKind
from tests.faults.history import Ending, History
from tests.faults.stack import Stack
from tests.faults.writers import Writers

WARM_UP_SECONDS = 1.0
# A fault needs something to break, also on a machine that is slow to begin.
WARM_UP_ATTEMPTS = 100
# The promise: so long after the end of a fault, everything works.
NORMAL_SECONDS_MAX = 10.0
# Working means that nothing failed for so long, and that so many events were recorded meanwhile.
CALM_SECONDS = 1.0
CALM_EVENTS = 20
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Fault:
    """A trouble as data: entering `inject` begins it, leaving ends it."""

    name: str
    # How long it stays, in seconds.
    seconds: float
    inject: Callable[[Stack, Random], AbstractAsyncContextManager[None]]
    # The parts it meddles with: two faults that share one cannot be mixed.
    touches: frozenset[str]
    # The services whose processes it ends; all others must live through it.
    kills: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Planned:
    """A fault with its time, in seconds after the writers began."""

    fault: Fault
    at_seconds: float
    lasts_seconds: float


@dataclass
class Run:
    """Everything known about a run when it is over. Times are readings of `time.monotonic`."""

    name: str
    # What the writers sent.
    kind: str
    seed: int
    begun: float
    history: History
    # Name, begin and end of each fault as it really was.
    marks: list[tuple[str, float, float]] = field(default_factory=list)
    # After the end of the last fault; None if it took longer than NORMAL_SECONDS_MAX.
    normal_after_seconds: float | None = None
    verdict: Verdict | None = None
    complaints: list[str] = field(default_factory=list)

    @property
    def recorded(self) -> int:
        """Events that were acknowledged."""
        return 0 if self.verdict is None else self.verdict.acknowledged


def plan(fault: Fault, seed: int) -> list[Planned]:
    """One fault, at a time and for a while that the seed decides."""
    random = _random(seed)
    return [Planned(fault, WARM_UP_SECONDS + random.random(), fault.seconds * random.uniform(0.9, 1.1))]


def plan_mix(faults: Sequence[Fault], seed: int, count: int = 3) -> list[Planned]:
    """Up to `count` faults at overlapping times that do not meddle with the same part."""
    random = _random(seed)
    chosen: list[Fault] = []
    for fault in random.sample(faults, len(faults)):
        if len(chosen) < count and not any(fault.touches & other.touches for other in chosen):
            chosen.append(fault)
    return [
        Planned(fault, WARM_UP_SECONDS + random.uniform(0, 3), fault.seconds * random.uniform(0.5, 1.1))
        for fault in chosen
    ]


async def run(stack: Stack, planned: Sequence[Planned], seed: int, kind: EventKind) -> Run:
    """Let the writers of a kind work through the planned faults, wait until all is normal, settle, and judge."""
    history = History()
    name = " + ".join(each.fault.name for each in planned)
    this = Run(name, kind.name, seed, time.monotonic(), history)
    identity = f"run{time.time_ns():x}"
    writers = Writers(stack.url, kind, history, run=identity, seed=seed)
    baseline = await asyncio.to_thread(kind.counts, stack.admin_url)
    before = stack.service_processes()

    stop = asyncio.Event()
    writing = asyncio.create_task(writers.write(stop))
    try:
        async with asyncio.TaskGroup() as faults:
            for number, each in enumerate(planned):
                faults.create_task(_inject(stack, each, Random(f"{seed}-{number}"), this))  # noqa: S311 - a seed
        this.normal_after_seconds = await _until_normal(history, max(end for _, _, end in this.marks))
        # On a slow machine a short run may not have met its repeat yet: without one it would prove nothing.
        await _until(lambda: history.suppressed() > 0)
    finally:
        stop.set()
        await writing
    await writers.settle()

    rows = await asyncio.to_thread(kind.rows, stack.admin_url, identity)
    this.verdict = check(history, rows, baseline)
    this.complaints.extend(this.verdict.complaints())
    exact, said = await stack.operator_command("verify-counts")
    if not exact:
        this.complaints.append(f"verify-counts: {said.strip().splitlines()[-1:]}")
    if this.normal_after_seconds is None:
        this.complaints.append(f"not normal within {NORMAL_SECONDS_MAX} s")
    killed = frozenset[str]().union(*(each.fault.kills for each in planned))
    for service, pids in stack.service_processes().items():
        if service not in killed and pids != before[service]:
            this.complaints.append(f"a process of {service} died: {before[service]} became {pids}")
    return this


async def _inject(stack: Stack, planned: Planned, random: Random, this: Run) -> None:
    await asyncio.sleep(planned.at_seconds)
    await _until(lambda: len(this.history.attempts) >= WARM_UP_ATTEMPTS)
    begun = time.monotonic()
    async with planned.fault.inject(stack, random):
        await asyncio.sleep(planned.lasts_seconds)
        # What the fault undoes on its way out (starting what it killed) is a part of it.
    this.marks.append((planned.fault.name, begun, time.monotonic()))


async def _until(true: Callable[[], bool]) -> None:
    """Wait for something that is usual, but not promised."""
    deadline = time.monotonic() + NORMAL_SECONDS_MAX
    while not true() and time.monotonic() < deadline:  # noqa: ASYNC110 - any condition
        await asyncio.sleep(_POLL_SECONDS)


async def _until_normal(history: History, ended: float) -> float | None:
    while True:
        now = time.monotonic()
        calm_since = max(ended, history.last_trouble)
        recorded = sum(each.ending is Ending.OK and each.begun >= calm_since for each in history.attempts[-500:])
        if now - calm_since >= CALM_SECONDS and recorded >= CALM_EVENTS:
            seconds = calm_since - ended
            return seconds if seconds <= NORMAL_SECONDS_MAX else None
        if now - ended > NORMAL_SECONDS_MAX + CALM_SECONDS:
            return None
        await asyncio.sleep(_POLL_SECONDS)


def _random(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a seed that replays
