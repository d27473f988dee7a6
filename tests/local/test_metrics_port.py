"""`make run` gives each service a port of its own for its metrics, and a port that is taken is named."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from local.database import base_environment
from local.ports import free_port
from local.services import ServiceError, registration_service
from local.settings import Settings


def test_the_private_service_has_the_next_port() -> None:
    assert Settings(metrics_port=9464).of_the_private_service() == {"METRICS_PORT": "9465"}
    assert Settings().of_the_private_service() == {}


def test_a_service_whose_port_for_metrics_is_taken_ends_with_a_sentence(tmp_path: Path) -> None:
    database = {"DB_HOST": "127.0.0.1", "DB_NAME": "x", "DB_USER": "x", "DB_PASSWORD": "x"}
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        service = registration_service(
            base_environment() | {"METRICS_PORT": port},
            port=free_port(),
            database=database,
            service_token="a-token-for-this-test",  # noqa: S106 - guards nothing
            log=tmp_path / "log",
        )
        service.start()
        sentence = f"ended with status 1, after 'METRICS_PORT {port} cannot be listened on"
        with pytest.raises(ServiceError, match=sentence):
            service.wait_ready()
    service.stop()
