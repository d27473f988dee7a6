"""Notifications of a real database arrive, also after the connection was lost, and nothing is left after the end."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from psycopg2 import sql

from servicekit.database import listener
from servicekit.database.listener import Listener
from tests.database import rows
from tests.servers import MigratedDatabase

if TYPE_CHECKING:
    from tests.servers import Cluster

ARRIVES_SECONDS = 15.0
NOTIFY = "SELECT pg_notify('a channel', %(text)s)"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"


class Received:
    """A listener of one database, and what it was told."""

    def __init__(self, database: MigratedDatabase) -> None:
        self.database = database
        self.messages: queue.Queue[str] = queue.Queue()
        self.listener = Listener(database.admin_url, "a channel", self.messages.put)

    def sessions(self, number: int) -> list[int]:
        """The server's processes that listen, as soon as they are so many."""
        until = time.monotonic() + ARRIVES_SECONDS
        while len(found := rows(self.database, SESSIONS)) != number:
            assert time.monotonic() < until, found
            time.sleep(0.05)
        return [pid for (pid,) in found]

    def send(self, text: str) -> str:
        rows(self.database, NOTIFY, {"text": text})
        return self.messages.get(timeout=ARRIVES_SECONDS)


@pytest.fixture
def received(database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    monkeypatch.setattr(listener, "PAUSE_SECONDS", 0.1)
    one = Received(database)
    yield one
    one.listener.stop()
    one.sessions(0)


def test_a_notification_arrives_and_another_channels_does_not(received: Received) -> None:
    received.listener.start()
    received.sessions(1)
    rows(received.database, "SELECT pg_notify('another', 'no')")
    assert [received.send(text) for text in ("one", "two", "")] == ["one", "two", ""]
    assert received.messages.empty()


def test_a_lost_connection_is_made_again(received: Received, caplog: pytest.LogCaptureFixture) -> None:
    received.listener.start()
    for number in range(2):
        [pid] = received.sessions(1)
        assert received.send(f"before {number}") == f"before {number}"
        rows(received.database, "SELECT pg_terminate_backend(%(pid)s)", {"pid": pid})
        until = time.monotonic() + ARRIVES_SECONDS
        while received.sessions(1) == [pid]:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert received.send(f"after {number}") == f"after {number}"
    assert [each.levelname for each in caplog.records if "do not arrive" in each.message] == ["WARNING"] * 2


def test_it_waits_for_a_database_that_is_not_there_yet(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PAUSE_SECONDS", 0.1)
    name = f"test_{secrets.token_hex(6)}"
    later = Received(MigratedDatabase(cluster.admin_url(name)))
    later.listener.start()
    try:
        time.sleep(0.5)
        cluster.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        later.sessions(1)
        assert later.send("there") == "there"
    finally:
        later.listener.stop()
        cluster.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
