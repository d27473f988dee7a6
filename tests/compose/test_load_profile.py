"""Profile `load`: Locust's page, and the traffic it makes."""

import time
from typing import Any

import httpx2

from tests.compose.stack import Stack

USERS = 50
SECONDS_MAX = 60.0
REQUESTS_MIN = 100
# How each of the four families is written to, one at a time and many at once, and read.
NAMES = {
    "/Log/auth",
    "/Log/auth/batch",
    "/Log/auth/statistics",
    "/api/v1/track",
    "/api/v1/track/batch",
    "/api/v1/projects/default/metrics/summary",
    "/api/v1/devices/",
    "/api/v1/stats/devices/{device_id}",
    "/api/v1/stats/devices/{device_id}/batch",
    "/api/v1/stats/devices/{device_id}/analyze",
    "/api/user",
    "/api/event",
    "/api/event/batch",
    "/api/event/amount/purchase",
}


def named(report: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """What the page says of each name, and of all together."""
    return {each["name"]: each for each in report["stats"]}


def is_enough(report: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether everything was asked, and often."""
    found = named(report)
    return found.keys() >= NAMES and bool(found["Aggregated"]["num_requests"] >= REQUESTS_MIN)


def test_the_page_starts_a_load_of_all_four_families_that_the_stack_carries(stack: Stack, report: list[str]) -> None:
    stack.compose("--profile", "load", "up", "--build", "--detach", "--wait", "load", LOAD_API_KEY=stack.new_key())
    try:
        with httpx2.Client(base_url=stack.load_url, trust_env=False) as page:
            assert "Locust" in page.get("/").text
            page.post("/swarm", data={"user_count": str(USERS), "spawn_rate": str(USERS)}).raise_for_status()
            begun = time.monotonic()
            said = page.get("/stats/requests").json()
            while time.monotonic() < begun + SECONDS_MAX and not is_enough(said):
                time.sleep(0.5)
                said = page.get("/stats/requests").json()
            seconds = time.monotonic() - begun
            page.get("/stop")
        host = stack.inspect("load")["HostConfig"]
    finally:
        stack.compose("--profile", "load", "rm", "--stop", "--force", "load")

    requests = named(said)
    total = requests["Aggregated"]["num_requests"]
    report.append(f"load of {USERS} users: {total} requests of {len(requests) - 1} names in {seconds:.0f} s")
    assert NAMES - requests.keys() == set()
    assert total >= REQUESTS_MIN
    assert said["errors"] == []
    assert {name for name, each in requests.items() if each["num_failures"]} == set()
    assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
    assert "no drift" in stack.verify_counts()
