"""A process knows whether it has a core to itself."""

import time

import pytest

from servicekit.concurrency.core_share import CoreShare


class Clocks:
    """Both clocks, by hand."""

    def __init__(self) -> None:
        self.passed = self.ran = 0.0
        self.core = CoreShare(lambda: self.passed, lambda: self.ran)

    def measure(self, passed: float, ran: float) -> bool:
        begun = self.core.reading()
        self.passed += passed
        self.ran += ran
        self.core.add(begun)
        return self.core.is_whole


def test_a_core_that_was_not_measured_is_not_whole() -> None:
    assert not CoreShare().is_whole
    assert not Clocks().measure(0, 0)


@pytest.mark.parametrize(("ran", "is_whole"), [(1.0, True), (0.9, True), (0.89, False), (0.5, False), (0.0, False)])
def test_a_whole_core_is_nine_tenths_of_the_time(ran: float, is_whole: bool) -> None:
    assert Clocks().measure(1, ran) == is_whole


def test_only_the_last_measurements_count() -> None:
    clocks = Clocks()
    assert clocks.measure(1, 1)
    assert not clocks.measure(1, 0)

    seen = [clocks.measure(1, 1) for _ in range(30)]

    assert not seen[0]
    assert seen[-1]
    assert seen == sorted(seen), "it went back"


def test_a_thread_that_waits_does_not_have_its_core() -> None:
    core = CoreShare()
    begun = core.reading()
    time.sleep(0.05)
    core.add(begun)

    assert not core.is_whole
