"""Profile `load`: Locust's page, and the traffic it makes."""

import time

import httpx2

from tests.compose.stack import Stack

SECONDS_MAX = 30.0
REQUESTS_MIN = 100


def test_the_page_starts_a_load_that_the_stack_carries(stack: Stack) -> None:
    stack.compose("--profile", "load", "up", "--build", "--detach", "--wait", "load")
    try:
        with httpx2.Client(base_url=stack.load_url, trust_env=False) as page:
            assert "Locust" in page.get("/").text
            page.post("/swarm", data={"user_count": "10", "spawn_rate": "10"}).raise_for_status()
            deadline = time.monotonic() + SECONDS_MAX
            report = page.get("/stats/requests").json()
            while time.monotonic() < deadline and report["stats"][-1]["num_requests"] < REQUESTS_MIN:
                time.sleep(0.5)
                report = page.get("/stats/requests").json()
            page.get("/stop")
        host = stack.inspect("load")["HostConfig"]
    finally:
        stack.compose("--profile", "load", "rm", "--stop", "--force", "load")

    requests = {each["name"]: each for each in report["stats"]}
    assert requests["/Log/auth"]["num_requests"] > 0
    assert requests["Aggregated"]["num_requests"] >= REQUESTS_MIN
    assert requests["Aggregated"]["num_failures"] == 0
    assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
    assert "no drift" in stack.verify_counts()
