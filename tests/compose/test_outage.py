"""The database is stopped by hand: honest refusals meanwhile, and nobody has to help it back."""

import time

import httpx2

from tests.compose.stack import Stack

ANSWER_SECONDS_MAX = 6.5
BACK_SECONDS_MAX = 20.0
EVENT = {"userKey": "during-an-outage", "deviceType": "TV"}


def refusal(answer: httpx2.Response) -> str:
    """The code of a 503."""
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text
    return str(answer.json()["code"])


def test_a_stopped_database_is_said_to_have_recorded_nothing_and_comes_back_by_itself(stack: Stack) -> None:
    with httpx2.Client(base_url=stack.url, timeout=ANSWER_SECONDS_MAX, trust_env=False) as client:
        client.post("/Log/auth", json=EVENT).raise_for_status()
        before = {name: stack.inspect(name)["State"]["StartedAt"] for name in ("statistics-api", "maintain")}
        stack.compose("stop", "postgres")
        try:
            # Its name is unknown now, and the private service's network has nobody to ask for it.
            assert [refusal(client.post("/Log/auth", json=EVENT)) for _ in range(3)] == ["not-recorded"] * 3
            assert refusal(client.get("/Log/auth/statistics")) == "not-recorded"
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["reason"]) == (503, "database: the database cannot be reached")
            assert client.get("/health").status_code == client.get("/livez").status_code == 200
            assert client.post("/Log/auth", json=EVENT | {"deviceType": "Windows"}).status_code == 400
        finally:
            stack.compose("start", "postgres")
        deadline = time.monotonic() + BACK_SECONDS_MAX
        while client.post("/Log/auth", json=EVENT).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert before == {name: stack.inspect(name)["State"]["StartedAt"] for name in before}
    assert stack.sql("SELECT count(*) FROM auth_event WHERE user_key = 'during-an-outage'") == [["2"]]
    assert "no drift" in stack.verify_counts()
