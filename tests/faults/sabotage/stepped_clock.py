"""A wall clock that the rig can set: its error in seconds is a double at the start of CLOCK_FILE.

Steps what the services read the wall clock by: `time.time` (deadlines), and `datetime.now` where events get their
time. The monotonic clock stays, as it does on a real machine.
"""

import mmap
import os
import struct
import time
from datetime import datetime, tzinfo
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

_real_time = time.time
with Path(os.environ["CLOCK_FILE"]).open("rb") as _file:
    _error = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)


def _stepped_time() -> float:
    (seconds,) = struct.unpack_from("d", _error)
    return float(_real_time() + seconds)


class _SteppedDatetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain one, as the real one gives
        return datetime.fromtimestamp(_stepped_time(), tz)


time.time = _stepped_time
# Only where it is called: elsewhere the name is a type, which must stay what it is.
_package = Path.cwd().name.replace("-", "_")  # a service runs in its own folder
if find_spec(_package) is not None:
    _router = import_module(f"{_package}.auth_events.router")
    _router.datetime = _SteppedDatetime  # type: ignore[attr-defined]
