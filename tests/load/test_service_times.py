"""What the bench makes of processor times, and what the simulation is told of the machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.machine import Processors, flush_microseconds, wake_microseconds
from load.predictions import Compared, Seen, table
from load.service_times import Usage, fit, follow_cost, quantiles, single_costs
from load.simulation.costs import read_measured
from load.simulation.spine import Installation, Load, simulate

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
    times = flush_microseconds(tmp_path)
    assert len(times) > 100
    assert min(times) > 0
    assert list(tmp_path.iterdir()) == []
    assert 0 <= wake_microseconds() < 1e6


def test_what_others_use_is_a_share_of_all() -> None:
    assert Processors().others_share(1e9) == 0
    assert 0 <= Processors().others_share(0) <= 1


def test_a_comparison_says_what_was_predicted_what_was_measured_and_the_error() -> None:
    measured = read_measured()
    predicted = simulate(Installation(), Load(connections=4), measured, requests=100)
    seen = Seen(predicted.requests_per_second / 2, predicted.p50_ms, predicted.p99_ms * 2)
    compared = Compared("4 connections", predicted, seen, others=0.25)

    assert compared.errors == pytest.approx((100, 0, -50))
    (row,) = [line for line in table([compared], measured).splitlines() if line.startswith("| 4 connections")]
    assert row.endswith("| 25% |")
    assert "| +100 % |" in row
    assert "| -50 % |" in row
