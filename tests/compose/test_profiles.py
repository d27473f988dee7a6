"""Compose's optional profiles: the inbox, a shared rate limit, and Prometheus, each started as docs/compose.md says.

A profile whose image cannot be had here is skipped, and says so.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import httpx2
import pytest

from tests.compose.stack import CommandFailed, Stack, docker

SECONDS_MAX = 60.0
INBOX = {"INBOX_DATABASE_URL": "postgresql://postgres@inbox-postgres/inbox", "INBOX_DB_PASSWORD": "change-me-inbox"}
SHARED_LIMIT = {"REDIS_URL": "redis://redis:6379", "RATE_LIMIT": "40/hour", "PUBLIC_WORKERS": "2"}
AFFECTED = ("device-registration-api", "statistics-api")
WAITS = {"Prefer": "respond-async"}


@contextmanager
def profile(stack: Stack, name: str, *services: str, **settings: str) -> Iterator[None]:
    """The stack with these services of a profile, and with these settings."""
    for service in services:
        [image] = stack.compose("--profile", name, "config", "--images", service).decode().split()[:1]
        try:
            docker("image", "inspect", image)
        except CommandFailed:
            if docker("pull", image, check=False).returncode != 0:
                pytest.skip(f"the image {image} cannot be had here")
    try:
        stack.compose(
            "--profile", name, "up", "--detach", "--wait", "--no-build", *services, *AFFECTED, stdin=None, **settings
        )
        yield
    finally:
        stack.compose("--profile", name, "rm", "--stop", "--force", "--volumes", *services)
        stack.up("--no-build")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def client_of(stack: Stack) -> httpx2.Client:
    return httpx2.Client(base_url=stack.url, timeout=10, trust_env=False)


def test_an_inbox_takes_events_while_the_database_is_away(stack: Stack) -> None:
    event = {"userKey": "through-the-inbox", "deviceType": "Watch"}
    with profile(stack, "inbox", "inbox-postgres", "migrate", **INBOX), client_of(stack) as client:
        assert client.post("/Log/auth", json=event, headers=WAITS).status_code == 200
        stack.compose("stop", "postgres")
        try:
            wait_until(lambda: client.post("/Log/auth", json=event).status_code == 503)
            waiting = [client.post("/Log/auth", json=event, headers=WAITS) for _ in range(3)]
            assert [each.status_code for each in waiting] == [202] * 3, waiting[0].text
            assert client.get("/readyz").status_code == 200
        finally:
            stack.compose("start", "postgres")

        def recorded() -> int:
            try:
                [[number]] = stack.sql("SELECT count(*) FROM auth_event WHERE user_key = 'through-the-inbox'")
            except CommandFailed:
                return 0
            return int(number)

        wait_until(lambda: recorded() >= 4)
        wait_until(lambda: client.post("/Log/auth", json=event).status_code == 200)
        assert recorded() == 5
        assert "no drift" in stack.verify_counts()


def test_workers_share_a_limit_and_no_request_fails_without_redis(stack: Stack) -> None:
    with profile(stack, "redis", "redis", **SHARED_LIMIT):

        def statuses(number: int) -> list[int]:
            # A connection each, so that both workers get some.
            return [httpx2.get(f"{stack.url}/Log/auth/statistics", trust_env=False).status_code for _ in range(number)]

        found = statuses(60)
        assert (found.count(200), found.count(429)) == (40, 20)
        stopped = Event()

        def ask() -> list[int]:
            answers = []
            while not stopped.is_set():
                answers += statuses(1)
            return answers

        with ThreadPoolExecutor(8) as threads:
            asking = [threads.submit(ask) for _ in range(8)]
            time.sleep(1)
            stack.compose("--profile", "redis", "kill", "redis")
            time.sleep(5)
            stopped.set()
        answers = [status for each in asking for status in each.result()]
        assert set(answers) == {200, 429}, sorted(set(answers))


def test_prometheus_reaches_both_services_and_loads_the_rules(stack: Stack) -> None:
    with profile(stack, "monitoring", "prometheus"):

        def asked(path: str) -> object:
            url = f"http://prometheus:9090/api/v1/{path}"
            program = f"import urllib.request; print(urllib.request.urlopen({url!r}).read().decode())"
            printed = stack.compose("exec", "-T", "device-registration-api", "python", "-c", program)
            return json.loads(printed)["data"]

        def targets() -> set[tuple[str, str]]:
            found = asked("targets")
            assert isinstance(found, dict)
            return {(each["labels"]["job"], each["health"]) for each in found["activeTargets"]}

        wait_until(lambda: targets() == {(name, "up") for name in AFFECTED})
        rules = asked("rules")
        assert isinstance(rules, dict)
        alerts = [rule for group in rules["groups"] for rule in group["rules"]]
        assert alerts
        assert {rule["health"] for rule in alerts} <= {"ok", "unknown"}
        assert {rule.get("lastError") for rule in alerts} <= {None, ""}
