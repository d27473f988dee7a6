"""Graceful shutdown: on SIGTERM, readiness fails first, requests are still served, and then the server stops.

This is state of the process, because a signal reaches the process and not an application.
"""

import asyncio
import signal
import threading
from types import FrameType

_begun = threading.Event()


def is_draining() -> bool:
    """Whether this process is shutting down, so that a load balancer should send its requests to another one."""
    return _begun.is_set()


def install(seconds: float) -> None:
    """Delay the server's own SIGTERM handler by `seconds`; a second signal takes effect at once.

    Call it in the event loop's thread, after the server has installed its handler.
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
