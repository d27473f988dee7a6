"""A real application goes on answering, and each request is counted once, whatever the receiver does."""

import logging
import socket
import threading
from collections.abc import Iterator

import httpx2
import pytest

from device_statistics_track import backlog, transport
from device_statistics_track.backlog import Batch
from device_statistics_track.event import Event, encode
from device_statistics_track.sender import Sender
from device_statistics_track.settings import Settings, read_settings
from device_statistics_track.transport import Transport
from local.ports import free_port
from tests.track.receiver import (
    KEY,
    Behaviour,
    Receiver,
    cut,
    foreign_page,
    running_receiver,
    slow,
    status,
    store_and_cut,
)
from tests.track.servers import running_asgi
from tests.track.test_asgi import track

pytestmark = pytest.mark.usefixtures("hasty")

REQUESTS = 30


def settings_for(url: str, key: str = KEY) -> Settings:
    settings = read_settings(key, url, {})
    assert settings is not None
    return settings


def event(number: int = 0) -> Event:
    return Event(f"/{number}", "GET", 200, 1_234_567, 1_700_000_000_000_000_000)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([cut], id="reset"),
        pytest.param([store_and_cut, store_and_cut], id="answer lost"),
        pytest.param([status(503, Retry_After="0"), status(503)], id="503"),
        pytest.param([status(429, Retry_After="1")], id="429"),
        pytest.param([status(500), status(502), status(504), status(408)], id="other statuses to repeat"),
        pytest.param([slow(0.7)], id="slower than the timeout"),
        pytest.param([foreign_page], id="a foreign answer"),
        pytest.param([status(201)], id="a foreign success"),
        pytest.param([store_and_cut, cut, status(503), slow(0.7), store_and_cut], id="one after the other"),
    ],
)
def test_each_request_is_counted_once(receiver: Receiver, client: httpx2.Client, faults: list[Behaviour]) -> None:
    receiver.misbehave(*faults)
    with running_asgi(track(receiver)) as url:
        for number in range(REQUESTS):
            assert client.get(f"{url}/v1/users/{number}").json() == {"id": number}
        receiver.wait(lambda it: len(it.events) == REQUESTS)
        receiver.wait(lambda it: not it.behaviours)
    assert receiver.dropped == 0


@pytest.mark.parametrize("code", [401, 403, 404, 405, 410, 301, 307])
def test_an_unwanted_key_or_address_drops_and_counts(receiver: Receiver, client: httpx2.Client, code: int) -> None:
    receiver.misbehave(status(code, Location="http://127.0.0.1:9/"))
    with running_asgi(track(receiver)) as url:
        assert client.get(url).status_code == 200
        receiver.wait(lambda it: it.requests == 1)
        requests = 1
        while not receiver.events:
            assert client.get(url).status_code == 200
            requests += 1
            assert requests < 10_000
        receiver.wait(lambda it: len(it.events) + it.dropped == requests)
    assert receiver.dropped >= 1


@pytest.mark.parametrize("code", [400, 409, 413, 422])
def test_a_refused_batch_is_halved(receiver: Receiver, client: httpx2.Client, code: int) -> None:
    receiver.misbehave(status(code))
    with running_asgi(track(receiver)) as url:
        for _ in range(REQUESTS):
            client.get(url)
        receiver.wait(lambda it: len(it.events) >= REQUESTS - 1)
        # A batch of one event is not halved: it is dropped, and a later batch tells of it.
        client.get(url)
        receiver.wait(lambda it: len(it.events) + it.dropped == REQUESTS + 1)
    assert len(receiver.batch_ids) == len(receiver.sizes)


def test_refused_items_are_counted_as_dropped(receiver: Receiver) -> None:
    receiver.refuse = lambda item: item["url_path"] in {"/3", "/4"}
    sender = Sender(settings_for(receiver.url))
    for number in range(10):
        sender.record(event(number))
    receiver.wait(lambda it: len(it.events) == 8)
    sender.record(event(10))
    receiver.wait(lambda it: len(it.events) == 9)
    assert receiver.dropped == 2


