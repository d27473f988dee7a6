"""Lets Ctrl-C end a command that waits for a database.

Python handles a signal when the driver returns, which may be after the hour that a statement takes. So a thread learns
of the signal at once, and cancels what the process waits for.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from weakref import WeakSet

import psycopg2

from servicekit.database import Connection

_open = WeakSet[Connection]()
_lock = threading.Lock()


def opened(conn: Connection) -> Connection:
    """Let `interruptible` cancel the statements of a connection, and return it."""
    with _lock:
        _open.add(conn)
    return conn


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt in the block without waiting for a statement. In the main thread, that is.

    A block that handles SIGINT by itself cancels nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tells = socket.socketpair()
    tells.setblocking(False)
    thread = threading.Thread(target=_cancel_when_told, args=(told,), name="interruption", daemon=True)
    # Not Python's own handler, in place of which asyncio would only cancel a task: at its next await.
    before = signal.signal(signal.SIGINT, _interrupt)
    fd_before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(fd_before)
        signal.signal(signal.SIGINT, before)
        tells.close()
        thread.join()
        told.close()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _cancel_when_told(told: socket.socket) -> None:
    while numbers := told.recv(1):
        if numbers[0] != signal.SIGINT or signal.getsignal(signal.SIGINT) is not _interrupt:
            continue
        with _lock:
            connections = list(_open)
        for conn in connections:
            with suppress(psycopg2.Error):  # it is closed, or its server is away
                conn.cancel()
