"""The clients of an existing service for devices move here: all that they add to their requests is a key.

Each creates a user with three devices, measures, and then does what chance decides, as its load test did: times have no
zone, and the end of a period may be ahead. Nothing fails, and each client finds exactly what it sent.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.database import assert_counts_are_exact
from tests.servers import Product

PREFIX = "/api/v1"
CLIENTS = 8
DEVICES_EACH = 3
INITIAL_EACH = 5
TASKS_EACH = 32
AXES = ("x", "y", "z")
OK, CREATED = 200, 201


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Users have e-mail addresses, which are personal data."""
    return product_with_accounts


class DeviceClient:
    """One simulated client, and what it was told."""

    def __init__(self, http: httpx2.AsyncClient, number: int) -> None:
        self._http = http
        self._random = Random(number)  # noqa: S311 - the same load each time
        self.name = f"testuser_{self._random.getrandbits(32):08x}"
        self.user_id = ""
        self.sent: dict[str, list[dict[str, float]]] = {}
        self.seen: Counter[str] = Counter()

    async def run(self) -> None:
        """Begin, then one task after the other."""
        await self._begin()
        tasks = [self._measure, self._read, self._analyze_device, self._analyze_user]
        for task in self._random.choices(tasks, weights=[10, 3, 2, 1], k=TASKS_EACH):
            await task()

    async def analysis(self) -> Any:  # noqa: ANN401 - JSON
        """The figures of all devices of the user, with an end that is ahead."""
        now = datetime.now(UTC).replace(tzinfo=None)
        period = {
            "start_time": (now - timedelta(days=1)).isoformat(),
            "end_time": (now + timedelta(days=1)).isoformat(),
        }
        return await self._post(f"/stats/users/{self.user_id}/analyze", period, OK)

    async def _begin(self) -> None:
        body = {"username": self.name, "email": f"{self.name}@example.com"}
        self.user_id = (await self._post("/users/", body, CREATED))["id"]
        for number in range(DEVICES_EACH):
            device_id = f"dev_{self._random.getrandbits(40):010x}"
            body = {"device_id": device_id, "name": f"device_{number}", "user_id": self.user_id}
            await self._post("/devices/", body, CREATED)
            self.sent[device_id] = []
        for device_id in self.sent:
            for _ in range(INITIAL_EACH):
                await self._measure(device_id)

    async def _measure(self, device_id: str = "") -> None:
        chosen = device_id or self._chosen()
        point = {axis: self._random.uniform(-100, 100) for axis in AXES}
        await self._post(f"/stats/devices/{chosen}", point, CREATED)
        self.sent[chosen].append(point)

    async def _read(self) -> None:
        answer = await self._http.get(f"{PREFIX}/stats/devices/{self._chosen()}")
        self._note("read", answer, OK)

    async def _analyze_device(self) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        period = {"start_time": (now - timedelta(hours=24)).isoformat(), "end_time": now.isoformat()}
        await self._post(f"/stats/devices/{self._chosen()}/analyze", period, OK)

    async def _analyze_user(self) -> None:
        await self.analysis()

    async def _post(self, path: str, body: Mapping[str, object], expected: int) -> Any:  # noqa: ANN401 - JSON
        answer = await self._http.post(PREFIX + path, json=body)
        self._note(path.split("/")[1], answer, expected)
        return answer.json()

    def _note(self, what: str, answer: httpx2.Response, expected: int) -> None:
        assert answer.status_code == expected, (what, answer.status_code, answer.text)
        self.seen[what] += 1

    def _chosen(self) -> str:
        return self._random.choice([*self.sent])


async def test_clients_of_a_service_for_devices_need_nothing_but_a_key(product: Product) -> None:
    key = make_key(product, make_project(product), "ingest", "read")
    async with httpx2.AsyncClient(
        base_url=product.public_url, headers={"X-API-Key": key}, timeout=20, trust_env=False
    ) as http:
        clients = [DeviceClient(http, number) for number in range(CLIENTS)]
        await asyncio.gather(*(client.run() for client in clients))
        found = [await client.analysis() for client in clients]
    for client, figures in zip(clients, found, strict=True):
        points = [point for sent in client.sent.values() for point in sent]
        assert figures["user_id"] == client.user_id
        assert {each["device_id"]: each["stats"]["x"]["count"] for each in figures["device_stats"]} == {
            device_id: len(sent) for device_id, sent in client.sent.items()
        }
        for axis in AXES:
            of_axis = figures["aggregate_stats"][axis]
            column = [point[axis] for point in points]
            assert (of_axis["count"], of_axis["min_value"], of_axis["max_value"]) == (
                len(column),
                min(column),
                max(column),
            )
            assert math.isclose(of_axis["sum"], math.fsum(column), rel_tol=1e-12, abs_tol=1e-9)
    assert min(client.seen["stats"] for client in clients) > DEVICES_EACH * INITIAL_EACH
    await asyncio.to_thread(assert_counts_are_exact, product)