def test_a_dead_receiver_costs_bounded_memory_and_the_loss_is_exact() -> None:
    port = free_port()
    sender = Sender(settings_for(f"http://127.0.0.1:{port}"))
    for number in range(25_000):
        sender.record(event(number))
        assert sender.backlog.held <= 10_000
    assert sender.backlog.dropped == 15_000
    with running_receiver(port) as receiver:
        receiver.wait(lambda it: len(it.events) == 10_000)
        receiver.wait(lambda it: it.dropped == 15_000)


def test_a_receiver_that_is_killed_and_restarted(client: httpx2.Client) -> None:
    port = free_port()
    stored: set[str] = set()
    with running_receiver(port) as first:
        app = track(first)
        with running_asgi(app) as url:
            for _ in range(REQUESTS):
                client.get(url)
            first.wait(lambda it: len(it.events) > 0)
            first.stop()
            for _ in range(REQUESTS):
                assert client.get(url).status_code == 200
            with running_receiver(port) as second:
                second.events.update(first.events)  # what is stored survives a restart
                second.wait(lambda it: len(it.events) == 2 * REQUESTS)
                stored |= set(second.events)
    assert len(stored) == 2 * REQUESTS


def test_the_host_answers_while_the_receiver_hangs(receiver: Receiver, client: httpx2.Client) -> None:
    release = threading.Event()

    def hang(_handler: object) -> bool:
        release.wait(20)
        return False

    receiver.always = hang
    with running_asgi(track(receiver)) as url:
        for number in range(REQUESTS):
            assert client.get(f"{url}/v1/users/{number}").status_code == 200
        assert not receiver.events
        receiver.always = None
        release.set()
        receiver.wait(lambda it: len(it.events) == REQUESTS)


def test_many_events_travel_in_batches_of_the_receivers_size(receiver: Receiver) -> None:
    sender = Sender(settings_for(receiver.url))
    long = "/" + "x" * 2000
    for _ in range(9_000):
        sender.record(event()._replace(url_path=long))
    receiver.wait(lambda it: len(it.events) == 9_000)
    assert max(receiver.sizes) * 2000 < 4 * 1024 * 1024
    assert receiver.dropped == 0


def test_threads_that_record_at_once_lose_nothing(receiver: Receiver) -> None:
    sender = Sender(settings_for(receiver.url))

    def record() -> None:
        for number in range(1000):
            sender.record(event(number))

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    receiver.wait(lambda it: len(it.events) == 8000)
    assert receiver.dropped == 0


def test_one_line_for_each_change_and_never_the_key(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "device_statistics_track")
    receiver.misbehave(*[status(503)] * 5)
    sender = Sender(settings_for(receiver.url))
    sender.record(event())
    receiver.wait(lambda it: len(it.events) == 1)
    receiver.misbehave(*[status(401)] * 3)
    for _ in range(2000):
        # An event recorded while a 401 is on its way is dropped too. Only a stored one shows that the pause is over.
        sender.record(event())
        if len(receiver.events) > 1:
            break
        threading.Event().wait(0.01)
    assert not receiver.behaviours
    sender.flush()
    lines = [record.getMessage() for record in caplog.records if record.name == "device_statistics_track"]
    assert [line.split(": ", 1)[-1] for line in lines[:1]] == [f"{receiver.url}: status 503"]
    assert [record.levelname for record in caplog.records if record.name == "device_statistics_track"] == [
        "WARNING",
        "INFO",
        "ERROR",
        "INFO",
    ]
    assert KEY not in caplog.text
    assert KEY not in repr(settings_for(receiver.url))


