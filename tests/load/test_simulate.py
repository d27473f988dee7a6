"""What every prediction of the simulation must keep, whatever the installation, the load and the service times."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from load.simulation.__main__ import main
from load.simulation.costs import MEASURED, KindCosts, Measured, Pauses, SingleCosts, read_measured
from load.simulation.services import IN_FLIGHT_MAX
from load.simulation.spine import ImpossibleError, Installation, Load, Prediction, simulate
from load.write_loads import WRITE_LOADS

REQUESTS = 2_000
DELIVERED = read_measured()


def with_single(**costs: float) -> Measured:
    """Service times of which these are as given and the others of auth events as delivered."""
    kind = DELIVERED.kinds["auth_event"]
    single = SingleCosts.model_validate(kind.single.model_dump() | costs)
    return DELIVERED.model_copy(
        update={
            "kinds": {"auth_event": KindCosts(single=single, batch=kind.batch, database_follow=kind.database_follow)}
        }
    )


COSTS = sorted(SingleCosts.model_fields.keys() - {"client_request"})
MEASUREMENTS = st.fixed_dictionaries({name: st.floats(1, 400) for name in COSTS}).map(
    lambda costs: with_single(**costs)
)
INSTALLATIONS = st.builds(
    Installation,
    public=st.integers(1, 4),
    private=st.integers(1, 3),
    cores=st.sampled_from([1, 2, 8]),
    network_seconds=st.sampled_from([0.0, 1e-3]),
)
# Connections, or a share of what the slowest part can do.
LOADS = st.one_of(st.integers(1, 300), st.floats(0.01, 0.7))


def small(installation: Installation, load: Load, measured: Measured, seed: int = 1) -> Prediction:
    return simulate(installation, load, measured, seed=seed, requests=REQUESTS)


def capacity(installation: Installation, measured: Measured) -> float:
    """Events a second of the part that takes longest for an event, flushes left out."""
    costs = measured.kinds["auth_event"].single
    return 1e6 * min(
        installation.public / (costs.public_accept + costs.public_answer),
        installation.private / costs.private_event,
        installation.cores / costs.database_event,
    )


@settings(max_examples=20, deadline=None)
@given(INSTALLATIONS, LOADS, MEASUREMENTS)
def test_a_prediction_keeps_what_no_queue_can_break(
    installation: Installation, clients: float, measured: Measured
) -> None:
    load = (
        Load(connections=clients) if isinstance(clients, int) else Load(rate=clients * capacity(installation, measured))
    )
    seen = small(installation, load, measured)

    # Conservation: nothing is lost, and nothing is answered twice.
    assert seen.sent == seen.answered + seen.refused + seen.open
    assert seen.open >= 0
    if load.connections is not None:
        assert seen.open <= load.connections
        assert seen.refused == 0
    # Not faster than the slowest part. What is answered at first was begun before the observation.
    open_max = load.connections or installation.public * IN_FLIGHT_MAX
    seconds = REQUESTS / seen.requests_per_second
    assert REQUESTS - open_max <= 1.01 * capacity(installation, measured) * seconds
    # Percentiles ascend.
    assert 0 <= seen.p50_ms <= seen.p99_ms
    # Little: the number in flight is the rate times the wait, but for those who were in flight at either end.
    edges = 0.02 + 2 * max(seen.in_flight, 1) * seen.p99_ms / seen.mean_ms / REQUESTS
    assert seen.in_flight == pytest.approx(seen.requests_per_second * seen.mean_ms / 1e3, rel=edges)


@settings(max_examples=5, deadline=None)
@given(
    private=st.integers(1, 2),
    costs=st.fixed_dictionaries(dict.fromkeys(COSTS, st.floats(1, 20))),
    slowest=st.sampled_from(["public_accept", "private_event", "database_event"]),
)
def test_one_more_process_of_the_bottleneck_never_lowers_what_is_recorded(
    private: int, costs: dict[str, float], slowest: str
) -> None:
    # PostgreSQL works on one transaction of each private process at a time, so more cores than these help nobody.
    installation = Installation(public=2, private=private, cores=1)
    measured = with_single(**{**costs, slowest: 300.0})
    load = Load(rate=3 * capacity(installation, measured))
    before = simulate(installation, load, measured, requests=2_500)
    part = {"a public process": "public", "a private process": "private", "PostgreSQL's cores": "cores"}[
        before.bottleneck
    ]
    grown = replace(installation, **{part: getattr(installation, part) + 1})
    after = simulate(grown, load, measured, requests=2_500)
    # The observation cuts through transactions of hundreds of events.
    assert after.events_per_second >= 0.85 * before.events_per_second


@given(seed=st.integers(0, 1 << 40))
@settings(max_examples=3, deadline=None)
def test_the_same_seed_predicts_the_same_and_another_one_nearly(seed: int) -> None:
    installation, load = Installation(public=2, together=True), Load(rate=2_000)
    first, again, other = (
        simulate(installation, load, DELIVERED, seed=each, requests=500) for each in (seed, seed, seed + 1)
    )
    assert first == again
    assert first != other
    assert other.requests_per_second == pytest.approx(first.requests_per_second, rel=0.3)


def test_a_lone_client_waits_for_each_step_once() -> None:
    costs = dict.fromkeys(SingleCosts.model_fields, 100.0)
    measured = with_single(**costs).model_copy(
        update={"wake": (10.0, 10.0), "commit": (1000.0, 1000.0), "pauses": Pauses(), "variation": (1, 1)}
    )
    seen = small(Installation(network_seconds=1e-3), Load(connections=1), measured)
    # Eight steps of 100 µs; a flush; wakes of the client, of the public process (twice), of the private one (twice), of
    # its thread (twice) and of PostgreSQL; six ways over the network.
    assert seen.p50_ms == pytest.approx(0.8 + 1.0 + 0.08 + 6.0)
    assert seen.p99_ms == pytest.approx(seen.p50_ms)
    assert seen.flush_events == 1


@pytest.mark.parametrize("slower", [*COSTS, "commit", "wake", "pauses"])
def test_nothing_that_takes_longer_makes_the_product_faster(slower: str) -> None:
    """Without what is drawn: otherwise the two runs would draw differently."""
    certain: dict[str, object] = {"wake": (50.0, 50.0), "commit": (500.0, 500.0), "variation": (1.0, 1.0)}
    costs = dict.fromkeys(SingleCosts.model_fields, 50.0)
    before = with_single(**costs).model_copy(update={**certain, "pauses": Pauses()})
    if slower == "pauses":
        after = before.model_copy(update={"pauses": Pauses(per_second=5.0, lengths=(30_000.0, 30_000.0))})
    elif slower in certain:
        after = before.model_copy(update={slower: (5_000.0, 5_000.0)})
    else:
        after = with_single(**{**costs, slower: 500.0}).model_copy(update={**certain, "pauses": Pauses()})
    for load in (Load(connections=1), Load(connections=64)):
        quick, slow = (small(Installation(together=True), load, each) for each in (before, after))
        assert slow.requests_per_second <= 1.001 * quick.requests_per_second
        assert slow.mean_ms >= 0.999 * quick.mean_ms
        assert slow.p99_ms >= 0.999 * quick.p99_ms


def test_pauses_of_the_disk_are_in_the_tail_and_not_in_the_median() -> None:
    calm = DELIVERED.model_copy(update={"pauses": Pauses()})
    paused = calm.model_copy(update={"pauses": Pauses(per_second=5.0, lengths=(40_000.0, 40_000.0))})
    without, with_pauses = (
        simulate(Installation(together=True), Load(connections=64), each, requests=20_000) for each in (calm, paused)
    )
    assert with_pauses.p99_ms > without.p99_ms + 20
    assert with_pauses.p50_ms == pytest.approx(without.p50_ms, rel=0.1)


def test_a_thousand_waiting_clients_share_transactions_of_at_most_a_thousand() -> None:
    seen = small(Installation(public=2, cores=8), Load(connections=1_200), DELIVERED)
    # Each process serves its six hundred in two groups.
    assert 300 <= seen.flush_events <= 1_000
    alone = small(Installation(public=2, cores=8), Load(connections=2), DELIVERED)
    assert alone.flush_events <= 2


def test_what_is_more_than_a_process_admits_is_refused_and_not_queued() -> None:
    costs = with_single(public_accept=500.0, public_answer=500.0)
    seen = simulate(Installation(), Load(rate=5_000), costs, requests=10_000)
    assert seen.refused_per_second > 0
    assert seen.requests_per_second == pytest.approx(1_000, rel=0.5)
    assert seen.bottleneck == "a public process"


def test_batches_are_bound_by_processor_time_alone() -> None:
    # Without the follower, which needs one core at most.
    kind = DELIVERED.kinds["auth_event"].model_copy(update={"database_follow": 0.0})
    measured = DELIVERED.model_copy(update={"kinds": {"auth_event": kind}})
    each = sum(kind.batch.model_dump().values())
    seen = simulate(Installation(together=True), Load(connections=8, batches=True), measured, requests=200)
    assert seen.events_per_second == pytest.approx(2 / each * 1e6, rel=0.15)
    assert seen.events_per_second == pytest.approx(1e4 * seen.requests_per_second)


def test_the_follower_is_one_core_at_most_and_of_kinds_that_have_one() -> None:
    each = DELIVERED.kinds["auth_event"].database_follow
    for rate, busy in ((0.5e6 / each, 0.5), (4e6 / each, 1.0)):
        seen = small(Installation(public=16, private=16, cores=64), Load(rate=rate / 1e4, batches=True), DELIVERED)
        assert seen.utilisation["the follower"] == pytest.approx(busy, rel=0.2)
    kind = DELIVERED.kinds["auth_event"].model_copy(update={"database_follow": 0.0})
    without = DELIVERED.model_copy(update={"kinds": {"auth_event": kind}})
    assert "the follower" not in small(Installation(), Load(connections=1), without).utilisation


def test_more_workers_of_citus_relieve_the_workers_and_burden_the_coordinator() -> None:
    load = Load(connections=1_000)
    two, eight = (small(Installation(public=4, private=4, workers=workers), load, DELIVERED) for workers in (2, 8))
    assert eight.utilisation["the workers' cores"] < two.utilisation["the workers' cores"]
    per_event = [each.utilisation["the coordinator's cores"] / each.events_per_second for each in (two, eight)]
    assert per_event[0] < per_event[1]


def test_twice_the_speed_is_twice_the_rate_where_nothing_waits_for_a_disk() -> None:
    quick = DELIVERED.with_commit(0.0)
    slow, fast = (small(Installation(together=True), Load(connections=64), each) for each in (quick, quick.at_speed(2)))
    assert fast.events_per_second == pytest.approx(2 * slow.events_per_second, rel=0.02)
    assert slow.p50_ms == pytest.approx(2 * fast.p50_ms, rel=0.02)


@pytest.mark.parametrize(
    ("installation", "reason"),
    [
        ({"public": 0}, "at least one public"),
        ({"private": -1}, "at least one private"),
        ({"workers": -1}, "cannot be negative"),
        ({"cores": 0}, "some of a core"),
        ({"cores": float("nan")}, "some of a core"),
        ({"network_seconds": -1e-3}, "cannot be negative"),
        ({"together": True, "workers": 2}, "machines of their own"),
    ],
)
def test_an_installation_that_cannot_be_is_refused(installation: dict[str, float], reason: str) -> None:
    with pytest.raises(ImpossibleError, match=reason):
        Installation(**installation)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        ({}, "either of connections or of a rate"),
        ({"connections": 1, "rate": 1.0}, "either of connections or of a rate"),
        ({"connections": 0}, "at least one connection"),
        ({"rate": -1.0}, "greater than zero"),
        ({"rate": float("inf")}, "greater than zero"),
    ],
)
def test_a_load_that_cannot_be_is_refused(load: dict[str, float], reason: str) -> None:
    with pytest.raises(ImpossibleError, match=reason):
        Load(**load)  # type: ignore[arg-type]


def test_more_clients_than_the_processes_admit_are_refused_before_anything_is_simulated() -> None:
    with pytest.raises(ImpossibleError, match="need 2 of them"):
        small(Installation(), Load(connections=IN_FLIGHT_MAX + 1), DELIVERED)
    with pytest.raises(ImpossibleError, match="parcel was not measured"):
        small(Installation(), Load(connections=1, kind="parcel"), DELIVERED)


def test_the_delivered_service_times_are_of_kinds_that_the_bench_writes() -> None:
    assert {"auth_event"} <= DELIVERED.kinds.keys() <= {load.fact for load in WRITE_LOADS}


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--public", "2", "--connections", "32", "--requests", "500"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "p99, ms" in shown
    assert DELIVERED.measured_at in shown

    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["installation"]["public"] == 2
    assert said["load"]["connections"] == 32
    assert said["prediction"]["bottleneck"] in said["prediction"]["utilisation"]
    assert f"{said['prediction']['p99_ms']:.2f}" in shown

    assert main(["--costs"]) == 0
    shown = capsys.readouterr().out
    assert all(f"| `{kind}` | a batch |" in shown for kind in DELIVERED.kinds)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--public", "0"], "not a number of at least 1"),
        (["--private", "-2"], "not a number of at least 1"),
        (["--workers", "-1"], "not a number of at least 0"),
        (["--rate", "-3"], "not a number of at least"),
        (["--rate", "nan"], "not a number of at least"),
        (["--rate", "5", "--connections", "3"], "either of connections or of a rate"),
        (["--cores", "many"], "'many' is not a number"),
        (["--connections", "601"], "need 2 of them"),
        (["--kind", "parcel"], "was not measured"),
        (["--commit-ms", "inf"], "not a number of at least"),
        (["--measured", "/nowhere.json"], "cannot be read"),
    ],
)
def test_the_command_refuses_nonsense_in_one_sentence(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"cores": 0},
        {"wake": -1},
        {"wake": [-1, 1]},
        {"pauses": {"per_second": -1}},
        {"commit": [5, 4]},
        {"commit": [1]},
        {"kinds": {"auth_event": {}}},
        {"more": 1},
    ],
)
def test_a_file_that_the_bench_has_not_written_is_refused(
    change: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(json.loads(MEASURED.read_text()) | change))
    with pytest.raises(SystemExit):
        main(["--measured", str(file)])
    assert "holds no service times" in capsys.readouterr().err
