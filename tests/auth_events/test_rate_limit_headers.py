"""With a rate limit, each answer of a limited route tells the client where it stands, on either way to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from local.ports import free_port
from tests.redis_server import needs_redis, redis_server
from tests.servers import Product, Programs, StartProduct

PATIENT = Programs(public="tests.statistics_api.patient_service")
LIMIT = 1_000
EVENT = b'{"userKey":"u","deviceType":"iOS"}'
COUNT = "/Log/auth/statistics"
REQUESTS: dict[str, tuple[str, str, bytes, dict[str, str], int]] = {
    "recorded": ("POST", "/Log/auth", EVENT, {}, 200),
    "recorded the long way": ("POST", "/Log/auth/", EVENT, {}, 200),
    "counted": ("GET", COUNT, b"", {}, 200),
    "counted the long way": ("GET", COUNT + "/", b"", {}, 200),
    "head": ("HEAD", COUNT, b"", {}, 200),
    "not changed": ("GET", COUNT, b"", {"If-None-Match": "*"}, 304),
    "not changed the long way": ("GET", COUNT + "/", b"", {"If-None-Match": "*"}, 304),
    "a series": ("GET", "/Log/auth/timeseries", b"", {}, 200),
    "documentation": ("GET", "/openapi.json", b"", {}, 200),
    "options": ("OPTIONS", "/Log/auth", b"", {}, 204),
    "another key's body": ("POST", "/Log/auth", EVENT.replace(b"iOS", b"TV"), {"Idempotency-Key": "key"}, 409),
    "bad value": ("GET", COUNT + "?deviceType=x", b"", {}, 400),
    "no such path": ("GET", "/nowhere", b"", {}, 404),
    "not allowed": ("PUT", "/Log/auth", b"", {}, 405),
    "too large": ("POST", "/Log/auth", b"x" * 70_000, {}, 413),
    "malformed": ("POST", "/Log/auth", b"{", {}, 422),
}
NAMES = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


@contextmanager
def client_of(product: Product) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=product.public_url, trust_env=False, timeout=20) as client:
        assert client.post("/Log/auth", content=EVENT, headers={"Idempotency-Key": "key"}).status_code == 200
        yield client


def ask(client: httpx2.Client, name: str) -> httpx2.Response:
    method, path, body, headers, status = REQUESTS[name]
    answer = client.request(method, path, content=body or None, headers=headers)
    assert answer.status_code == status
    return answer


@pytest.fixture(scope="module")
def limited(start_product: StartProduct) -> Iterator[httpx2.Client]:
    with client_of(start_product(env={"RATE_LIMIT": f"{LIMIT}/hour"})) as client:
        yield client


@pytest.fixture(scope="module")
def shared(start_product: StartProduct, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with redis_server(tmp_path_factory.mktemp("redis"), free_port()) as redis:
        product = start_product(env={"RATE_LIMIT": f"{LIMIT}/hour", "REDIS_URL": redis.url()}, programs=PATIENT)
        with client_of(product) as client:
            yield client


def check(client: httpx2.Client, name: str) -> None:
    before, after = (ask(client, name) for _ in range(2))
    for each in (before, after):
        assert each.headers["ratelimit-limit"] == str(LIMIT)
        assert 1 <= int(each.headers["ratelimit-reset"]) <= 3_600
        assert all(len(each.headers.get_list(name)) == 1 for name in NAMES)
    assert int(after.headers["ratelimit-remaining"]) == int(before.headers["ratelimit-remaining"]) - 1


@pytest.mark.parametrize("name", REQUESTS)
def test_every_answer_says_what_is_left(limited: httpx2.Client, name: str) -> None:
    check(limited, name)


@needs_redis
@pytest.mark.parametrize("name", REQUESTS)
def test_every_answer_says_what_is_left_of_a_shared_limit(shared: httpx2.Client, name: str) -> None:
    check(shared, name)


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
def test_a_health_check_is_not_limited_and_says_nothing(limited: httpx2.Client, path: str) -> None:
    before = ask(limited, "counted").headers["ratelimit-remaining"]
    answer = limited.get(path)
    assert answer.status_code == 200
    assert not set(NAMES) & set(answer.headers)
    assert int(ask(limited, "counted").headers["ratelimit-remaining"]) == int(before) - 1


@pytest.mark.parametrize("env", [{}, {"REDIS_URL": "redis://127.0.0.1:1"}], ids=["nothing", "only a store"])
def test_without_a_limit_nothing_is_said(start_product: StartProduct, env: dict[str, str]) -> None:
    with client_of(start_product(env=env)) as client:
        for name in REQUESTS:
            assert not set(NAMES) & set(ask(client, name).headers)
