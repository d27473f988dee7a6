"""What the bench makes of processor times, and what the simulation is told of the machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.machine import FlushProbe, Processors, wake_microseconds
from load.predictions import Compared, Seen, table
from load.service_times import Usage, commits_and_pauses, fit, follow_cost, quantiles, single_costs
from load.simulation.costs import read_measured
from load.simulation.spine import Installation, Load, simulate
from tests.waiting import wait_until

TIMES = st.floats(0.5, 500)


def usage(requests: int, forwards: int, flushes: int, each: dict[str, float]) -> Usage:
    return Usage(
        client=each["client"] * requests,
        public=each["request"] * requests + each["forward"] * forwards,
        private=each["read"] * forwards + each["flush"] * flushes + each["event"] * requests,
        database=each["transaction"] * flushes + each["row"] * requests,
        forwards=forwards,
        flushes=flushes,
        requests=requests,
    )


def test_what_is_left_to_the_follower_is_a_cost_of_every_event() -> None:
    each = dict.fromkeys(("client", "request", "forward", "read", "flush", "event", "transaction", "row"), 10.0)
    runs = [
        # Of each run the follower has done a part meanwhile, and the rest afterwards, at 5 µs each.
        usage(*run, each)._replace(followed=left, following=5.0 * left)
        for run, left in zip(
            [(10_000, 10_000, 10_000), (20_000, 500, 500), (30_000, 400, 250)], [6_000, 20_000, 1_000], strict=True
        )
    ]
    runs = [run._replace(database=run.database + 5.0 * (run.requests - run.followed)) for run in runs]
    assert follow_cost(runs) == pytest.approx(5)
    assert single_costs(runs, follow_cost(runs)).database_event == pytest.approx(10)
    assert single_costs(runs, follow_cost(runs)).database_flush == pytest.approx(10)
    assert follow_cost([usage(1_000, 10, 10, each)]) == 0


@given(
    st.fixed_dictionaries(
        dict.fromkeys(("client", "request", "forward", "read", "flush", "event", "transaction", "row"), TIMES)
    )
)
def test_costs_are_found_again_in_the_processor_times_that_they_make(each: dict[str, float]) -> None:
    runs = [(1_000, 1_000, 1_000), (10_000, 500, 500), (30_000, 250, 250), (30_000, 400, 250)]
    costs = single_costs([usage(*run, each) for run in runs])
    found = (
        costs.client_request,
        costs.public_accept + costs.public_answer,
        costs.public_forward,
        costs.private_forward,
        costs.private_flush,
        costs.private_event,
        costs.database_flush,
        costs.database_event,
    )
    names = ("client", "request", "forward", "read", "flush", "event", "transaction", "row")
    assert found == pytest.approx(tuple(each[name] for name in names), rel=1e-3)


@given(st.lists(st.tuples(TIMES, TIMES, TIMES), min_size=3, max_size=6))
def test_no_cost_is_negative_whatever_was_measured(runs: list[tuple[float, float, float]]) -> None:
    assert min(fit([run[:2] for run in runs], [run[2] for run in runs])) >= 0


@given(st.lists(TIMES, min_size=2))
def test_quantiles_go_from_the_least_to_the_greatest(values: list[float]) -> None:
    found = quantiles(values)
    assert list(found) == sorted(found)
    assert (found[0], found[-1]) == pytest.approx((min(values), max(values)), abs=1e-3)


def test_the_machine_says_how_long_its_disk_and_its_processes_take(tmp_path: Path) -> None:
    probe = FlushProbe(tmp_path)
    for runs in (1, 2):
        with probe.running():
            wait_until(lambda: len(probe.times) >= 20 * runs)  # noqa: B023 - called before the next turn
    assert min(probe.times) > 0
    assert sum(probe.times) / 1e6 < probe.seconds
    assert list(tmp_path.iterdir()) == []
    wakes = wake_microseconds()
    assert len(wakes) > 100
    assert min(wakes) >= 0


def probe_of(times: list[float], seconds: float) -> FlushProbe:
    probe = FlushProbe(Path())
    probe.times, probe.seconds = times, seconds
    return probe


def test_a_flush_that_took_much_longer_than_the_others_met_a_pause() -> None:
    commits, pauses = commits_and_pauses(probe_of([100.0, 110.0, 120.0, 130.0, 9_000.0, 30_000.0], 0.5))
    assert (commits[0], commits[-1]) == (100, 130)
    assert pauses.per_second == 4
    assert (pauses.lengths[0], pauses.lengths[-1]) == (9_000, 30_000)


@pytest.mark.parametrize("times", [[100.0] * 5, [8_000.0, 9_000.0, 10_000.0]])
def test_a_disk_of_which_no_flush_is_out_of_line_does_not_pause(times: list[float]) -> None:
    commits, pauses = commits_and_pauses(probe_of(times, 1.0))
    assert (commits[0], commits[-1]) == (min(times), max(times))
    assert pauses.per_second == 0


def test_what_others_use_is_a_share_of_all() -> None:
    assert Processors().others_share(1e9) == 0
    assert 0 <= Processors().others_share(0) <= 1


def test_a_comparison_says_what_was_predicted_what_was_measured_and_the_error() -> None:
    measured = read_measured()
    predicted = simulate(Installation(), Load(connections=4), measured, requests=100)
    rate, p50, p99 = predicted.requests_per_second, predicted.p50_ms, predicted.p99_ms
    rounds = [Seen(rate / 2, p50 * each, 2 * p99 * each) for each in (0.9, 1.0, 1.5)]
    compared = Compared("4 connections", predicted, rounds, others=0.25)

    assert [each.error for each in compared.quantities] == pytest.approx((100, 0, -50))
    assert [each.noise for each in compared.quantities] == pytest.approx((0, 50, 50))
    lines = table([compared], measured).splitlines()
    (row,) = [line for line in lines if line.startswith("| 4 connections")]
    assert row.endswith("| 25% |")
    assert "| +100 % |" in row
    assert f"{2 * p99:.1f} ({1.8 * p99:.1f} to {3 * p99:.1f}) | -50 % |" in row
    assert row.count("|") == lines[0].count("|")
    (verdict,) = [line for line in lines if line.startswith("- **p50**")]
    assert "1 of 1 predictions within 20 %" in verdict
    assert "In 1 of 1 loads" in verdict
