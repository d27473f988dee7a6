"""A key is rotated while clients use it: they change to the new one when they like, and no request is refused."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2

from tests.access.conftest import key_id, make_key, make_project
from tests.auth_events.payloads import event
from tests.database import assert_counts_are_exact, command
from tests.servers import Product

CLIENTS = 4
REQUESTS_AFTER = 30


def test_no_request_is_refused_while_a_key_is_rotated(product: Product) -> None:
    project = make_project(product)
    old = make_key(product, project)
    current = [old]
    rotated = threading.Event()

    def client(number: int) -> list[int]:
        """Go on with the old key for a while after the rotation, then with the new one."""
        statuses: list[int] = []
        with httpx2.Client(base_url=product.public_url, timeout=20, trust_env=False) as public:
            while not rotated.is_set() or len(statuses) < REQUESTS_AFTER:
                statuses.append(_record(public, old))
            later = [old] * number + [current[0]] * REQUESTS_AFTER
            return statuses + [_record(public, key) for key in later]

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, 10 * number) for number in range(CLIENTS)]
        time.sleep(0.2)
        current[0] = command(product, "rotate-key", project, key_id(old)).split()[-1]
        rotated.set()
        statuses = [status for each in clients for status in each.result()]

    assert current[0] != old
    assert set(statuses) == {200}
    with httpx2.Client(base_url=product.public_url, trust_env=False) as public:
        total = public.get("/Log/auth/statistics", headers={"X-API-Key": current[0]}).json()["total"]
    assert total == len(statuses)
    assert_counts_are_exact(product)


def _record(public: httpx2.Client, key: str) -> int:
    return public.post("/Log/auth", json=event("u"), headers={"X-API-Key": key}).status_code
