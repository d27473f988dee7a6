"""What devices and dashboards do all day, for Compose's profile `load`: open http://localhost:8089 and press start.

One class a family of the API. For figures use `make bench`: a client in Python is busy itself before the service is.
"""

import uuid
from random import choice, randrange

from locust import FastHttpUser, between, constant, task

DEVICE_TYPES = ["Android", "TV", "Watch", "iOS"]
USERS = 100_000
BATCH_EVENTS = 500


def auth_event() -> dict[str, str]:
    """One sign-in of a random user from a random device."""
    return {"userKey": f"load-{randrange(USERS)}", "deviceType": choice(DEVICE_TYPES)}  # noqa: S311 - load, no secret


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
