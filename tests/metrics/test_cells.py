"""The numbers of processes in shared memory: exact however a process ends, and read while it counts."""

import os
import signal
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servicekit.metrics import cells as module
from servicekit.metrics.cells import UNKNOWN, Cells
from servicekit.metrics.families import counter, gauge, histogram
from servicekit.metrics.http import SECONDS, SERVER_DURATION, RequestDurations
from servicekit.metrics.shared import SharedCells

DONE = counter("done_total", "What was done.", "what")
WAITING = gauge("waiting", "What waits.")
SIZES = histogram("sizes", "How large.", bounds=(1, 10))
# Of a fork, as long as it lives.
KEPT: list[Cells] = []


def in_a_process(work: Callable[[], None]) -> int:
    """The id of a fork that has done the work and goes on."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        work()
        os.write(writing, b".")
        time.sleep(60)
        os._exit(1)
    assert os.read(reading, 1) == b"."
    os.close(reading)
    os.close(writing)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def count(folder: Path, amount: int) -> Callable[[], None]:
    def work() -> None:
        cells = Cells(folder)
        KEPT.append(cells)
        cells.counter(DONE, "work").add(amount)
        cells.gauge(WAITING).set(amount)
        cells.histogram(SIZES).observe(amount)

    return work


def test_the_counts_of_processes_add_up_and_those_of_killed_ones_stay_exact(tmp_path: Path) -> None:
    shared = SharedCells(tmp_path)
    alive, killed = in_a_process(count(tmp_path, 3)), in_a_process(count(tmp_path, 40))
    try:
        assert shared.read() == {DONE: {("work",): [43]}, WAITING: {(): [43]}, SIZES: {(): [0, 1, 1, 43]}}
        kill(killed)
        for _ in range(2):
            assert shared.read() == {DONE: {("work",): [43]}, WAITING: {(): [3]}, SIZES: {(): [0, 1, 1, 43]}}
        assert sorted(each.name for each in tmp_path.iterdir()) == [f"{alive}.index", f"{alive}.numbers"]
        successor = in_a_process(count(tmp_path, 100))
        assert shared.read()[DONE] == {("work",): [143]}
        kill(successor)
    finally:
        kill(alive)


def test_a_process_that_was_never_read_counts_after_its_end(tmp_path: Path) -> None:
    kill(in_a_process(count(tmp_path, 7)))
    assert SharedCells(tmp_path).read() == {DONE: {("work",): [7]}, SIZES: {(): [0, 1, 0, 7]}}


def test_a_series_is_seen_although_it_is_made_after_the_first_reading(tmp_path: Path) -> None:
    cells, shared = Cells(tmp_path), SharedCells(tmp_path)
    assert shared.read() == {}
    cells.counter(DONE, "first").add()
    assert shared.read() == {DONE: {("first",): [1]}}
    cells.counter(DONE, 'second "\n').add(2)
    cells.counter(DONE, "first").add(2)
    assert shared.read() == {DONE: {("first",): [3], ('second "\n',): [2]}}


def test_a_line_that_has_no_end_yet_is_not_read(tmp_path: Path) -> None:
    cells, shared = Cells(tmp_path), SharedCells(tmp_path)
    cells.counter(DONE, "first").add()
    index = tmp_path / f"{os.getpid()}.index"
    with index.open("a") as half:
        half.write('{"family": {"name": "ot')
    assert shared.read() == {DONE: {("first",): [1]}}


def test_a_gauge_that_is_not_known_is_not_shown(tmp_path: Path) -> None:
    cells, shared = Cells(tmp_path), SharedCells(tmp_path)
    waiting = cells.gauge(WAITING)
    assert shared.read() == {}
    waiting.set(0)
    assert shared.read() == {WAITING: {(): [0]}}
    waiting.set(UNKNOWN)
    assert shared.read() == {}


def test_without_a_folder_it_counts_for_nobody() -> None:
    cells = Cells(None)
    cells.counter(DONE, "work").add()
    assert not cells.are_shared


def test_series_that_find_no_place_are_not_shown_and_harm_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "NUMBERS_MAX", 76)
    cells, shared = Cells(tmp_path), SharedCells(tmp_path)
    cells.counter(DONE, "first").add()
    for number in range(20):
        cells.histogram(histogram(f"sizes_{number}", "", bounds=(1, 10))).observe(5)
    cells.counter(DONE, "first").add()
    found = shared.read()
    assert found[DONE] == {("first",): [2]}
    assert all(numbers == [0, 1, 0, 5] for family, each in found.items() if family != DONE for numbers in each.values())
    assert 1 < len(found) < 21
    assert caplog.text.count("there is no place for another metric") == 1


def test_a_client_makes_no_series_with_methods_of_its_own(tmp_path: Path) -> None:
    durations = RequestDurations(Cells(tmp_path), SERVER_DURATION)
    for number in range(100):
        durations.observe(f"BREW{number}", "/pot", 405, [0.1])
    durations.observe("GET", "/pot", 200, [0.1])
    found = SharedCells(tmp_path).read()[SERVER_DURATION]
    assert {labels: sum(numbers[:-1]) for labels, numbers in found.items()} == {
        ("_OTHER", "/pot", "405"): 100,
        ("GET", "/pot", "200"): 1,
    }


def test_a_request_without_an_answer_has_no_status(tmp_path: Path) -> None:
    RequestDurations(Cells(tmp_path), SERVER_DURATION).observe("GET", "", 0, [1])
    assert list(SharedCells(tmp_path).read()[SERVER_DURATION]) == [("GET", "", "")]


@settings(max_examples=50)
@given(st.lists(st.one_of(st.floats(0, 20), st.sampled_from(SECONDS))), st.integers(0, 10))
def test_a_bucket_counts_the_values_up_to_its_bound(values: list[float], together: int) -> None:
    cells = Cells(None)
    series = cells.histogram(SERVER_DURATION, "GET", "/", "200")
    series.observe_all(values[:together])
    for each in values[together:]:
        series.observe(each)
    *buckets, total = series.numbers[series.at : series.at + SERVER_DURATION.width]
    expected = [sum(value <= bound for value in values) for bound in (*SECONDS, float("inf"))]
    assert list(accumulate(buckets)) == expected
    assert total == pytest.approx(sum(values))
