"""A wall clock that the rig can set: its error in seconds is a double at the start of CLOCK_FILE.

Steps what the services read the wall clock by, in its one place. The monotonic clock stays, as it does on a real
machine.
"""

import mmap
import os
import struct
from pathlib import Path

from servicekit.process import clock

# ruff: noqa: SLF001 - sabotage has no public entrance

_real = clock._read
with Path(os.environ["CLOCK_FILE"]).open("rb") as _file:
    _error = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)


def _stepped() -> float:
    (seconds,) = struct.unpack_from("d", _error)
    return float(_real() + seconds)


clock._read = _stepped
