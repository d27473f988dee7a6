"""The services as child processes: what tests, benchmarks and the fault rig do to them by name."""

import os
import signal
import time
from pathlib import Path

import pytest

from local.database import base_environment
from local.ports import free_port
from local.services import ServiceError, registration_service
from tests.local.http_client import count, log_event
from tests.servers import Product, StartProduct


def processes_in_group(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def test_a_restarted_service_is_ready_and_has_lost_nothing(product: Product) -> None:
    before = count(product.public_url)
    log_event(product.public_url)

    product.private.restart()
    product.public.kill()
    assert product.public.pid is None
    product.public.start()
    product.public.wait_ready()

    log_event(product.public_url)
    assert count(product.public_url) == before + 2


def test_a_paused_service_keeps_its_callers_waiting_until_it_is_resumed(product: Product) -> None:
    product.public.pause()
    with pytest.raises(TimeoutError):
        count(product.public_url, seconds_max=0.5)

    product.public.resume()

    assert count(product.public_url) >= 0


def test_a_paused_service_can_be_stopped(product: Product) -> None:
    product.private.pause()
    begun = time.monotonic()

    product.private.stop()

    assert time.monotonic() - begun < 5
    assert product.private.exit_status != -signal.SIGKILL
    product.private.start()
    product.private.wait_ready()


def test_two_of_each_share_one_database(start_product: StartProduct) -> None:
    product = start_product(public_workers=2, publics=2, privates=2)
    for public in product.publics:
        log_event(public.url)

    assert [count(public.url) for public in product.publics] == [2, 2]
    assert [public.env["DEVICE_API_URL"] for public in product.publics] == [each.url for each in product.privates]


def test_a_killed_service_takes_its_workers_along(start_product: StartProduct) -> None:
    public = start_product(public_workers=2).public
    leader = public.pid
    assert leader is not None
    assert len(processes_in_group(leader)) >= 3

    public.kill()

    deadline = time.monotonic() + 5
    while processes_in_group(leader) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes_in_group(leader) == []


def test_a_service_that_does_not_become_ready_says_why(tmp_path: Path) -> None:
    nowhere = {"DB_HOST": "127.0.0.1", "DB_PORT": str(free_port()), "DB_NAME": "x", "DB_USER": "x", "DB_PASSWORD": "x"}
    token = "a-token-for-this-test"  # noqa: S105 - guards nothing
    service = registration_service(
        base_environment(), port=free_port(), database=nowhere, service_token=token, log=tmp_path / "log"
    )
    service.start()
    try:
        with pytest.raises(ServiceError, match=r"not ready within 8 seconds: .*database"):
            # Long enough for the process to start on a slow machine: only then does it say why.
            service.wait_ready(seconds_max=8)
    finally:
        service.stop()


def test_a_service_that_ends_at_once_says_its_last_words(tmp_path: Path) -> None:
    service = registration_service(
        base_environment(), port=free_port(), database={}, service_token="", log=tmp_path / "log"
    )
    service.start()

    with pytest.raises(ServiceError, match=r"ended with status 1, after '.+'"):
        service.wait_ready()
