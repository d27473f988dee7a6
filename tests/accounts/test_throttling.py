"""Repeated failures wait; a right password always gets through after a bounded wait. With a clock of the test."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_registration_api.accounts import throttling
from device_registration_api.accounts.throttling import (
    FORGOTTEN_AFTER_SECONDS,
    FREE_FAILURES_OF_EMAIL,
    FREE_FAILURES_OF_NETWORK,
    WAIT_SECONDS_MAX,
    LoginThrottle,
)
from servicekit.errors import TooManyRequests


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[LoginThrottle, Clock]:
    clock = Clock()
    return LoginThrottle(clock), clock


def wait_of(attempt: Callable[[], object]) -> int:
    """The seconds that an attempt has to wait; 0 if it is admitted."""
    try:
        attempt()
    except TooManyRequests as error:
        return error.retry_after_seconds or -1
    return 0


def test_five_failures_are_free_and_then_the_wait_doubles_up_to_its_limit() -> None:
    throttle, clock = made()
    for _ in range(FREE_FAILURES_OF_EMAIL):
        assert wait_of(lambda: throttle.begin(b"ana", "net-1")) == 0

    waits = []
    for _ in range(8):
        waits.append(wait_of(lambda: throttle.begin(b"ana", "net-1")))
        clock.now += waits[-1]
        throttle.begin(b"ana", "net-1")
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert wait_of(lambda: throttle.begin(b"ben", "net-2")) == 0


def test_the_failures_of_a_network_add_up_over_addresses() -> None:
    throttle, _ = made()
    for number in range(FREE_FAILURES_OF_NETWORK):
        throttle.begin(b"%d" % number, "net-1")

    assert wait_of(lambda: throttle.begin(b"ana", "net-1")) == 1
    assert wait_of(lambda: throttle.begin(b"ana", "net-2")) == 0


def test_a_refused_attempt_does_not_prolong_the_wait() -> None:
    throttle, clock = made()
    for _ in range(FREE_FAILURES_OF_EMAIL):
        throttle.begin(b"ana", "net-1")
    first = wait_of(lambda: throttle.begin(b"ana", "net-2"))
    assert first > 0
    for _ in range(1_000):
        assert wait_of(lambda: throttle.begin(b"ana", "net-1")) == first
    clock.now += first
    assert wait_of(lambda: throttle.begin(b"ana", "net-2")) == 0


def test_who_has_logged_in_from_a_network_does_not_wait_there_for_failures_from_elsewhere() -> None:
    throttle, _ = made()
    throttle.succeed(throttle.begin(b"ana", "home"))
    for _ in range(FREE_FAILURES_OF_EMAIL):
        throttle.begin(b"ana", "attacker")
    assert wait_of(lambda: throttle.begin(b"ana", "elsewhere")) > 0

    assert wait_of(lambda: throttle.begin(b"ana", "home")) == 0
    # Failures from there are slowed down like any other.
    for _ in range(FREE_FAILURES_OF_EMAIL - 1):
        throttle.begin(b"ana", "home")
    assert wait_of(lambda: throttle.begin(b"ana", "home")) == 1


def test_a_success_forgets_the_failures_of_the_address_and_not_those_of_the_network() -> None:
    throttle, _ = made()
    for _ in range(FREE_FAILURES_OF_EMAIL - 1):
        throttle.begin(b"ana", "net-1")
    for _ in range(FREE_FAILURES_OF_NETWORK - FREE_FAILURES_OF_EMAIL + 1):
        throttle.succeed(throttle.begin(b"mine", "net-0"))
        throttle.begin(b"%d" % _, "net-1")
    throttle.succeed(throttle.begin(b"ana", "net-2"))

    assert wait_of(lambda: throttle.begin(b"ana", "net-3")) == 0
    assert wait_of(lambda: throttle.begin(b"ben", "net-1")) == 1


def test_an_attempt_that_was_not_compared_does_not_count() -> None:
    throttle, _ = made()
    for _ in range(100):
        throttle.withdraw(throttle.begin(b"ana", "net-1"))
    assert wait_of(lambda: throttle.begin(b"ana", "net-1")) == 0


def test_attempts_at_the_same_time_do_not_pass_together() -> None:
    throttle, _ = made()
    waits = [wait_of(lambda: throttle.begin(b"ana", "net-1")) for _ in range(100)]
    assert waits.count(0) == FREE_FAILURES_OF_EMAIL


def test_failures_are_forgotten_after_a_while() -> None:
    throttle, clock = made()
    for _ in range(20):
        clock.now += wait_of(lambda: throttle.begin(b"ana", "net-1"))
    clock.now += FORGOTTEN_AFTER_SECONDS + 1
    for _ in range(FREE_FAILURES_OF_EMAIL):
        assert wait_of(lambda: throttle.begin(b"ana", "net-1")) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "SUBJECTS_MAX", 100)
    throttle, _ = made()
    for number in range(1_000):
        throttle.succeed(throttle.begin(b"a%d" % number, f"net-{number}"))
        throttle.begin(b"b%d" % number, f"net-{number}")
    assert len(throttle._failures) <= 100  # noqa: SLF001 - nothing else shows it
    assert len(throttle._known) <= 100  # noqa: SLF001 - nothing else shows it


STEPS = st.lists(
    st.tuples(st.sampled_from([b"ana", b"ben"]), st.sampled_from(["n1", "n2", "n3"]), st.floats(0, 60)), max_size=60
)


@given(STEPS)
def test_whatever_others_do_nobody_waits_longer_than_the_limit(steps: list[tuple[bytes, str, float]]) -> None:
    throttle, clock = made()
    for email, network, seconds in steps:
        clock.now += seconds
        assert wait_of(partial(throttle.begin, email, network)) <= WAIT_SECONDS_MAX
    clock.now += WAIT_SECONDS_MAX
    assert wait_of(lambda: throttle.begin(b"ana", "n1")) == 0
