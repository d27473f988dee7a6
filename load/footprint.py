"""Memory under load, and how soon `make run` is ready."""

import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

from load.environment import BenchEnvironment, Product
from load.figures import Figure
from load.write_loads import AUTH_EVENTS
from load.writes import post
from local.ports import free_port

_ROOT = Path(__file__).resolve().parent.parent
_WARM_SECONDS = 30
_STARTS = 3


def memory(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """Resident memory of every service process while 512 clients post through two workers."""
    with environment.product("memory") as product, ThreadPoolExecutor(1) as pool:
        product.restart_public(2)
        running = pool.submit(post, product, AUTH_EVENTS, clients=512, seconds=_WARM_SECONDS + seconds)
        time.sleep(_WARM_SECONDS)
        before = dict(resident_mib(product))
        time.sleep(seconds - 1)
        after = dict(resident_mib(product))
        running.result()
    growth = {process: after[process] - before[process] for process in after}
    largest = ", ".join(f"{name} {after[(name, pid)]:.0f}" for name, pid in sorted(after))
    return [
        Figure("resident memory of the largest process", max(after.values()), 120, "lower", f"MiB: {largest}", " MiB"),
        Figure(
            f"growth of any process in {seconds} s",
            max(growth.values()),
            10,
            "lower",
            f"after {_WARM_SECONDS} s of the same load",
            " MiB",
        ),
    ]


def second_start() -> list[Figure]:
    """`make run` on data that is there, from the command to a ready public service."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = [_start_and_stop(Path(folder)) for _ in range(1 + _STARTS)][1:]
    detail = "starts " + ", ".join(f"{each:.1f} s" for each in seconds)
    return [Figure("`make run`, second start to ready", median(seconds), 4, "lower", detail, " s", target=2)]


def _start_and_stop(folder: Path) -> float:
    port = free_port()
    settings = {"DATA_DIR": str(folder), "STATISTICS_PORT": str(port), "REGISTRATION_PORT": str(free_port())}
    begun = time.perf_counter()
    with (folder / "make-run.log").open("ab") as log:
        run = subprocess.Popen(
            ["make", "run"],  # noqa: S607
            cwd=_ROOT,
            env=os.environ | settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while run.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:  # noqa: PLR2004
                    return time.perf_counter() - begun
            time.sleep(0.02)
        message = f"make run ended with status {run.returncode}"
        raise RuntimeError(message)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGTERM)
        run.wait()


def resident_mib(product: Product) -> Iterator[tuple[tuple[str, int], float]]:
    """Every process of both services, by name and pid; a worker belongs to its service's process group."""
    for service in (product.public, product.private):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and service.pid is not None:
                with suppress(OSError):
                    if os.getpgid(int(entry.name)) == service.pid:
                        status = (entry / "status").read_text()
                        kib = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
                        yield (service.name, int(entry.name)), int(kib) / 1024
