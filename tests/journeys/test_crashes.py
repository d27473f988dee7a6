"""Each service's worst day: killed under load, and still nothing acknowledged is lost or counted twice.

A simple version of the history check: every event has a user key of its own and an Idempotency-Key, clients repeat
whatever was not acknowledged under the same key, and at the end the rows of the database are compared with what was
acknowledged.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from tests.auth_events.payloads import DEVICE_TYPES, event
from tests.database import assert_counts_are_exact, facts_by_user
from tests.servers import Cluster, Product, StartProduct

SEED = int(os.environ.get("CRASH_SEED", "20261122"))
WRITERS = 16
LOAD_SECONDS = 5.0
# Where in that time the kill comes, and how long the victim stays away.
KILL_SECONDS = (1.0, 2.0)
AWAY_SECONDS = (0.3, 1.0)
# Some clients lose patience before they can be answered: so outcomes are in doubt, and repeats meet stored events.
PATIENCE_SECONDS = (0.01, 1.0, 1.0, 1.0, 1.0)
ATTEMPTS_MAX = 300
PAUSE_SECONDS = 0.05

Fault = Callable[[Product, random.Random], Coroutine[Any, Any, None]]


@dataclass
class History:
    """What the clients know at the end."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    unknown: int = 0
    not_recorded: int = 0


async def write(product: Product, writer: int, history: History, until: float) -> None:
    """Record one event after the other; each is repeated under its key until it is acknowledged."""
    loop = asyncio.get_running_loop()
    chance = random.Random(SEED + writer)  # noqa: S311 - to be repeated, not to be secret
    async with httpx2.AsyncClient(base_url=product.public_url, trust_env=False) as client:
        for number in range(1_000_000):
            if loop.time() > until:
                return
            body = event(f"writer-{writer}-{number}", DEVICE_TYPES[(writer + number) % len(DEVICE_TYPES)])
            for _ in range(ATTEMPTS_MAX):
                if await acknowledged(client, body, history, chance.choice(PATIENCE_SECONDS)):
                    break
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                pytest.fail(f"{body} could not be recorded in {ATTEMPTS_MAX} attempts")


async def acknowledged(
    client: httpx2.AsyncClient, body: dict[str, object], history: History, patience_seconds: float
) -> bool:
    """One attempt, noted in the history."""
    user_key = str(body["userKey"])
    try:
        answer = await client.post(
            "/Log/auth", json=body, headers={"Idempotency-Key": user_key}, timeout=patience_seconds
        )
    except httpx2.TransportError:
        history.unknown += 1
        return False
    if answer.status_code == 503:
        code = answer.json()["code"]
        history.unknown += code == "outcome-unknown"
        history.not_recorded += code == "not-recorded"
        assert answer.headers["retry-after"]
        return False
    # A server's fault is never the client's: whatever is not 200 or 503 ends the test here.
    assert answer.status_code == 200, (answer.status_code, answer.text)
    history.acknowledged[user_key] += 1
    history.replayed += answer.headers.get("idempotent-replayed") == "true"
    return True


async def run(product: Product, fault: Fault) -> History:
    """Load, one fault in the middle of it, and the history."""
    print(f"CRASH_SEED={SEED}")
    history = History()
    until = asyncio.get_running_loop().time() + LOAD_SECONDS
    async with asyncio.TaskGroup() as tasks:
        for writer in range(WRITERS):
            tasks.create_task(write(product, writer, history, until))
        tasks.create_task(fault(product, random.Random(SEED)))  # noqa: S311 - to be repeated, not to be secret
    return history


def assert_exact(product: Product, history: History, acknowledged_min: int) -> None:
    """Lost, duplicate and phantom events: none; and the counts agree."""
    print(history.replayed, history.unknown, history.not_recorded, len(history.acknowledged))
    facts = facts_by_user(product.database)
    assert facts == history.acknowledged
    assert set(facts.values()) == {1}
    with httpx2.Client(base_url=product.public_url, trust_env=False, timeout=20) as client:
        statistics = client.get("/Log/auth/statistics").json()
    assert statistics["total"] == sum(facts.values())
    assert_counts_are_exact(product)
    # Otherwise it proves nothing: there was load, outcomes were in doubt, and repeats met what was stored already.
    assert len(facts) > acknowledged_min
    assert history.unknown > 0
    assert history.replayed > 0


@pytest.fixture
def product(start_product: StartProduct) -> Product:
    """A product of its own for each test: every fact in it is the test's."""
    return start_product()


async def test_nothing_acknowledged_is_lost_when_the_private_service_is_killed(product: Product) -> None:
    async def kill(product: Product, chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(*KILL_SECONDS))
        await asyncio.to_thread(product.private.kill)
        await asyncio.sleep(chance.uniform(*AWAY_SECONDS))
        await asyncio.to_thread(product.private.start)

    assert_exact(product, await run(product, kill), acknowledged_min=100)
    assert product.public.pid is not None


async def test_nothing_acknowledged_is_lost_when_postgresql_is_killed(product: Product, cluster: Cluster) -> None:
    pids = (product.public.pid, product.private.pid)

    async def kill(_: Product, chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(*KILL_SECONDS))
        await asyncio.to_thread(cluster.server.kill)
        await asyncio.sleep(chance.uniform(*AWAY_SECONDS))
        await asyncio.to_thread(cluster.server.start)

    assert_exact(product, await run(product, kill), acknowledged_min=100)
    assert (product.public.pid, product.private.pid) == pids
