"""Each process of a server reports its own requests, and sends what is left when it ends."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from local.ports import free_port
from tests.track.host_process import REQUESTS
from tests.track.receiver import KEY, Receiver


def run(url: str, children: int) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"DEVICE_STATISTICS_URL": url, "DEVICE_STATISTICS_API_KEY": KEY}
    command = [sys.executable, "-m", "tests.track.host_process", str(children)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("children", [0, 3])
def test_every_process_reports_its_requests_before_it_ends(receiver: Receiver, children: int) -> None:
    done = run(receiver.url, children)
    assert (done.returncode, done.stderr) == (0, "")
    reported = Counter(event["consumer"] for event in receiver.events.values())
    assert reported == {"parent": 2 * REQUESTS} | {f"child-{number}": REQUESTS for number in range(children)}
    assert (receiver.duplicates, receiver.dropped) == (0, 0)


def test_a_process_ends_when_the_receiver_is_dead() -> None:
    done = run(f"http://127.0.0.1:{free_port()}", 1)
    assert done.returncode == 0
    assert KEY not in done.stdout + done.stderr
