"""`make soak`: every fault with three seeds, mixes of them, restarts, storms and overload, and a report at the end."""

import argparse
import asyncio
import fcntl
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from local.postgres import PostgresError
from local.services import ROOT, ServiceError
from tests.faults import overload, report
from tests.faults.catalogue import EVERY_FAULT
from tests.faults.client_churn import SLOW_SECONDS_MAX, cancelled_calls, plain_calls, slow_clients
from tests.faults.cpu_share import NoCpuShare, cpu_share
from tests.faults.event_kinds import KINDS, SUBJECTS, EventKind, kind_named
from tests.faults.experiment import Planned, plan, plan_mix, run
from tests.faults.full_disk import CANNOT_MOUNT, FULL_DISK_FAULTS, NAMESPACES, prove_in_namespace
from tests.faults.impatient_clients import TooFewFiles, allow_files
from tests.faults.rolling import rolling_restarts, running_fleet, unlike_acknowledged
from tests.faults.stack import Stack, running_stack
from tests.kinds.served_kinds import WITH_SAMPLE
from tests.servers import DELIVERED

OUTPUT = ROOT / "build" / "soak"
LOCK = OUTPUT.with_suffix(".lock")
SEEDS = 3
CANCELLED, PLAIN = 5_000, 100
SLOW, SLOW_P99_FACTOR_MAX = 500, 2.0
# Calls a second of the clients beside the slow ones.
BESIDE_SLOW_RATE = 50
ROUNDS, REQUESTS_MIN = 5, 5_000
STEP_SECONDS_MAX = 60.0
# A step of overload takes this share of the whole time; with the measurements before them and the closed loop, there
# are eight.
_STEP_SHARE = 0.05
# A shorter soak is a try of the rig itself: it does less of what takes a fixed time.
_WHOLE_MINUTES = 15.0


