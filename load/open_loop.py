"""An open-loop client: sends requests at times of a Poisson process, whether or not earlier ones were answered.

`python -m load.open_loop URL RATE SECONDS SEED EVENT [HEADER ...]` prints what it saw as JSON. A request waits from the
time at which it is due, not from the one at which a late client sends it (no coordinated omission). k6, which
`make soak` uses, begins some 6,000 requests a second on a core; this begins several times as many.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

from load.figures import percentiles

# One request is in flight on each; the product refuses more than 600.
_CONNECTIONS = 512
_ANSWER_BYTES_MAX = 65_536
_DRAIN_SECONDS_MAX = 10.0


class OpenLoad(NamedTuple):
    """What one run saw; times in milliseconds, processor time in microseconds a request."""

    requests: int
    requests_per_second: float
    p50: float
    p99: float
    processor: float


def open_loop(
    url: str, event: str, *, rate: float, seconds: float, seed: int = 1, headers: Sequence[str] = ()
) -> OpenLoad:
    """Send `rate` requests a second from a process of its own.

    Raises:
        ValueError: a request failed or was refused; such a run measures nothing.
    """
    command = [sys.executable, "-m", "load.open_loop", url, str(rate), str(seconds), str(seed), event, *headers]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if finished.returncode != 0:
        message = f"a run in which requests fail measures nothing: {finished.stderr.strip().splitlines()[-1:]}"
        raise ValueError(message)
    return OpenLoad(**json.loads(finished.stdout))


def _send(url: str, event: str, headers: Sequence[str], due: Sequence[float]) -> OpenLoad:
    """Send a request at each of these times, which are seconds from now."""
    address = urlsplit(url)
    assert address.hostname is not None  # noqa: S101 - a URL of a Service
    body = event.replace("{number}", "123").encode()
    head = [f"POST {address.path} HTTP/1.1", f"Host: {address.netloc}", "Content-Type: application/json", *headers]
    request = "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    for _ in range(_CONNECTIONS):
        connection = socket.create_connection((address.hostname, address.port or 80))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
    idle, since = list(sockets), dict.fromkeys(sockets, 0.0)
    waits: list[float] = []
    sent, processor, begun = 0, time.process_time(), time.perf_counter()
    while len(waits) < len(due):
        now = time.perf_counter() - begun
        while sent < len(due) and due[sent] <= now and idle:
            number = idle.pop()
            since[number] = due[sent]
            sockets[number].send(request)
            sent += 1
        pause = due[sent] - now if sent < len(due) and idle else _DRAIN_SECONDS_MAX
        # epoll's own limit is in whole milliseconds, and select's is not.
        readable, _, _ = select.select([poll], [], [], max(0.0, pause))
        if not readable and sent == len(due):
            raise ValueError("requests were not answered")
        for number, _ in poll.poll(0) if readable else ():
            answer = sockets[number].recv(_ANSWER_BYTES_MAX)
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ValueError(f"a request was refused: {answer[:100]!r}")
            waits.append(time.perf_counter() - begun - since[number])
            idle.append(number)
    elapsed, used = time.perf_counter() - begun, time.process_time() - processor
    for connection in sockets.values():
        connection.close()
    p50, p99 = percentiles([1e3 * wait for wait in waits])
    return OpenLoad(len(waits), len(waits) / elapsed, p50, p99, 1e6 * used / len(waits))


def _due(rate: float, seconds: float, seed: int) -> list[float]:
    draws = Random(seed)  # noqa: S311 - not a secret
    times, at = [], draws.expovariate(rate)
    while at < seconds:
        times.append(at)
        at += draws.expovariate(rate)
    return times


def main() -> int:
    """See above."""
    url, rate, seconds, seed, event, *headers = sys.argv[1:]
    print(json.dumps(_send(url, event, headers, _due(float(rate), float(seconds), int(seed)))._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
