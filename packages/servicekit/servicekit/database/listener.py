"""Listens for the notifications of a database, on one connection of its own."""

import logging
import random
import select
import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress

import psycopg2
from psycopg2 import sql

from servicekit.database import Connection

# After a failure, a random part of this time passes before the next attempt; it doubles up to the second number.
PAUSE_SECONDS = 1.0
PAUSE_SECONDS_MAX = 10.0

_log = logging.getLogger(__name__)


class Listener:
    """A thread that calls `on_message` with the payload of each notification, from `start` to `stop`.

    It connects again after any failure. What is sent meanwhile is lost, so its user must not depend on a notification.
    Keepalives detect within 20 seconds a server that vanished.
    """

    def __init__(self, dsn: str, channel: str, on_message: Callable[[str], object]) -> None:
        """`on_message` is called in the thread, and must return at once."""
        self._dsn = dsn
        self._channel = channel
        self._on_message = on_message
        self._stopping = threading.Event()
        self._wake, self._woken = socket.socketpair()
        # A daemon: a connection attempt may outlast `stop`, and must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"listen {channel}", daemon=True)

    def start(self) -> None:
        """Begin to connect. Call it once."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connection. A connection attempt that is under way is left to itself."""
        self._stopping.set()
        self._wake.close()

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        was_lost = False
        while not self._stopping.is_set():
            try:
                with closing(psycopg2.connect(self._dsn)) as conn:
                    conn.autocommit = True
                    with conn.cursor() as cursor:
                        cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    if was_lost:
                        _log.info("notifications of %s arrive again", self._channel)
                    pause, was_lost = PAUSE_SECONDS, False
                    self._receive(conn)
            except psycopg2.Error as error:
                if not was_lost and not self._stopping.is_set():
                    # Only the kind of the error: its text may contain what was sent.
                    _log.warning("notifications of %s do not arrive (%s)", self._channel, type(error).__name__)
                was_lost = True
                # Jitter, because the processes of a service usually lose their connections together.
                self._stopping.wait(random.uniform(0, pause))  # noqa: S311 - not a secret
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
        self._woken.close()

    def _receive(self, conn: Connection) -> None:
        """Return when `stop` is called. Raises psycopg2.Error when the connection is lost."""
        poll = select.poll()
        for each in (conn, self._woken):
            poll.register(each, select.POLLIN)
        while not self._stopping.is_set():
            poll.poll()
            conn.poll()
            while conn.notifies:
                with suppress(RuntimeError):  # the event loop is closed: the process is ending
                    self._on_message(conn.notifies.pop(0).payload)
