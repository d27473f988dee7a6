"""Leaving in order: on SIGTERM, readiness fails first, requests are served on, and only then the server stops.

State of the process, not of an application: the signal reaches the process, and the routes only ask.
"""

import asyncio
import signal
import threading
from types import FrameType

_begun = threading.Event()


def is_draining() -> bool:
    """Whether a balancer should send its requests elsewhere from now on."""
    return _begun.is_set()


def install(seconds: float) -> None:
    """Hold the server's own SIGTERM handler back for `seconds`; a second signal goes through at once.

    Called once the server has installed its handler, from the event loop's thread.
    """
    stop = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        if not callable(stop):
            return
        if _begun.is_set() or seconds == 0:
            stop(number, frame)
        else:
            loop.call_soon_threadsafe(loop.call_later, seconds, stop, number, frame)
        _begun.set()

    signal.signal(signal.SIGTERM, on_sigterm)
