"""A key far over its limit takes nothing from the key of another project."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import httpx2
import pytest

from tests.api_requests.conftest import TRACK
from tests.api_requests.payloads import request
from tests.database import assert_counts_are_exact, rows
from tests.projects.conftest import Account
from tests.servers import Product

CONNECTIONS = 8
# Of the noisy key, as fast as its connections get answers: about 20 times either limit.
NOISY_REQUESTS = 400
NAMES = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


async def send(client: httpx2.AsyncClient, count: int) -> list[httpx2.Response]:
    """So many requests, one after the other."""
    return [await client.post(TRACK, json=request()) for _ in range(count)]


def statuses(answers: Iterable[httpx2.Response]) -> Counter[int]:
    return Counter(each.status_code for each in answers)


def facts(product: Product, project_key: str) -> int:
    [(found,)] = rows(
        product.database,
        "SELECT count(*)::int FROM api_request JOIN project USING (project_id) WHERE project_key = %(key)s",
        {"key": project_key},
    )
    return int(found)


@dataclass(frozen=True)
class Neighbours:
    """Limits of both keys, and how much the steady one sends, within its own."""

    noisy_limit: str
    steady_limit: str | None
    steady_requests: int


def assert_told(answers: Sequence[httpx2.Response], limit: str) -> None:
    """Each response says where its key stands, and each refusal when to come back."""
    for each in answers:
        assert each.headers["ratelimit-limit"] == limit.partition("/")[0]
        if each.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            assert each.headers["ratelimit-remaining"] == "0"
            assert each.headers["retry-after"] == each.headers["ratelimit-reset"]
            assert int(each.headers["retry-after"]) >= 1
            assert each.json()["code"] == "too-many-requests"


@pytest.mark.parametrize(
    "neighbours",
    [
        pytest.param(Neighbours("5/second", None, 100), id="without a limit"),
        # The same limit, and used up to its last request: no request of the other may be counted here.
        pytest.param(Neighbours("20/hour", "20/hour", 20), id="with the same limit"),
    ],
)
def test_a_neighbour_over_its_limit_costs_no_other_project_a_request(
    product: Product, owner: Account, neighbours: Neighbours
) -> None:
    limits = {"noisy": neighbours.noisy_limit, "steady": neighbours.steady_limit}
    projects = {name: owner.project(f"{name}, {limits}") for name in limits}
    keys = {name: owner.key(projects[name], rate_limit=limit)["key"] for name, limit in limits.items()}

    def client(name: str) -> httpx2.AsyncClient:
        headers = {"X-API-Key": keys[name]}
        return httpx2.AsyncClient(base_url=product.public_url, headers=headers, timeout=20, trust_env=False)

    async def together() -> list[list[httpx2.Response]]:
        async with client("noisy") as noisy, client("steady") as steady:
            loud = [send(noisy, NOISY_REQUESTS // CONNECTIONS) for _ in range(CONNECTIONS)]
            return await asyncio.gather(send(steady, neighbours.steady_requests), *loud)

    steady, *loud = asyncio.run(together())
    noisy = list(chain.from_iterable(loud))

    assert statuses(steady) == {201: neighbours.steady_requests}
    if neighbours.steady_limit is None:
        assert not any(name in each.headers for each in steady for name in NAMES)
    else:
        left = [int(each.headers["ratelimit-remaining"]) for each in steady]
        assert left == list(reversed(range(neighbours.steady_requests)))

    seen = statuses(noisy)
    assert set(seen) == {201, 429}
    if neighbours.noisy_limit == "20/hour":
        assert seen[201] == 20
    assert_told(noisy, neighbours.noisy_limit)

    # What was refused left nothing, and what was not is there.
    stored = {name: facts(product, project["project_key"]) for name, project in projects.items()}
    assert stored == {"noisy": seen[201], "steady": neighbours.steady_requests}
    assert_counts_are_exact(product)
