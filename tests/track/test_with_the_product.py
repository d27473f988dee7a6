"""The middleware with the real product: each request of an application is counted once, answers lost or not."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest
from fastapi import FastAPI

from device_statistics_track import TrackMiddleware, backlog, transport
from device_statistics_track.backlog import Answer, Batch, Verdict
from device_statistics_track.sender import Sender
from device_statistics_track.transport import Transport
from tests.access.conftest import make_key, make_project
from tests.api_requests.conftest import TrackedProject
from tests.database import assert_counts_are_exact, rows
from tests.servers import Product
from tests.track.servers import running_asgi

CLIENTS = 4
KILLS = 2
REQUESTS_WHILE_AWAY = 100
HELD_MAX = 30
SETTLE_SECONDS_MAX = 30.0


class Exchanges:
    """What became of the batches: the product answers each of them, and its first answer is lost on the way."""

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self.repeated = 0

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        post = Transport.post

        def losing_post(transport: Transport, batch: Batch) -> Answer:
            answer = post(transport, batch)
            if answer.verdict is not Verdict.ACCEPTED:
                return answer
            if batch.id in self.lost:
                self.repeated += 1
                return answer
            self.lost.add(batch.id)
            return Answer(Verdict.RETRY, "the answer was lost")

        monkeypatch.setattr(Transport, "post", losing_post)


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> Exchanges:
    """Short waits, and answers that get lost."""
    monkeypatch.setattr(backlog, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(backlog, "BACKOFF_SECONDS_MAX", 0.1)
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", 5.0)
    found = Exchanges()
    found.patch(monkeypatch)
    return found


@pytest.fixture
def project(product: Product) -> Iterator[TrackedProject]:
    """A project without requests, whose key the host has."""
    key = make_project(product)
    api_key = make_key(product, key)
    with httpx2.Client(
        base_url=product.public_url, headers={"X-API-Key": api_key}, timeout=20, trust_env=False
    ) as client:
        yield TrackedProject(key, api_key, client)


class Host:
    """An application of somebody who reports to the product."""

    def __init__(self, url: str, sender: Sender) -> None:
        self.url = url
        self.sender = sender

    def ask(self, client: httpx2.Client, number: int) -> None:
        """One request, which must be answered whatever happens to the product."""
        assert client.get(f"{self.url}/orders/{number}").json() == {"number": number}
        assert self.sender.backlog.held <= backlog.EVENTS_MAX

    def ask_until(self, stop: threading.Event) -> int:
        """Requests one after the other; how many there were."""
        asked = 0
        with httpx2.Client(trust_env=False) as client:
            while not stop.is_set():
                self.ask(client, asked)
                asked += 1
                stop.wait(0.005)
        return asked


@contextmanager
def running_host(product: Product, project: TrackedProject) -> Iterator[Host]:
    """The host under its real server. What is left is sent when it ends."""
    app = FastAPI()

    @app.get("/orders/{number}")
    async def order(number: int) -> dict[str, int]:
        return {"number": number}

    tracked = TrackMiddleware(app, api_key=project.api_key, url=product.public_url)
    recorder = tracked._recorder  # noqa: SLF001 - only here it is seen how many events are held
    assert recorder is not None
    with running_asgi(tracked) as url:
        yield Host(url, recorder.sender)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SETTLE_SECONDS_MAX
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    assert true()


def assert_counted(product: Product, project: TrackedProject, *, requests: int, dropped: int) -> None:
    """The figures and the facts tell the same, and are complete."""
    found = project.summary()
    assert (found["request_count"], found["dropped"]) == (requests, dropped)
    facts = rows(
        product.database,
        "SELECT url_path, count(*)::int FROM api_request JOIN project USING (project_id)"
        " WHERE project_key = %(key)s GROUP BY 1",
        {"key": project.key},
    )
    assert facts == [("/orders/{number}", requests)]
    assert_counts_are_exact(product)


def test_each_request_is_counted_once_through_kills(
    product: Product, project: TrackedProject, exchanges: Exchanges
) -> None:
    stop = threading.Event()
    with running_host(product, project) as host, ThreadPoolExecutor(CLIENTS) as clients:
        asking = [clients.submit(host.ask_until, stop) for _ in range(CLIENTS)]
        try:
            for _ in range(KILLS):
                repeated = exchanges.repeated
                wait_until(lambda: exchanges.repeated > repeated)  # noqa: B023 - called at once
                product.public.kill()
                held = host.sender.backlog.held
                wait_until(lambda: host.sender.backlog.held >= held + CLIENTS)  # noqa: B023 - called at once
                product.public.start()
                product.public.wait_ready()
        finally:
            stop.set()
        requests = sum(each.result() for each in asking)
        wait_until(lambda: project.summary()["request_count"] >= requests)
        wait_until(lambda: host.sender.backlog.held == 0)
    assert exchanges.repeated == len(exchanges.lost) > KILLS
    assert_counted(product, project, requests=requests, dropped=0)


def test_what_a_full_backlog_dropped_is_told_once(
    product: Product, project: TrackedProject, exchanges: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "EVENTS_MAX", HELD_MAX)
    with running_host(product, project) as host, httpx2.Client(trust_env=False) as client:
        product.public.kill()
        for number in range(REQUESTS_WHILE_AWAY):
            host.ask(client, number)
        dropped = REQUESTS_WHILE_AWAY - HELD_MAX
        # The last one may be recorded a moment after its response.
        wait_until(lambda: host.sender.backlog.dropped == dropped)
        product.public.start()
        product.public.wait_ready()
        wait_until(lambda: host.sender.backlog.held == 0)
        assert exchanges.repeated == len(exchanges.lost) >= 1  # the loss was told twice, under one id
        host.ask(client, 0)
    assert_counted(product, project, requests=HELD_MAX + 1, dropped=dropped)
