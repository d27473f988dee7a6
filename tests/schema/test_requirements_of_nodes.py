"""Nodes that cannot be one cluster are refused by name, before anything is changed; tests/citus asks real ones."""

import pytest

from device_registration_api.citus.requirements import Report, refusal
from device_registration_api.citus.state import Node

COORDINATOR = Report(citus="14.0-1", postgres=18, prepared_max=0, sessions_max=130, server="0")
ONE, TWO = Node("one", 5432), Node("two", 5433)
SESSIONS = "the max_connections of the coordinator"
GOOD = COORDINATOR._replace(prepared_max=130, sessions_max=100)


def refused(worker: Report, coordinator: Report = COORDINATOR) -> str | None:
    """What is said of this second worker, beside a good one."""
    good = GOOD._replace(server="1", citus=coordinator.citus, postgres=coordinator.postgres)
    return refusal(coordinator, {ONE: good, TWO: worker})


@pytest.mark.parametrize("version", ["14.0-1", "14.2-1", "15.0-1", "100.1"])
def test_nodes_of_one_kind_are_a_cluster(version: str) -> None:
    assert refused(GOOD._replace(server="2", citus=version), COORDINATOR._replace(citus=version)) is None


@pytest.mark.parametrize("version", ["13.2-1", "9.5"])
def test_an_old_citus_is_refused(version: str) -> None:
    said = refused(GOOD._replace(server="2", citus=version), COORDINATOR._replace(citus=version))
    assert said == f"Citus 14 or newer is needed, and this is {version}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"citus": None},
            f"node {TWO} has no extension citus: run CREATE EXTENSION citus there, in the database of this name",
        ),
        ({"citus": "14.1-1"}, f"node {TWO} has Citus 14.1-1, and the coordinator 14.0-1"),
        ({"postgres": 17}, f"node {TWO} has PostgreSQL 17, and the coordinator 18"),
        (
            {"prepared_max": 129},
            f"node {TWO} has max_prepared_transactions = 129; at least 130 are needed, {SESSIONS}",
        ),
        ({"server": "0"}, "node two:5433 is the same server as the coordinator"),
        ({"server": "1"}, "node two:5433 is the same server as node one:5432"),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, dict) else "",
)
def test_a_node_that_differs_is_refused_by_name(change: dict[str, object], reason: str) -> None:
    assert refused(GOOD._replace(**({"server": "2"} | change))) == reason  # type: ignore[arg-type]
