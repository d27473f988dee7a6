"""Fixtures that start `make run` with settings in its environment."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from local.database import base_environment
from local.ports import free_port
from local.services import ROOT
from tests.local.launcher import START_SECONDS_MAX, Launch, StartLauncher


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[StartLauncher]:
    """A function that starts `python -m local.run`; what it started is stopped after the test."""
    launches: list[Launch] = []

    def start(
        data: Path | None = None,
        *,
        again: Launch | None = None,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Launch:
        public_port = again.public_port if again else free_port()
        private_port = again.private_port if again else free_port()
        data = again.data if again else data or tmp_path / "data"
        printed_to = tmp_path / f"printed-{len(launches)}"
        settings = {
            "STATISTICS_PORT": str(public_port),
            "REGISTRATION_PORT": str(private_port),
            "DATA_DIR": str(data),
        }
        with printed_to.open("wb") as output:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "local.run"],
                cwd=ROOT,
                env=base_environment() | settings | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        launches.append(Launch(process, printed_to, data, public_port, private_port))
        return launches[-1]

    yield start
    for each in launches:
        if each.process.poll() is None:
            each.end()
    for each in launches:
        each.wait_gone()


@pytest.fixture
def refused(launch: StartLauncher) -> Callable[..., str]:
    """A function that starts the launcher where it must refuse; returns the one sentence that it printed."""

    def start(*arguments: object, **settings: object) -> str:
        run = launch(*arguments, **settings)
        assert run.process.wait(START_SECONDS_MAX) not in (0, -signal.SIGKILL)
        sentence = run.printed.strip()
        assert sentence.count("\n") == 0, sentence
        assert "Traceback" not in sentence
        return sentence

    return start
