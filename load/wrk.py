"""wrk, the HTTP load generator, as a function. Debian: apt-get install wrk."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class WrkMissingError(Exception):
    """wrk is not installed."""


class Load(NamedTuple):
    """What one run of wrk saw; times in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float
    refused: int
    errors: int


def wrk(url: str, *, connections: int, seconds: int, script: Path | None = None, arguments: Sequence[str] = ()) -> Load:
    """Ask `url` over and over from `connections` clients at once, each waiting for its answer.

    `arguments` are the script's.

    Raises:
        WrkMissingError: it is not on the PATH.
    """
    if shutil.which("wrk") is None:
        raise WrkMissingError("wrk is needed as the client (Debian: apt-get install wrk)")
    command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    command += ["-s", str(script)] if script else []
    output = subprocess.run([*command, url, "--", *arguments], check=True, capture_output=True, text=True).stdout  # noqa: S603
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    return Load(
        requests_per_second=float(_found(r"Requests/sec:\s+([\d.]+)", output)[0]),
        p50=_milliseconds("50%", output),
        p99=_milliseconds("99%", output),
        refused=int(refused[1]) if refused else 0,
        errors=sum(int(each) for each in errors.groups()) if errors else 0,
    )


def _milliseconds(percentile: str, output: str) -> float:
    value, unit = _found(rf"{percentile}\s+([\d.]+)(us|ms|s)", output)
    return float(value) * _UNITS[unit]


def _found(pattern: str, output: str) -> tuple[str, ...]:
    match = re.search(pattern, output)
    if match is None:
        message = f"wrk said nothing like {pattern!r}:\n{output}"
        raise ValueError(message)
    return match.groups()
