"""The wall clock of a service: the one place that reads it for anything a client or another process sees.

Durations and deadlines within a process are readings of `time.monotonic`.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

# Seconds since the epoch. The fault tests replace it, to step the clock of a service under load.
_read: Callable[[], float] = time.time


def now() -> datetime:
    """The time, with its zone: UTC."""
    return datetime.fromtimestamp(_read(), UTC)


def seconds() -> float:
    """The same as seconds since the epoch."""
    return _read()
