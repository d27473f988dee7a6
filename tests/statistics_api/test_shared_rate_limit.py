"""All processes share one limit in a real Redis, and a Redis that fails costs no client anything."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from local.ports import free_port
from local.services import Service
from tests.log_files import all_written, lines_of
from tests.redis_server import PASSWORD, Redis, needs_redis, redis_server
from tests.servers import Product, Programs, StartProduct

pytestmark = needs_redis

PATH = "/Log/auth/statistics"
WAIT_SECONDS_MAX = 20.0
PATIENT = Programs(public="tests.statistics_api.patient_service")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with redis_server(tmp_path, free_port()) as server:
        yield server


def asked(service: Service, times: int = 1, path: str = PATH, **headers: str) -> list[httpx2.Response]:
    with httpx2.Client(base_url=service.url, headers=headers, trust_env=False, timeout=WAIT_SECONDS_MAX) as client:
        return [client.get(path) for _ in range(times)]


def statuses(answers: list[httpx2.Response]) -> list[int]:
    return [each.status_code for each in answers]


def said(service: Service) -> list[str]:
    """What a service has said of the store."""
    all_written(service)
    return [line["event"] for line in lines_of(service) if "the store of the rate limit" in line.get("event", "")]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Clients:
    """Requests one after the other to each public process, until the end of the block."""

    def __init__(self, product: Product) -> None:
        self.outcomes: Counter[int | str] = Counter()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(each,)) for each in product.publics * 2]

    def __enter__(self) -> "Clients":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for each in self._threads:
            each.join()

    def go_on(self, requests: int = 100) -> None:
        """Return when so many more requests are answered."""
        wanted = self.outcomes.total() + requests
        wait_for(lambda: self.outcomes.total() >= wanted)

    def _ask(self, service: Service) -> None:
        with httpx2.Client(base_url=service.url, trust_env=False, timeout=WAIT_SECONDS_MAX) as client:
            while not self._end.is_set():
                try:
                    self.outcomes[client.get(PATH).status_code] += 1
                except httpx2.HTTPError as error:
                    self.outcomes[type(error).__name__] += 1


def test_two_processes_share_one_limit_and_its_headers(start_product: StartProduct, redis: Redis) -> None:
    product = start_product(publics=2, env={"RATE_LIMIT": "6/hour", "REDIS_URL": redis.url()}, programs=PATIENT)
    answers = [answer for _ in range(4) for service in product.publics for answer in asked(service)]
    assert statuses(answers) == [200] * 6 + [429] * 2
    assert [each.headers["ratelimit-remaining"] for each in answers] == ["5", "4", "3", "2", "1", "0", "0", "0"]
    assert {each.headers["ratelimit-limit"] for each in answers} == {"6"}
    for each in answers:
        assert 1 <= int(each.headers["ratelimit-reset"]) <= 3_600
    assert answers[-1].headers["retry-after"] == answers[-1].headers["ratelimit-reset"]
    assert {each for service in product.publics for path in ("/health", "/livez") for each in
            statuses(asked(service, 4, path))} == {200}  # fmt: skip
    assert said(product.public) == []

    # The store knows no address, and an empty one begins anew.
    assert "127.0.0.1" not in redis.ask("RANDOMKEY")
    redis.ask("FLUSHALL")
    redis.ask("SCRIPT FLUSH")
    again = [answer for service in product.publics for answer in asked(service, 4)]
    assert statuses(again) == [200] * 6 + [429] * 2
    assert [said(each) for each in product.publics] == [[], []]


def test_all_that_a_stranger_writes_into_the_header_is_one_client(start_product: StartProduct, redis: Redis) -> None:
    env = {"RATE_LIMIT": "5/hour", "REDIS_URL": redis.url(), "TRUSTED_PROXIES": "10.0.0.0/8"}
    product = start_product(publics=2, env=env, programs=PATIENT)
    found: Counter[int] = Counter()
    for service in product.publics:
        with httpx2.Client(base_url=service.url, trust_env=False) as client:
            for n in range(500):
                headers = {"X-Forwarded-For": f"203.0.{n // 250}.{n % 250}, 198.51.100.{n % 250}"}
                found[client.get(PATH, headers=headers).status_code] += 1
    assert found == {200: 5, 429: 995}
    assert redis.ask("DBSIZE") == ":1"


def kill(redis: Redis) -> None:
    redis.kill()


def pause(redis: Redis) -> None:
    redis.pause()


@pytest.mark.parametrize("fail", [kill, pause])
def test_a_store_that_fails_costs_no_request_and_is_used_again(
    start_product: StartProduct, redis: Redis, fail: Callable[[Redis], None]
) -> None:
    product = start_product(publics=2, env={"RATE_LIMIT": "1000000/hour", "REDIS_URL": redis.url()}, programs=PATIENT)
    with Clients(product) as clients:
        clients.go_on()
        fail(redis)
        clients.go_on()
        wait_for(lambda: all(len(said(each)) == 1 for each in product.publics))
        clients.go_on()
        redis.start() if fail is kill else redis.resume()
        wait_for(lambda: all(len(said(each)) == 2 for each in product.publics))
        clients.go_on()
    assert set(clients.outcomes) == {200}
    for service in product.publics:
        begun, ended = said(service)
        assert "failed" in begun
        assert "each process has its own limit" in begun
        assert "is back" in ended
        assert service.log is not None
        assert PASSWORD not in service.log.read_text()


def test_without_the_store_each_process_has_its_own_limit(start_product: StartProduct, redis: Redis) -> None:
    product = start_product(publics=2, env={"RATE_LIMIT": "3/hour", "REDIS_URL": redis.url()}, programs=PATIENT)
    assert [code for each in product.publics for code in statuses(asked(each, 2))] == [200, 200, 200, 429]
    redis.kill()
    for service in product.publics:
        answers = asked(service, 5)
        assert statuses(answers) == [200] * 3 + [429] * 2
        assert [each.headers["ratelimit-remaining"] for each in answers] == ["2", "1", "0", "0", "0"]
    redis.start()
    for service in product.publics:
        wait_for(lambda service=service: bool(asked(service)) and len(said(service)) == 2)  # type: ignore[misc]
    redis.ask("FLUSHALL")
    assert [code for each in product.publics for code in statuses(asked(each, 2))] == [200, 200, 200, 429]


def test_a_store_that_was_never_there_or_refuses_the_password_stops_nothing(
    start_product: StartProduct, redis: Redis
) -> None:
    wrong = "not-the-password"
    for url, reason in ((redis.url(wrong), "AuthenticationError"), (f"redis://127.0.0.1:{free_port()}", "Connection")):
        product = start_product(env={"RATE_LIMIT": "3/hour", "REDIS_URL": url})
        assert statuses(asked(product.public, 4)) == [200, 200, 200, 429]
        time.sleep(1.1)  # the pause is over: the next attempt fails, too
        assert statuses(asked(product.public)) == [429]
        (line,) = said(product.public)
        assert reason in line
        assert product.public.log is not None
        assert wrong not in product.public.log.read_text()
