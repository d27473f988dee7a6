"""A receiver for each test, and middlewares that do not wait long before they repeat."""

from collections.abc import Iterator

import pytest

from device_statistics_track import backlog, transport
from tests.track.receiver import Receiver, running_receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every wait, so that faults and repeats take no seconds."""
    monkeypatch.setattr(backlog, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(backlog, "BACKOFF_SECONDS_MAX", 0.05)
    monkeypatch.setattr(backlog, "PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", 0.5)
