"""Waiting for what another process does in its own time."""

import time
from collections.abc import Callable

# On a busy machine, too: a test fails by it only when what it waits for never comes.
SECONDS_MAX = 60.0


def wait_until(true: Callable[[], bool], seconds_max: float = SECONDS_MAX) -> float:
    """Return after how many seconds it was true; fail if it was not within `seconds_max`."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds_max
        time.sleep(0.05)
    return time.monotonic() - begun
