"""The parts of the simulation beside what queueing theory says of them."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment, Event

from load.simulation.clients import Answered, closed_loop, open_loop
from load.simulation.costs import Pauses
from load.simulation.observations import Latencies, Observer, latencies
from load.simulation.scheduling import Cores, Process, Then, after
from load.simulation.services import Coalescer
from load.simulation.storage import Disk, Draws, Log

SERVICE_SECONDS = 1e-3
REQUESTS = 20_000


def waits(load: float, serve: Callable[[Environment, Random], Callable[[Answered], None]]) -> Latencies:
    """What clients of an open loop wait, of which the server is busy for a share `load` of the time."""
    env, draws = Environment(), Random(7)  # noqa: S311 - not a secret
    observer = Observer(env, warm_up=1_000, requests=REQUESTS)
    server = serve(env, draws)
    client = Process(env, Cores(env, 1))
    open_loop(env, client, 0.0, load / SERVICE_SECONDS, lambda _, answered: server(answered), observer, draws)
    env.run(observer.ended)
    assert observer.sent == observer.answered + observer.in_flight
    assert observer.mean_in_flight == pytest.approx(
        REQUESTS / observer.seconds * latencies(observer.latencies).mean / 1e3, rel=0.01
    )
    return latencies(observer.latencies)


def one_after_the_other(seconds: Callable[[Random], float]) -> Callable[..., Callable[[Answered], None]]:
    def serve(env: Environment, draws: Random) -> Callable[[Answered], None]:
        process = Process(env, Cores(env, 1))
        return lambda answered: process.do(seconds(draws), answered.recorded)

    return serve


def all_at_once(seconds: Callable[[Random], float]) -> Callable[..., Callable[[Answered], None]]:
    def serve(env: Environment, draws: Random) -> Callable[[Answered], None]:
        cores = Cores(env, 1)
        return lambda answered: cores.run(seconds(draws), answered.recorded)

    return serve


def drawn(draws: Random) -> float:
    return draws.expovariate(1 / SERVICE_SECONDS)


def fixed(_: Random) -> float:
    return SERVICE_SECONDS


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_a_process_with_drawn_service_times_is_a_queue_m_m_1(load: float) -> None:
    seen = waits(load, one_after_the_other(drawn))
    mean = 1e3 * SERVICE_SECONDS / (1 - load)
    assert seen.mean == pytest.approx(mean, rel=0.06)
    assert seen.p50 == pytest.approx(mean * log(2), rel=0.06)
    assert seen.p99 == pytest.approx(mean * log(100), rel=0.10)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_a_process_with_fixed_service_times_is_a_queue_m_d_1(load: float) -> None:
    mean = 1e3 * SERVICE_SECONDS * (1 + load / (2 * (1 - load)))
    assert waits(load, one_after_the_other(fixed)).mean == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize("seconds", [drawn, fixed])
def test_a_core_that_is_shared_evenly_makes_the_mean_independent_of_the_distribution(
    seconds: Callable[[Random], float],
) -> None:
    assert waits(0.6, all_at_once(seconds)).mean == pytest.approx(1e3 * SERVICE_SECONDS / (1 - 0.6), rel=0.06)


@given(
    cores=st.integers(1, 4),
    works=st.lists(st.tuples(st.floats(0, 5), st.floats(0.01, 5)), min_size=1, max_size=12),
)
def test_cores_give_as_much_as_they_have_and_nobody_more_than_one(cores: int, works: list[tuple[float, float]]) -> None:
    env = Environment()
    shared = Cores(env, cores)
    took: dict[int, float] = {}

    def begin(number: int, seconds: float, begun: float) -> None:
        shared.run(seconds, lambda: took.__setitem__(number, env.now - begun))

    for number, (at, seconds) in enumerate(works):
        after(env, at, partial(begin, number, seconds, at))
    env.run()

    assert took.keys() == set(range(len(works)))
    assert shared.busy_seconds == pytest.approx(sum(seconds for _, seconds in works))
    for number, (_, seconds) in enumerate(works):
        assert seconds - 1e-9 <= took[number] <= seconds * max(1, len(works) / cores) + 1e-9
    assert env.now >= sum(seconds for _, seconds in works) / cores - 1e-9


def test_a_process_that_sleeps_is_woken_once_and_works_in_order() -> None:
    env = Environment()
    process = Process(env, Cores(env, 1), wake_seconds=lambda: 10)
    ended: list[tuple[str, float]] = []

    def end(name: str) -> None:
        ended.append((name, env.now))

    for name in ("first", "second"):
        process.do(1, partial(end, name))
    process.do_in_slices(3, 2, partial(end, "long"))
    process.do(1, partial(end, "between its slices"))
    env.run()
    assert ended == [("first", 11), ("second", 12), ("between its slices", 15), ("long", 16)]
    assert process.busy_seconds == 6


@given(st.lists(st.floats(0, 3), min_size=1, max_size=20))
def test_commits_that_wait_share_the_next_flush_and_none_is_told_of_an_earlier_one(times: list[float]) -> None:
    env = Environment()
    disk = Log(env, Disk((1e6, 1e6), Pauses(), Draws(1, (1.0, 1.0))))
    ends: list[tuple[float, float]] = []

    def commit(at: float) -> Generator[Event, object, None]:
        yield env.timeout(at)
        yield disk.flush()
        ends.append((at, env.now))

    for at in times:
        env.process(commit(at))
    env.run()
    assert len(ends) == len(times)
    for begun, ended in ends:
        assert 1 - 1e-9 <= ended - begun <= 2 + 1e-9
    assert disk.busy_seconds <= len(times)


def test_a_client_that_was_just_answered_shares_the_next_flush() -> None:
    env = Environment()
    process = Process(env, Cores(env, 1))
    flushed: list[list[str]] = []

    def flush(items: Sequence[str], ended: Then) -> None:
        flushed.append(sorted(items))

        def answer() -> None:
            for item in items:
                process.do(1e-3, partial(process.do, 1e-3, partial(coalescer.begin, item)))
            process.do(0.0, ended)

        after(env, 1.0, answer)

    coalescer = Coalescer[str](env, process, 10, lambda _: 1, flush)
    # The second one comes while the first one is flushed: without the turns, they would alternate.
    process.do(0.0, partial(coalescer.begin, "first"))
    after(env, 0.5, partial(process.do, 0.0, partial(coalescer.begin, "second")))
    env.run(until=10)
    assert flushed[0] == ["first"]
    assert len(flushed) > 5
    assert all(each == ["first", "second"] for each in flushed[1:])
    assert coalescer.rows == sum(map(len, flushed))


def test_clients_of_a_closed_loop_are_as_many_as_their_connections() -> None:
    env = Environment()
    observer = Observer(env, warm_up=100, requests=1_000)
    server, client = (Process(env, Cores(env, 1)) for _ in range(2))
    closed_loop(env, client, 1e-4, 5, lambda _, answered: server.do(1e-3, answered.recorded), observer)
    env.run(observer.ended)
    assert observer.mean_in_flight == pytest.approx(5)
    assert 1_000 / observer.seconds == pytest.approx(1e3)


def test_a_refused_request_is_no_answer() -> None:
    env = Environment()
    observer = Observer(env, warm_up=1, requests=10)
    server = Process(env, Cores(env, 1))
    closed_loop(env, Process(env, Cores(env, 1)), 0.0, 1, lambda _, each: server.do(1, each.refused), observer)
    env.run(observer.ended)
    assert observer.refused_per_second == pytest.approx(1)
    assert latencies(observer.latencies) == (0, 0, 0)


@given(seed=st.integers(), quantiles=st.lists(st.floats(0, 1e6), min_size=2, max_size=9).map(sorted))
def test_a_drawn_value_is_between_the_least_and_the_greatest(seed: int, quantiles: list[float]) -> None:
    values = tuple(quantiles)
    draws = partial(Draws(seed, values).quantile, values)
    assert all(values[0] <= draws() <= values[-1] for _ in range(20))


@given(
    seed=st.integers(),
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=20),
    per_second=st.sampled_from([0.0, 0.1, 1.0]),
    lengths=st.tuples(st.floats(0, 5e6), st.floats(0, 5e6)).map(sorted).map(tuple),
)
def test_a_flush_takes_what_it_takes_and_the_pauses_that_it_meets(
    seed: int, gaps: list[float], per_second: float, lengths: tuple[float, float]
) -> None:
    disk = Disk((1e6, 1e6), Pauses(per_second=per_second, lengths=lengths), Draws(seed, (1.0, 1.0)))
    begun = 0.0
    for gap in gaps:
        begun += gap
        seconds = disk.flush_seconds(begun)
        assert seconds >= 1
        if not per_second:
            assert seconds == 1
        begun += seconds


def test_a_disk_pauses_as_often_a_second_whoever_asks_for_flushes() -> None:
    pauses = Pauses(per_second=2.0, lengths=(20_000.0, 20_000.0))
    for flush in (1_000.0, 4_000.0):
        disk, now, met = Disk((flush, flush), pauses, Draws(3, (1.0, 1.0))), 0.0, 0
        flushes = 0
        while now < 1_000:
            seconds = disk.flush_seconds(now)
            met += seconds > 2 * flush * 1e-6
            now += seconds
            flushes += 1
        # A second of flushes and its two pauses take 1.04 s.
        assert met == pytest.approx(2 * 1_000 / 1.04, rel=0.1)
        assert flushes == pytest.approx((now - 0.02 * met) / (flush * 1e-6), rel=0.01)


@pytest.mark.parametrize("connections", [1, 2, 5, 20])
def test_a_closed_loop_of_drawn_times_is_a_closed_network(connections: int) -> None:
    """Mean value analysis of a client that thinks, and of one process that serves one request after the other."""
    think, serve = 4e-3, 1e-3
    env, draws = Environment(), Random(11)  # noqa: S311 - not a secret
    observer = Observer(env, warm_up=1_000, requests=REQUESTS)
    process = Process(env, Cores(env, 1))

    def send(_: int, answered: Answered) -> None:
        after(
            env,
            draws.expovariate(1 / think),
            lambda: process.do(draws.expovariate(1 / serve), answered.recorded),
        )

    closed_loop(env, Process(env, Cores(env, 1)), 0.0, connections, send, observer)
    env.run(observer.ended)
    queue = rate = 0.0
    for clients in range(1, connections + 1):
        waits_seconds = serve * (1 + queue)
        rate = clients / (think + waits_seconds)
        queue = rate * waits_seconds
    assert REQUESTS / observer.seconds == pytest.approx(rate, rel=0.04)
    # No more than the slowest part, and no more than clients that never wait for each other.
    assert REQUESTS / observer.seconds <= 1.02 * min(1 / serve, connections / (think + serve))
