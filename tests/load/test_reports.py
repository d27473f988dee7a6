"""What the bench reads from the programs it runs, and what it says of it."""

import pytest

from load.alternatives.comparison import Row
from load.alternatives.comparison import table as comparison_table
from load.baselines import latency_percentiles, transactions_per_second
from load.figures import Figure, ratio, table
from load.wrk import parse

WRK = """Running 2s test @ http://127.0.0.1:8000/Log/auth
  1 threads and 128 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     5.13ms    1.31ms  17.34ms   77.04%
    Req/Sec    25.01k     1.53k   27.51k    65.00%
  Latency Distribution
     50%  980.00us
     75%    5.80ms
     90%    6.71ms
     99%    1.02s
  49766 requests in 2.00s, 8.45MB read
Requests/sec:  24860.12
Transfer/sec:      4.22MB
"""


def test_wrk_latencies_are_read_in_milliseconds_whatever_their_unit() -> None:
    load = parse(WRK)

    assert (load.requests, load.requests_per_second, load.p50, load.p99) == (49766, 24860.12, 0.98, 1020.0)
    assert (load.refused, load.errors) == (0, 0)


def test_wrk_refused_and_failed_requests_are_counted() -> None:
    load = parse(WRK + "  Non-2xx or 3xx responses: 7\n  Socket errors: connect 1, read 2, write 3, timeout 4\n")

    assert (load.refused, load.errors) == (7, 10)


def test_a_script_that_repeats_requests_tells_how_many() -> None:
    load = parse(WRK + "Different events: 49000, repeated: 766\n")

    assert (load.different, load.repeated) == (49000, 766)
    assert (parse(WRK).different, parse(WRK).repeated) == (0, 0)


def test_a_report_of_wrk_without_percentiles_is_refused() -> None:
    with pytest.raises(ValueError, match="99%"):
        parse(WRK.replace("99%", "98%"))


def test_pgbench_tells_transactions_per_second() -> None:
    assert transactions_per_second("latency average = 4 ms\ntps = 14821.5 (without initial connection time)") == 14821.5
    with pytest.raises(ValueError, match="nothing of tps"):
        transactions_per_second("pgbench: error: connection refused")


def test_pgbench_latencies_are_the_third_column_of_its_log_in_microseconds() -> None:
    log = "".join(f"0 {number} {number * 1000} 0 1700000000 1\n" for number in range(1, 102))

    assert latency_percentiles(log) == (51.0, 100.0)
    assert latency_percentiles("") == (0.0, 0.0)


def test_a_ratio_is_the_median_of_the_rounds_not_the_ratio_of_the_medians() -> None:
    figure = ratio("POST ÷ pgbench", [(10, 10), (30, 20), (40, 10)], "events/s", 1.0, target=2, also="p50 1.0 ms")

    assert figure.value == 1.5
    assert figure.detail == "30 ÷ 10 events/s; rounds 1.00, 1.50, 4.00; p50 1.0 ms"


@pytest.mark.parametrize(
    ("value", "floor", "better", "met"),
    [
        (1.0, 1.0, "higher", True),
        (0.9, 1.0, "higher", False),
        (1.0, 1.0, "lower", True),
        (1.1, 1.0, "lower", False),
        (9.0, None, "lower", True),
    ],
)
def test_a_figure_is_met_at_its_floor_and_without_one(
    value: float, floor: float | None, better: str, met: bool
) -> None:
    assert Figure("f", value, floor, "lower" if better == "lower" else "higher", "").met is met


def test_a_figure_without_a_floor_shows_none() -> None:
    shown = table(
        [Figure("alone", 1.7, None, "lower", "rounds 1.7", " ms"), Figure("POST", 0.5, 1, "higher", "", target=2)]
    )

    assert shown.splitlines()[2:] == [
        "| alone | **1.70 ms** |  |  | rounds 1.7 |",
        "| POST | **0.50** (missed) | ≥ 1 | 2 |  |",
    ]


def test_the_comparison_lists_the_slowest_first_for_each_number_of_clients() -> None:
    rows = [Row("b", 512, 2, 1, 1), Row("a", 128, 9000, 1.25, 30), Row("c", 128, 5, 1, 1)]

    shown = [line.split(" | ")[0:2] for line in comparison_table(rows).splitlines()[2:]]
    assert shown == [["| c", "128"], ["| a", "128"], ["| b", "512"]]
    assert "| a | 128 | 9,000 | 1.2 | 30.0 |" in comparison_table(rows)
