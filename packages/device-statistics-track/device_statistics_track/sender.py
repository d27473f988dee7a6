"""Sends the backlog from a thread of its own, one in each process."""

import atexit
import logging
import os
import random
import threading
import time
import weakref

from device_statistics_track.backlog import EVENTS_MAX, PAUSE_SECONDS, Answer, Backlog, Verdict
from device_statistics_track.event import Event, encode, uuid7
from device_statistics_track.settings import Settings
from device_statistics_track.transport import Transport

logger = logging.getLogger("device_statistics_track")

# How long the end of the host's process is delayed at most.
FLUSH_SECONDS_MAX = 2.0


class Sender:
    """Takes events from any thread without waiting, and sends them from its own.

    The thread starts with the first event of a process, so servers that fork after loading the application have one in
    each child. It is a daemon: it never keeps a process alive.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._start_empty()
        _senders.add(self)

    def _start_empty(self) -> None:
        self._condition = threading.Condition()
        self._backlog = Backlog(encode, _new_batch_id, random.random)
        self._thread: threading.Thread | None = None
        self._hurry = False
        self._state = Verdict.ACCEPTED
        self._rejection_is_logged = False
        self._loss_is_logged = False

    forget = _start_empty
    """Begin anew in a child process: the events and the connection are the parent's, and the thread is not here."""

    @property
    def backlog(self) -> Backlog:
        """The events that wait."""
        return self._backlog

    def record(self, event: Event) -> None:
        """Hand over an event. It never waits for the network and never raises."""
        if self._backlog.record(event, time.monotonic()):
            self._wake()

    def flush(self, seconds_max: float = FLUSH_SECONDS_MAX) -> None:
        """Send what is there, and wait for that. The first failure ends it."""
        end = time.monotonic() + seconds_max
        with self._condition:
            if self._thread is None or not self._thread.is_alive():
                return
            self._hurry = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: not self._hurry, max(0.0, end - time.monotonic()))
            self._hurry = False

    def _wake(self) -> None:
        with self._condition:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="device-statistics-track", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # The interpreter ends, or the process may have no more threads. The next first event tries again.
                    return
                self._thread = thread
            self._condition.notify_all()

    def _run(self) -> None:
        transport = Transport(self._settings)
        while True:
            self._wait_until_due()
            batch = self._backlog.next_batch()
            if batch is None:
                continue
            try:
                answer = transport.post(batch)
            except Exception:  # an error of this package ends neither the host nor the reports
                if self._state is not Verdict.RETRY:
                    logger.exception("a batch could not be sent")
                transport = Transport(self._settings)
                answer = Answer(Verdict.RETRY, "an error of the sender")
            self._backlog.settle(batch, answer, time.monotonic())
            self._log_change(answer)
            if answer.verdict is not Verdict.ACCEPTED:
                self._end_hurry()

    def _wait_until_due(self) -> None:
        with self._condition:
            while True:
                seconds = self._backlog.seconds_until_due(time.monotonic(), hurry=self._hurry)
                if seconds == 0:
                    return
                if self._hurry:  # everything is sent, or the receiver has asked for a pause
                    self._hurry = False
                    self._condition.notify_all()
                    continue
                self._condition.wait(seconds)

    def _end_hurry(self) -> None:
        with self._condition:
            self._hurry = False
            self._condition.notify_all()

    def _log_change(self, answer: Answer) -> None:
        """One line for each change of state, not for each failure."""
        address = self._settings.address
        if answer.rejected and not self._rejection_is_logged:
            self._rejection_is_logged = True
            logger.warning("%s refused %d of the events; later ones are not logged", address, answer.rejected)
        is_full = self._backlog.held >= EVENTS_MAX
        if is_full and not self._loss_is_logged:
            logger.warning("%d events wait for %s: new ones are dropped and counted", EVENTS_MAX, address)
        self._loss_is_logged = is_full
        if answer.verdict is self._state:
            return
        self._state = answer.verdict
        if answer.verdict is Verdict.ACCEPTED:
            logger.info("%s accepts events again", address)
        elif answer.verdict is Verdict.RETRY:
            logger.warning("events are kept and sent again: %s: %s", address, answer.reason)
        elif answer.verdict is Verdict.UNWANTED:
            logger.error(
                "%s: %s: events are dropped and counted; the next attempt is in %d s",
                address,
                answer.reason,
                PAUSE_SECONDS,
            )
        else:
            logger.error("%s refused a batch: %s: it is sent in parts", address, answer.reason)


_senders: "weakref.WeakSet[Sender]" = weakref.WeakSet()


def _new_batch_id() -> str:
    return uuid7(time.time_ns() // 1_000_000)


def _forget_in_child() -> None:
    for sender in list(_senders):
        sender.forget()


def _flush_at_exit() -> None:
    end = time.monotonic() + FLUSH_SECONDS_MAX
    for sender in list(_senders):
        sender.flush(max(0.0, end - time.monotonic()))


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_in_child)
atexit.register(_flush_at_exit)
