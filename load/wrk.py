"""wrk, the HTTP load generator, as a function. Debian: apt-get install wrk."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


class WrkMissingError(Exception):
    """wrk is not installed."""


class Load(NamedTuple):
    """What one run of wrk saw; times in milliseconds."""

    requests: int
    requests_per_second: float
    p50: float
    p99: float
    refused: int
    errors: int
    # What a script says that repeats some of its requests: how many were different, and how many repeated one.
    different: int = 0
    repeated: int = 0


def wrk(
    url: str,
    *,
    connections: int,
    seconds: int,
    script: Path | None = None,
    arguments: Sequence[str] = (),
    headers: Sequence[str] = (),
    may_be_refused: bool = False,
) -> Load:
    """Ask `url` over and over from `connections` clients at once, each waiting for its answer.

    Raises:
        WrkMissingError: it is not on the PATH.
        ValueError: requests failed, or were refused and may not be; such a run measures nothing.
    """
    if shutil.which("wrk") is None:
        raise WrkMissingError("wrk is needed as the client (Debian: apt-get install wrk)")
    command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    command += ["-s", str(script)] if script else []
    for header in headers:
        command += ["-H", header]
    command += [url, *(["--", *arguments] if arguments else [])]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    load = parse(output)
    if load.errors or (load.refused and not may_be_refused):
        message = f"a run in which requests fail measures nothing: {load}"
        raise ValueError(message)
    return load


def parse(output: str) -> Load:
    """The report that wrk prints.

    Raises:
        ValueError: a part of it is missing.
    """
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    events = re.search(r"Different events: (\d+), repeated: (\d+)", output)
    return Load(
        requests=int(_found(r"(\d+) requests in ", output)[0]),
        requests_per_second=float(_found(r"Requests/sec:\s+([\d.]+)", output)[0]),
        p50=_milliseconds("50%", output),
        p99=_milliseconds("99%", output),
        refused=int(refused[1]) if refused else 0,
        errors=sum(int(each) for each in errors.groups()) if errors else 0,
        different=int(events[1]) if events else 0,
        repeated=int(events[2]) if events else 0,
    )


def _milliseconds(percentile: str, output: str) -> float:
    value, unit = _found(rf"{percentile}\s+([\d.]+)(us|ms|s|m)\b", output)
    return float(value) * _UNITS[unit]


def _found(pattern: str, output: str) -> tuple[str, ...]:
    match = re.search(pattern, output)
    if match is None:
        message = f"wrk said nothing like {pattern!r}:\n{output}"
        raise ValueError(message)
    return match.groups()
