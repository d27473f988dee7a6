"""A search for bodies that stop everybody else or take a service's memory, against a real service process.

    python -m tests.delivery.hostile_bodies [--rounds 300] [--seed 1] [--report build/hostile-bodies.md]

Bodies are drawn at random, and the worst of them are changed and sent again. Of each is measured what another client
waits for `/livez` meanwhile, how far the public service's memory grows, and what of it stays.
"""

import argparse
import contextlib
import http.client
import random
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load.environment import BenchEnvironment
from local.postgres import Postgres, wheel_binaries
from local.services import Service
from tests.delivery.bodies import ARRAY, LINES, MIB, UNITS, Body, any_body, changed

PATH = "/Log/auth/batch"
# Who is not answered by then is counted so, and the process ends.
RESPONSE_SECONDS_MAX = 60.0
# Of the worst so far, this many are changed on.
_KEPT = 12
_SHARE_NEW = 0.4
_PROBE_PAUSE_SECONDS = 0.002
_SETTLE_SECONDS = 0.3
_SHOWN = 5
_KEPT_BYTES_MAX = 2 * MIB


@dataclass(frozen=True)
class Measured:
    """What one body did."""

    body: Body
    bytes: int
    status: int
    seconds: float
    wait_seconds: float
    grown_bytes: int
    kept_bytes: int

    @property
    def cost(self) -> float:
        """1 is the bound: 100 ms for another client, and 8 times the body (or 8 MiB, for a small one)."""
        return max(self.wait_seconds / 0.1, self.grown_bytes / (8 * max(self.bytes, MIB)))

    def row(self) -> str:
        """One line of the report."""
        return (
            f"| {self.bytes:,} B: {self.body} | {self.status} | {self.seconds:.2f} s "
            f"| {self.wait_seconds * 1000:.0f} ms "
            f"| {self.grown_bytes / MIB:.1f} MiB, {self.grown_bytes / self.bytes:.1f} x "
            f"| {self.kept_bytes / MIB:.1f} MiB |"
        )


class Probe:
    """Another client: asks `/livez` every few milliseconds on a connection of its own."""

    def __init__(self, service: Service) -> None:
        self._connection = http.client.HTTPConnection(service.host, service.port, timeout=RESPONSE_SECONDS_MAX)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest_seconds = 0.0

    def __enter__(self) -> "Probe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                self._connection.request("GET", "/livez")
                self._connection.getresponse().read()
            except OSError:
                self._ended.set()
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - begun)
            time.sleep(_PROBE_PAUSE_SECONDS)


class Subject:
    """The service that is sent the bodies."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._warm_up()

    def _warm_up(self) -> None:
        """What every process takes once: modules, pools, connections."""
        for content in (b"[%b]" % b",".join([b'{"userKey":"u","deviceType":"TV"}'] * 100), b"[1]"):
            self._post(content, {})
        time.sleep(_SETTLE_SECONDS)
        self.idle = self._memory("VmRSS")

    def measure(self, body: Body) -> Measured:
        """Send it, and watch. The next body meets a new process if this one left something behind."""
        content = body.make()
        idle = self.idle
        Path(f"/proc/{self._service.pid}/clear_refs").write_text("5")  # the peak begins anew
        with Probe(self._service) as probe:
            begun = time.monotonic()
            status = self._post(content, body.headers())
            seconds = time.monotonic() - begun
        grown = self._memory("VmHWM") - idle
        time.sleep(_SETTLE_SECONDS)
        kept = self._memory("VmRSS") - idle
        if kept > _KEPT_BYTES_MAX or not status:
            self._service.kill()
            self._service.start()
            self._service.wait_ready()
            self._warm_up()
        return Measured(body, len(content), status, seconds, probe.longest_seconds, grown, kept)

    def _post(self, content: bytes, headers: dict[str, str]) -> int:
        connection = http.client.HTTPConnection(self._service.host, self._service.port, timeout=RESPONSE_SECONDS_MAX)
        with contextlib.closing(connection):
            try:
                connection.request("POST", PATH, content, headers)
                response = connection.getresponse()
                response.read()
            except OSError:
                return 0
            return response.status

    def _memory(self, field: str) -> int:
        for line in Path(f"/proc/{self._service.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise LookupError(field)


@contextlib.contextmanager
def real_service() -> Iterator[Service]:
    """A public service as it is delivered, with everything behind it."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder) / "postgres", wheel_binaries())
        server.start()
        try:
            with BenchEnvironment(server, Path(folder)).product(f"hostile_{secrets.token_hex(4)}") as product:
                yield product.public
        finally:
            server.stop()


def search(subject: Subject, rounds: int, rng: random.Random) -> Iterator[Measured]:
    """One large body of each unit in each form, then `rounds` more: drawn at random, or the worst so far, changed."""
    worst: list[Measured] = []
    for content_type in (LINES, ARRAY):
        for unit in UNITS:
            yield (measured := subject.measure(Body(content_type, unit, rng.choice([2, 200, 30_000]), 4 * MIB)))
            worst.append(measured)
    for _ in range(rounds):
        worst = sorted(worst, key=lambda each: -each.cost)[:_KEPT]
        body = any_body(rng) if rng.random() < _SHARE_NEW else changed(rng.choice(worst).body, rng)
        yield (measured := subject.measure(body))
        worst.append(measured)


def main() -> None:
    """Search, and print the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311 - no secret
    options = parser.parse_args()
    print(f"seed {options.seed}")
    begun, found = time.monotonic(), dict[tuple[str, str], Measured]()
    with real_service() as service:
        subject = Subject(service)
        harmless = [subject.measure(Body(ARRAY, "event", 1, 1, items_max=1)) for _ in range(10)]
        bodies = 0
        for each in search(subject, options.rounds, random.Random(options.seed)):  # noqa: S311 - no secret
            bodies += 1
            known = (each.body.unit, each.body.content_type)
            found[known] = max(each, found.get(known, each), key=lambda measured: measured.cost)
            if time.monotonic() - begun > options.seconds:
                break
    print(f"{bodies} bodies; of each unit in each form, the worst is compared")
    print(f"beside a harmless body another client waited {1000 * max(each.wait_seconds for each in harmless):.0f} ms")
    print("| body | status | time | another client waited | memory grew | stayed |")
    print("|---|---|---|---|---|---|")
    for each in sorted(found.values(), key=lambda measured: -measured.cost)[:_SHOWN]:
        print(each.row())


if __name__ == "__main__":
    main()
