"""The port that answers scrapes, and the folder behind it."""

import os
import signal
import time
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from local.ports import free_port
from servicekit.metrics import exposition
from servicekit.metrics.cells import Cells
from servicekit.metrics.exposition import served_metrics
from servicekit.metrics.families import counter, gauge, histogram

DONE = counter("done_total", "What was done.", "what")
WAITING = gauge("waiting", "What waits.")
SIZES = histogram("sizes_bytes", "How large.", bounds=(0.5, 10))


@pytest.fixture(autouse=True)
def _folders_are_made_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "_IN_MEMORY", tmp_path)


def get(port: int, **headers: str) -> httpx2.Response:
    return httpx2.get(f"http://127.0.0.1:{port}/metrics", headers=headers, trust_env=False)


def test_every_sort_of_metric_is_shown_with_its_type_its_help_and_its_labels() -> None:
    port = free_port()
    with served_metrics("127.0.0.1", port) as folder:
        cells = Cells(folder)
        cells.counter(DONE, 'a "b"').add(2)
        cells.gauge(WAITING).set(3)
        for size in (0.5, 2, 20):
            cells.histogram(SIZES).observe(size)
        answer = get(port)
        families = {each.name: each for each in text_string_to_metric_families(answer.text)}
        assert {name: (each.type, each.documentation) for name, each in families.items()} == {
            "done": ("counter", "What was done."),
            "waiting": ("gauge", "What waits."),
            "sizes_bytes": ("histogram", "How large."),
        }
        found = {
            (each.name, *each.labels.values()): each.value for family in families.values() for each in family.samples
        }
        assert found == {
            ("done_total", 'a "b"'): 2,
            ("waiting",): 3,
            ("sizes_bytes_bucket", "0.5"): 1,
            ("sizes_bytes_bucket", "10.0"): 2,
            ("sizes_bytes_bucket", "+Inf"): 3,
            ("sizes_bytes_count",): 3,
            ("sizes_bytes_sum",): 22.5,
        }
        # As a scraper that knows OpenMetrics asks.
        assert get(port, accept="application/openmetrics-text; version=1.0.0").text.endswith("# EOF\n")


def test_nothing_is_left_of_it_when_the_service_ends(tmp_path: Path) -> None:
    port = free_port()
    with served_metrics("127.0.0.1", port) as folder:
        Cells(folder).counter(DONE, "a").add()
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(httpx2.ConnectError):
        get(port)


def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    port = free_port()
    taken = pytest.raises(OSError, match="Address already in use")
    with served_metrics("127.0.0.1", port), taken, served_metrics("127.0.0.1", port):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_service_has_left_is_removed_by_the_next_start_and_nothing_else(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with served_metrics("127.0.0.1", free_port()) as folder:
            Cells(folder).counter(DONE, "a").add()
            os.write(writing, b".")
            time.sleep(60)
        os._exit(1)
    assert os.read(reading, 1) == b"."
    [left] = tmp_path.iterdir()
    with served_metrics("127.0.0.1", free_port()) as first:
        assert {*tmp_path.iterdir()} == {left, first}
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with served_metrics("127.0.0.1", free_port()) as second:
            assert {*tmp_path.iterdir()} == {first, second}
