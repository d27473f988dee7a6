"""Whatever keeps dying is started again ever more slowly."""

from local.postgres import PostgresError
from local.supervision import DELAY_SECONDS_MAX, STABLE_SECONDS, Supervised


class Mortal:
    """Dies whenever the test says so; remembers how often it was started."""

    pid: int | None = 1
    starts = 0
    fails = False

    def start(self) -> None:
        self.starts += 1
        if self.fails:
            raise PostgresError("no space left")
        self.pid = 1


def seconds_until_started(watched: Supervised, mortal: Mortal, now: float) -> float:
    mortal.pid = None
    begun, starts = now, mortal.starts
    while mortal.starts == starts:
        watched.check(now)
        now += 0.25
    return now - begun


def test_each_death_after_a_short_life_waits_longer_than_the_last() -> None:
    mortal = Mortal()
    watched = Supervised("mortal", mortal, lambda _: None)

    waits = [seconds_until_started(watched, mortal, now) for now in range(1000, 1050, 10)]

    assert waits == sorted(waits)
    assert waits[0] < 1 < waits[-1] < DELAY_SECONDS_MAX


def test_after_a_long_life_the_first_delay_is_short_again() -> None:
    mortal = Mortal()
    watched = Supervised("mortal", mortal, lambda _: None)
    first = seconds_until_started(watched, mortal, 1000)
    assert seconds_until_started(watched, mortal, 1010) > first

    assert seconds_until_started(watched, mortal, 1020 + STABLE_SECONDS) == first


def test_a_start_that_fails_is_told_and_tried_again() -> None:
    mortal, told = Mortal(), list[str]()
    watched = Supervised("mortal", mortal, told.append)
    mortal.fails = True
    seconds_until_started(watched, mortal, 1000)
    mortal.fails = False
    seconds_until_started(watched, mortal, 1010)

    assert told[0].startswith("mortal ended by itself")
    assert told[1] == "no space left"
    assert mortal.pid == 1