def test_an_error_of_the_sender_itself_ends_neither_host_nor_reports(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = iter([ArithmeticError("a bug"), ArithmeticError("a bug")])
    post = Transport.post

    def broken_post(self: Transport, batch: Batch) -> backlog.Answer:
        for error in errors:
            raise error
        return post(self, batch)

    monkeypatch.setattr(Transport, "post", broken_post)
    sender = Sender(settings_for(receiver.url))
    sender.record(event())
    receiver.wait(lambda it: len(it.events) == 1)
    assert caplog.text.count("a bug") == 1
    assert KEY not in caplog.text


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_a_flush_ends_in_time_when_nobody_answers(receiver: Receiver, seconds: float) -> None:
    release = threading.Event()

    def hang(_handler: object) -> bool:
        release.wait(20)
        return False

    receiver.always = hang
    sender = Sender(settings_for(receiver.url))
    sender.record(event())
    sender.flush(seconds)
    assert not receiver.events
    release.set()
    receiver.wait(lambda it: len(it.events) == 1)


def test_a_flush_of_nothing_and_of_a_dead_receiver_returns(receiver: Receiver) -> None:
    Sender(settings_for(receiver.url)).flush(60)
    sender = Sender(settings_for(f"http://127.0.0.1:{free_port()}"))
    sender.record(event())
    sender.flush(60)
    assert sender.backlog.held == 1


class TestTransport:
    """One batch over a socket whose other end is written by the test."""

    @pytest.fixture
    def listener(self) -> Iterator[socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener

    def answer(self, listener: socket.socket, raw: bytes) -> backlog.Answer:
        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.settimeout(5)
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        post = Transport(settings_for(f"http://127.0.0.1:{listener.getsockname()[1]}")).post
        try:
            return post(Batch("id", (encode(event()),), 0))
        finally:
            listener.close()

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n[]",
            b"HTTP/1.1 200 OK\r\n\r\n\xff",
            b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
            b'HTTP/1.1 200 OK\r\n\r\n{"registered":0,"duplicate":0,"rejected":0}',
            b'HTTP/1.1 200 OK\r\n\r\n{"registered":-1,"duplicate":1,"rejected":1}',
            b'HTTP/1.1 200 OK\r\n\r\n{"registered":"1","duplicate":0,"rejected":0}',
        ],
        ids=[
            "nothing",
            "no http",
            "no status",
            "short",
            "no length",
            "no chunk",
            "long header",
            "list",
            "no text",
            "deep",
            "other count",
            "negative",
            "text",
        ],
    )
    def test_whatever_is_no_answer_is_repeated(self, listener: socket.socket, raw: bytes) -> None:
        assert self.answer(listener, raw).verdict is backlog.Verdict.RETRY

    def test_a_chunked_answer_is_read(self, listener: socket.socket) -> None:
        raw = b'2c\r\n{"registered":0,"duplicate":0,"rejected":1 }\r\n0\r\n\r\n'
        answer = self.answer(listener, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
        assert answer == backlog.Answer(backlog.Verdict.ACCEPTED, rejected=1)

    @pytest.mark.parametrize(
        ("value", "least", "most"),
        [
            (b"7", 7, 7),
            (b"Fri, 01 Jan 2100 00:00:00 GMT", 1e6, 1e10),
            (b"Fri, 01 Jan 2100 00:00:00", 1e6, 1e10),
            (b"Fri, 01 Jan 2010 00:00:00 GMT", 0, 0),
            (b"soon", 0, 0),
            (b"-5", 0, 0),
            (b"9" * 400, 1e6, 1e10),
        ],
        ids=["seconds", "date", "date without zone", "past", "word", "negative", "huge"],
    )
    def test_retry_after(self, listener: socket.socket, value: bytes, least: float, most: float) -> None:
        raw = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nRetry-After: " + value + b"\r\n\r\n"
        assert least <= self.answer(listener, raw).retry_after_seconds <= most


def test_batches_share_a_connection(receiver: Receiver) -> None:
    link = Transport(settings_for(receiver.url))
    for number in range(3):
        assert link.post(Batch(str(number), (encode(event()),), 0)).verdict is backlog.Verdict.ACCEPTED
    assert receiver.connections == 1


def test_a_kept_connection_that_has_ended_is_replaced_at_once(receiver: Receiver) -> None:
    link = Transport(settings_for(receiver.url))
    link.post(Batch("1", (encode(event()),), 0))
    receiver.misbehave(cut)
    assert link.post(Batch("2", (encode(event()),), 0)).verdict is backlog.Verdict.ACCEPTED
    assert transport.TIMEOUT_SECONDS < 1
