"""Judges a promise about processor time on any machine, by a fixed piece of work that is measured beside it.

A machine may be slow, or its cores shared with others: then the fixed work takes as much longer, and the two cancel.
"""

import math
import time
from collections.abc import Callable

# What the fixed work takes on the machine that the promises are about: one core of a small virtual machine.
UNIT_SECONDS = 0.001
_TRIES = 3


def least_seconds(measure: Callable[[], float], *, enough: float) -> float:
    """Return the least of three results of `measure`, in seconds of the machine that the promises are about.

    The least, because whatever comes between adds to a time. The first that is below `enough` suffices. A machine that
    is faster than that one is taken for equal.
    """
    least = math.inf
    for _ in range(_TRIES):
        least = min(least, _scaled(measure))
        if least < enough:
            break
    return least


def processor_seconds(run: Callable[[], object]) -> float:
    """Return the processor time of this thread alone, in seconds of this machine."""
    begun = time.thread_time()
    run()
    return time.thread_time() - begun


def _scaled(measure: Callable[[], float]) -> float:
    before = processor_seconds(_fixed_work)
    seconds = measure()
    beside = (before + processor_seconds(_fixed_work)) / 2
    return seconds / max(1.0, beside / UNIT_SECONDS)


def _fixed_work() -> None:
    sum(number * number for number in range(20_000))