class Soaking:
    """One soak under way."""

    def __init__(self, minutes: float, seed: int, output: Path) -> None:
        command = f"make soak SOAK_MINUTES={minutes:g} SOAK_SEED={seed}"
        self.found = report.Soak(seed, minutes, command, time.monotonic())
        self._output = output
        self._random = Random(seed)  # noqa: S311 - a seed that replays
        self._is_whole = minutes >= _WHOLE_MINUTES
        self._seconds = minutes * 60

    async def everything(self) -> None:
        """What takes a fixed time first; then each fault with each seed; then mixes until the time is over."""
        await self._overload()
        await self._impatient_clients()
        await self._storms()
        await self._rolling_restarts()
        await self._full_disks()
        await self._faults(self._plans())

    async def _faults(self, plans: Iterator[tuple[list[Planned], int]]) -> None:
        while self._seconds_left() > 0:
            try:
                async with self._stack() as stack:
                    while self._seconds_left() > 0:
                        await self._fault_run(stack, *next(plans))
            except* (AssertionError, OSError, PostgresError, ServiceError) as errors:
                # A stack that did not come back is a finding, too; the next runs get a new one.
                self._print("the stack broke", [repr(each) for each in errors.exceptions])

    def _plans(self) -> Iterator[tuple[list[Planned], int]]:
        for _ in range(SEEDS):
            seed = self._random.randrange(1_000_000)
            for fault in self._random.sample(EVERY_FAULT, len(EVERY_FAULT)):
                yield plan(fault, seed), seed
        while True:
            seed = self._random.randrange(1_000_000)
            yield plan_mix(EVERY_FAULT, seed), seed

    async def _fault_run(self, stack: Stack, planned: Sequence[Planned], seed: int) -> None:
        kind = self._random.choice(SUBJECTS)
        finished = await run(stack, planned, seed, kind)
        verdict = finished.verdict
        assert verdict is not None
        if finished.complaints:
            finished.history.save(self._output / f"history-{len(self.found.runs)}.jsonl")
        self.found.add(finished)
        self._print(
            f"{finished.name}: seed {seed}, {kind.name}, {verdict.acknowledged} acknowledged, {verdict.unknown} "
            f"unknown, {verdict.suppressed} suppressed, {verdict.troubled} in trouble",
            finished.complaints,
        )

    async def _overload(self) -> None:
        seconds = min(STEP_SECONDS_MAX, self._seconds * _STEP_SHARE)
        async with self._stack(bare=True) as stack:
            for step in await overload.full_speed(stack, self._output, seconds):
                self._step(step, [])
            try:
                with cpu_share(overload.writer_processes(stack), overload.WRITER_SHARE):
                    await self._overload_small_writer(stack, seconds)
            except NoCpuShare as error:
                self._other("overload", f"not measured: {error}", [])

    async def _overload_small_writer(self, stack: Stack, seconds: float) -> None:
        capacity, unloaded = await overload.capacity_and_unloaded(stack, self._output, seconds / 2)
        for step in (unloaded, capacity):
            self._step(step, [])
        async for step in overload.steps(stack, self._output, seconds, capacity, unloaded):
            self._step(step, step.complaints(capacity, unloaded))

    async def _impatient_clients(self) -> None:
        name = f"{overload.IMPATIENT_CLIENTS} clients that repeat at once"
        try:
            allow_files(overload.IMPATIENT_CLIENTS)  # before the services start, which inherit it
        except TooFewFiles as error:
            self._other(name, f"not measured: {error}", [])
            return
        seconds = min(STEP_SECONDS_MAX, self._seconds * _STEP_SHARE) / overload.CLOSED_LOOP_ROUNDS
        async with self._stack(bare=True) as stack:
            closed_loop = await overload.closed_loop(stack, self._output, seconds)
        self._other(name, str(closed_loop), closed_loop.complaints())

    def _step(self, step: overload.Step, complaints: list[str]) -> None:
        self.found.overload.append(step)
        said = f"{step.name} capacity: {step.goodput:.0f}/s recorded, p99 {step.accepted_p99:.1f} ms"
        self._print(said, complaints)

    async def _storms(self) -> None:
        async with self._stack() as stack:
            seed = self._random.randrange(1_000_000)
            await cancelled_calls(stack.url, CANCELLED, seed)
            statuses = await plain_calls(stack.url, PLAIN)
            succeeded = statuses.count(200)
            complaints = [] if succeeded == PLAIN else [f"{PLAIN - succeeded} plain calls failed"]
            self._other(f"{CANCELLED} cancelled calls", f"then {succeeded} of {PLAIN} plain ones succeeded", complaints)

            alone, beside, endured = await self._slow_clients(stack)
            closed = [each for each in endured if each is not None]
            complaints = [] if len(closed) == SLOW else [f"{SLOW - len(closed)} of {SLOW} were not closed in time"]
            if beside > SLOW_P99_FACTOR_MAX * alone:
                complaints.append(f"p99 of others {beside:.1f} ms, alone {alone:.1f} ms")
            self._other(
                f"{SLOW} slow clients",
                f"closed after {max(closed, default=0):.1f} s at the latest; p99 of others {beside:.1f} ms, "
                f"alone {alone:.1f} ms",
                complaints,
            )

    async def _slow_clients(self, stack: Stack) -> tuple[float, float, list[float | None]]:
        """The p99 of other clients without and beside slow ones, in milliseconds, and how long each was endured."""
        seconds = SLOW_SECONDS_MAX - 1
        alone = await overload.measure(stack, self._output, seconds, rate=BESIDE_SLOW_RATE)
        slow = asyncio.create_task(slow_clients(stack.url, SLOW, SLOW_SECONDS_MAX))
        beside = await overload.measure(stack, self._output, seconds, rate=BESIDE_SLOW_RATE)
        return alone.accepted_p99, beside.accepted_p99, await slow

    async def _rolling_restarts(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with running_fleet(Path(folder), WITH_SAMPLE) as fleet:
                rounds, requests = (ROUNDS, REQUESTS_MIN) if self._is_whole else (1, 500)
                seen = await rolling_restarts(fleet, KINDS, rounds, requests)
                unlike = await asyncio.to_thread(unlike_acknowledged, fleet, KINDS, seen)
        complaints = [f"{len(seen.failures)} requests failed: {seen.failures[:3]}"] if seen.failures else []
        complaints += unlike
        said = f"{seen.requests:,} requests, {len(seen.failures)} failed, in {seen.ended - seen.begun:.0f} s"
        self._other(f"{seen.restarts} rolling restarts, no client repeats", said, complaints)

    async def _full_disks(self) -> None:
        whos = [who for who in NAMESPACES if who != "as root" or os.geteuid() == 0]
        for who in whos if self._is_whole else whos[-1:]:
            for fault in FULL_DISK_FAULTS if self._is_whole else FULL_DISK_FAULTS[:1]:
                seed = self._random.randrange(1_000_000)
                with tempfile.TemporaryDirectory() as folder:
                    names = [fault.name]
                    kind = self._random.choice(KINDS)
                    status, said = await asyncio.to_thread(prove_in_namespace, who, Path(folder), seed, kind, names)
                lines = said.strip().splitlines() or [""]
                refused = status == CANNOT_MOUNT
                complaints = [] if status == 0 or refused else [lines[-1]]
                how = f"not possible here: {lines[-1]}" if refused else lines[0] if status == 0 else "broken"
                self._other(f"{fault.name}, {who}, {kind.name}", how, complaints)

    def _other(self, name: str, how: str, complaints: list[str]) -> None:
        self.found.others.append((name, how))
        self._print(f"{name}: {how}", complaints)

    def _print(self, line: str, complaints: list[str]) -> None:
        self.found.complaints.extend(
            f"{line}: {each}" for each in complaints if not any(each in known for known in self.found.complaints)
        )
        elapsed = time.monotonic() - self.found.begun
        print(
            f"[{elapsed / 60:4.1f} of {self._seconds / 60:g} min] {'BROKEN ' if complaints else ''}{line}", flush=True
        )
        for each in complaints:
            print(f"    {each}", flush=True)

    def _seconds_left(self) -> float:
        return self.found.begun + self._seconds - time.monotonic()

    @asynccontextmanager
    async def _stack(self, *, bare: bool = False) -> AsyncIterator[Stack]:
        with tempfile.TemporaryDirectory() as folder:
            workers = 1 if bare else 2
            # Figures of speed are those of the product as it is delivered.
            programs = DELIVERED if bare else WITH_SAMPLE
            async with running_stack(Path(folder), public_workers=workers, bare=bare, programs=programs) as stack:
                yield stack


async def replay(fault_name: str, seed: int, kind: EventKind, output: Path) -> int:
    """One fault with one seed, as a failed run's line says; the number of complaints."""
    (fault,) = [each for each in EVERY_FAULT if each.name == fault_name]
    with tempfile.TemporaryDirectory() as folder:
        async with running_stack(Path(folder), programs=WITH_SAMPLE) as stack:
            finished = await run(stack, plan(fault, seed), seed, kind)
    finished.history.save(output / "history.jsonl")
    print("\n".join(finished.complaints) or "every promise held")
    return len(finished.complaints)


def main() -> int:
    """The command line; 1 when any promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long, about")
    parser.add_argument("--seed", type=int, default=None, help="replays the plans of an earlier soak")
    parser.add_argument("--fault", choices=[each.name for each in EVERY_FAULT], help="only this one, once")
    parser.add_argument("--kind", choices=[each.name for each in SUBJECTS], default=KINDS[0].name, help="with --fault")
    chosen = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    print(f"--seed {seed}", flush=True)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    lock = LOCK.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # open, and so held, until this process ends
    except BlockingIOError:
        print("soak: another one is under way, and would lose its report", file=sys.stderr)
        return 1
    shutil.rmtree(OUTPUT)
    OUTPUT.mkdir()
    if chosen.fault is not None:
        return min(1, asyncio.run(replay(chosen.fault, seed, kind_named(chosen.kind), OUTPUT)))
    try:
        overload.k6()
    except overload.NoLoadGenerator as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    soaking = Soaking(chosen.minutes, seed, OUTPUT)
    try:
        asyncio.run(soaking.everything())
    finally:
        page = report.write(soaking.found, OUTPUT)
        print(f"{len(soaking.found.complaints)} complaints; the report is {page}", flush=True)
    return min(1, len(soaking.found.complaints))


if __name__ == "__main__":
    sys.exit(main())
