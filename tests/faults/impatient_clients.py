"""Clients in a closed loop that repeat at once, after an answer and after a refusal; in a process of their own.

`python -m tests.faults.impatient_clients URL CLIENTS SECONDS` prints the counts as JSON.

k6 cannot stand in for them: its script takes a core for 6,000 requests/s, and one process refuses 40,000. So these are
bare asyncio protocols that send the same bytes again and again.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop
from typing_extensions import override

_BODY = b'{"userKey":"impatient","deviceType":"iOS"}'
_REQUEST = b"POST /Log/auth HTTP/1.1\r\nHost: rig\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)
# Files that a process has open beside its clients' connections.
_OTHER_FILES = 200


class TooFewFiles(Exception):
    """This machine does not let a process have so many connections; the message is one sentence for its user."""


@dataclass
class Counts:
    """What the clients got, all together."""

    clients: int
    seconds: float
    recorded: int = 0
    refused: int = 0
    # Neither recorded nor refused with Retry-After, or a connection that was closed.
    improper: int = 0

    @property
    def recorded_per_second(self) -> float:
        """The goodput."""
        return self.recorded / self.seconds

    @property
    def refused_per_second(self) -> float:
        """How fast the clients were told to come again."""
        return self.refused / self.seconds


def total(rounds: Sequence[Counts]) -> Counts:
    """Several rounds of as many clients as one."""
    return Counts(
        rounds[0].clients,
        sum(each.seconds for each in rounds),
        sum(each.recorded for each in rounds),
        sum(each.refused for each in rounds),
        sum(each.improper for each in rounds),
    )


def allow_files(count: int) -> None:
    """Let this process, and those it starts from now on, have `count` connections.

    Raises TooFewFiles.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _OTHER_FILES
    if soft < needed:
        if hard < needed:
            message = f"{needed} open files are needed for {count} connections, and `ulimit -Hn` is {hard}"
            raise TooFewFiles(message)
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class _Client(asyncio.Protocol):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._received = b""
        self._transport: asyncio.Transport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_REQUEST)

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        self._received = b""
        if head.startswith(b"HTTP/1.1 200 "):
            self._counts.recorded += 1
        elif head.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: " in head:
            self._counts.refused += 1
        else:
            self._counts.improper += 1
        self._transport.write(_REQUEST)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._counts.improper += 1


def _content_length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length: ")
    return int(rest.partition(b"\r\n")[0]) if found else 0


async def ask_again_and_again(url: str, clients: int, seconds: float) -> Counts:
    """Let all clients connect, then count what they get in `seconds`."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    counts = Counts(clients, seconds)
    loop = asyncio.get_running_loop()
    for _ in range(clients):
        await loop.create_connection(lambda: _Client(counts), address.hostname or "", address.port or 80)
    counts.recorded = counts.refused = 0  # from here on, all of them are there
    await asyncio.sleep(seconds)
    return Counts(clients, seconds, counts.recorded, counts.refused, counts.improper)


def main() -> None:
    """The command line."""
    url, clients, seconds = sys.argv[1:]
    allow_files(int(clients))
    print(json.dumps(asdict(uvloop.run(ask_again_and_again(url, int(clients), float(seconds))))))


if __name__ == "__main__":
    main()
