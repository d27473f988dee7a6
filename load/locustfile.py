"""What devices and dashboards do all day, for Compose's profile `load`: open http://localhost:8089 and press start.

One class a family of the API, and one for those who look. All but auth events need an API key with the scopes ingest,
read and manage, LOAD_API_KEY; without it they are left out. For figures use `make bench`: a client in Python is busy
itself before the service is.
"""

import os
import secrets
import uuid
from random import choice, randrange, uniform

from locust import FastHttpUser, between, constant, task

DEVICE_TYPES = ["Android", "TV", "Watch", "iOS"]
USERS = 100_000
BATCH_EVENTS = 500
KEY = os.environ.get("LOAD_API_KEY", "")
HAS_NO_KEY = not KEY
WITH_KEY = {"X-API-Key": KEY}
PATHS = ["/orders", "/orders/{id}", "/customers/{id}", "/search"]


def auth_event() -> dict[str, str]:
    """One sign-in of a random user from a random device."""
    return {"userKey": f"load-{randrange(USERS)}", "deviceType": choice(DEVICE_TYPES)}  # noqa: S311 - load, no secret


def api_request() -> dict[str, object]:
    """One request to a random route of somebody's API."""
    return {
        "url_path": choice(PATHS),  # noqa: S311
        "method": choice(["GET", "POST"]),  # noqa: S311
        "response_status_code": choice([200, 200, 200, 201, 404, 500]),  # noqa: S311
        "response_time_ms": round(uniform(1, 300), 3),  # noqa: S311
        "consumer": f"load-{randrange(100)}",  # noqa: S311
    }


def point() -> dict[str, object]:
    """Three numbers."""
    return {axis: round(uniform(-10, 40), 2) for axis in "xyz"}  # noqa: S311


class SignIns(FastHttpUser):
    """A login service: one event at a time, each with a key of its own, and now and then a backlog at once."""

    weight = 20
    wait_time = between(0.01, 0.1)

    @task(100)
    def sign_in(self) -> None:
        """Record one event."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        self.client.post("/Log/auth", json=auth_event(), headers=headers)

    @task(1)
    def backlog(self) -> None:
        """Record many events in one transaction."""
        events = [auth_event() | {"eventId": str(uuid.uuid4())} for _ in range(BATCH_EVENTS)]
        self.client.post("/Log/auth/batch", json=events)


class AuthDashboard(FastHttpUser):
    """A page that shows the counts of family 1 and polls them."""

    weight = 1
    wait_time = constant(2)

    @task(4)
    def totals(self) -> None:
        """How many, of each device type."""
        self.client.get("/Log/auth/statistics")

    @task(1)
    def last_hours(self) -> None:
        """When, by the hour."""
        name = "/Log/auth/timeseries"
        self.client.get(f"{name}?deviceType={choice(DEVICE_TYPES)}&interval=hour", name=name)  # noqa: S311


class Gateway(FastHttpUser):
    """An API that reports its own requests, one by one and as its middleware does; and the page of its figures."""

    abstract = HAS_NO_KEY
    weight = 10
    wait_time = between(0.05, 0.5)
    default_headers = WITH_KEY

    @task(20)
    def report(self) -> None:
        """Record one request."""
        self.client.post("/api/v1/track", json=api_request(), headers={"Idempotency-Key": str(uuid.uuid4())})

    @task(2)
    def reports(self) -> None:
        """Record many requests in one transaction."""
        events = [api_request() | {"eventId": str(uuid.uuid4())} for _ in range(BATCH_EVENTS)]
        self.client.post("/api/v1/track/batch", json=events)

    @task(1)
    def figures(self) -> None:
        """Today's figures."""
        name = "/api/v1/projects/default/metrics"
        for metric in ("summary", "endpoints", "time-series?granularity=hour"):
            self.client.get(f"{name}/{metric}")


class Sensor(FastHttpUser):
    """A device that measures, and somebody who analyses the last day."""

    abstract = HAS_NO_KEY
    weight = 10
    wait_time = between(0.05, 0.5)
    default_headers = WITH_KEY

    def on_start(self) -> None:
        """Make itself known."""
        self.device = f"load-{secrets.token_hex(8)}"
        self.client.post("/api/v1/devices/", json={"device_id": self.device}).raise_for_status()

    @task(50)
    def measure(self) -> None:
        """Record three numbers."""
        self.client.post(f"/api/v1/stats/devices/{self.device}", json=point(), name="/api/v1/stats/devices/{device_id}")

    @task(1)
    def backlog(self) -> None:
        """Record many points in one transaction."""
        points = [point() | {"eventId": str(uuid.uuid4())} for _ in range(BATCH_EVENTS)]
        name = "/api/v1/stats/devices/{device_id}/batch"
        self.client.post(f"/api/v1/stats/devices/{self.device}/batch", json=points, name=name)

    @task(1)
    def analyse(self) -> None:
        """Extremes, sums and medians; a device that has measured nothing yet has none."""
        path = f"/api/v1/stats/devices/{self.device}/analyze"
        name = "/api/v1/stats/devices/{device_id}/analyze"
        with self.client.post(path, name=name, catch_response=True) as answer:
            if answer.status_code == 404:  # noqa: PLR2004
                answer.success()


class Till(FastHttpUser):
    """A store that knows its customer and records what the customer does, and its owner."""

    abstract = HAS_NO_KEY
    weight = 10
    wait_time = between(0.05, 0.5)
    default_headers = WITH_KEY

    def on_start(self) -> None:
        """Make the customer known."""
        name = secrets.token_hex(8)
        customer = {
            "email": f"{name}@example.com",
            "username": name,
            "first_name": "Load",
            "last_name": "Test",
            "phone": 15550100,
        }
        answer = self.client.post("/api/user", json=customer)
        answer.raise_for_status()
        self.customer = answer.json()["id"]

    @task(50)
    def purchase(self) -> None:
        """Record one event."""
        self.client.post("/api/event", json=self.bought())

    @task(1)
    def backlog(self) -> None:
        """Record many events in one transaction."""
        events = [self.bought() | {"eventId": str(uuid.uuid4())} for _ in range(BATCH_EVENTS)]
        self.client.post("/api/event/batch", json=events)

    @task(1)
    def amounts(self) -> None:
        """How many a day."""
        self.client.get("/api/event/amount/purchase")

    def bought(self) -> dict[str, object]:
        """One purchase of the customer."""
        return {"type": "purchase", "user_id": self.customer, "data": {"order": randrange(USERS)}}  # noqa: S311
