"""Slows down repeated failures to log in, in the memory of this process.

An account is never locked. A refused attempt is not counted, so the wait ends even while somebody goes on trying. A
client that has logged in from its network before waits for its own failures only.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from servicekit.errors import TooManyRequests

# Failures without a wait. The next one waits for a second, and each further failure doubles the wait.
FREE_FAILURES_OF_EMAIL = 5
FREE_FAILURES_OF_NETWORK = 20
WAIT_SECONDS_MAX = 30.0
FORGOTTEN_AFTER_SECONDS = 900.0
# An entry takes some 300 bytes. Beyond this number, the one that was used least recently is forgotten.
SUBJECTS_MAX = 20_000
_DOUBLINGS_MAX = 10

Subject = tuple[str, bytes, str]
Value = TypeVar("Value")


class LoginAttempt(NamedTuple):
    """An attempt that was counted as failed: the e-mail address with the network, and what it was counted for."""

    pair: Subject
    counted: tuple[Subject, ...]


@dataclass
class _Failures:
    number: int
    latest: float


class LoginThrottle:
    """The failures of e-mail addresses and of networks; one for each process. No method waits."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures: OrderedDict[Subject, _Failures] = OrderedDict()
        self._known: OrderedDict[Subject, None] = OrderedDict()

    def begin(self, email: bytes, network: str) -> LoginAttempt:
        """Count an attempt as failed until it is known better: many at once do not pass before the first has failed.

        `email` is the blind index of the e-mail address.

        Raises:
            TooManyRequests: the e-mail address or the network has to wait. The attempt is not counted.
        """
        pair = ("pair", email, network)
        frees = {("email", email, ""): FREE_FAILURES_OF_EMAIL, ("network", b"", network): FREE_FAILURES_OF_NETWORK}
        if pair in self._known:
            frees = {pair: FREE_FAILURES_OF_EMAIL}
        wait = max(self._wait_seconds(subject, free) for subject, free in frees.items())
        if wait > 0:
            raise TooManyRequests("too many failed attempts to log in; wait before the next one", math.ceil(wait))
        for subject in frees:
            self._count(subject)
        return LoginAttempt(pair, tuple(frees))

    def succeed(self, attempt: LoginAttempt) -> None:
        """Forget the failures of the e-mail address, and remember that it is used from this network."""
        self.withdraw(attempt)
        for subject in attempt.counted:
            # Those of a network are kept: an attacker may have an account, too.
            if subject[0] != "network":
                self._failures.pop(subject, None)
        _keep(self._known, attempt.pair, None)

    def withdraw(self, attempt: LoginAttempt) -> None:
        """Take an attempt back whose password was not compared, or was right."""
        for subject in attempt.counted:
            failures = self._failures.get(subject)
            if failures is not None:
                failures.number = max(0, failures.number - 1)

    def _wait_seconds(self, subject: Subject, free: int) -> float:
        failures = self._failures.get(subject)
        if failures is None or failures.number < free:
            return 0.0
        wait = min(2.0 ** min(failures.number - free, _DOUBLINGS_MAX), WAIT_SECONDS_MAX)
        return failures.latest + wait - self._monotonic()

    def _count(self, subject: Subject) -> None:
        now = self._monotonic()
        failures = self._failures.get(subject)
        if failures is None or now - failures.latest > FORGOTTEN_AFTER_SECONDS:
            failures = _Failures(0, now)
        failures.number += 1
        failures.latest = now
        _keep(self._failures, subject, failures)


def _keep(place: OrderedDict[Subject, Value], subject: Subject, value: Value) -> None:
    place[subject] = value
    place.move_to_end(subject)
    if len(place) > SUBJECTS_MAX:
        place.popitem(last=False)
