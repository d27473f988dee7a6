"""The services as child processes: started, waited for, stopped, killed and paused by name."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from local.child_process import spawn

ROOT = Path(__file__).resolve().parent.parent
STATISTICS_API = "statistics-api"
REGISTRATION_API = "device-registration-api"

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 30.0  # a service takes up to 20 to finish what it has accepted
PROBE_SECONDS_MAX = 5.0
POLL_SECONDS = 0.02


class ServiceError(Exception):
    """A child process did not start or stop; the message is one sentence for its operator."""


class Process(Protocol):
    """What is asked of a process that has been started; `subprocess.Popen` is one."""

    @property
    def pid(self) -> int:
        """The process id."""

    def poll(self) -> int | None:
        """How it ended (negative: by that signal); None while it is alive."""

    def wait(self, timeout: float | None = None) -> int:
        """The same when it has ended. Raises subprocess.TimeoutExpired."""

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""


class Spawn(Protocol):
    """Starts a process; see local.child_process.spawn."""

    def __call__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: IO[bytes] | None
    ) -> Process:
        """Start `command` in a session of its own, with its output added to `output`."""


class Child:
    """A command that runs until it is stopped, with everything it starts itself."""

    def __init__(
        self,
        name: str,
        command: list[str],
        env: Mapping[str, str],
        *,
        cwd: Path = ROOT,
        log: Path | None = None,
    ) -> None:
        """Nothing happens before `start`. Output is added to `log`, or goes where this process writes to."""
        self.name = name
        self.env = dict(env)
        self.log = log
        self._command = command
        self._cwd = cwd
        self._spawn: Spawn = spawn
        self._process: Process | None = None
        self._exit_status: int | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it is alive, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_status(self) -> int | None:
        """How the last run ended (negative: by that signal); None while alive or before the first start."""
        return self._exit_status if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it, unless it is alive."""
        if self.pid is not None:
            return
        self.kill()  # workers of one that died would still hold its port
        if self.log is None:
            self._process = self._spawn(self._command, env=self.env, cwd=self._cwd, output=None)
        else:
            with self.log.open("ab") as output:
                self._process = self._spawn(self._command, env=self.env, cwd=self._cwd, output=output)

    def start_by(self, spawn: Spawn) -> None:
        """From the next start on, let this function start the process."""
        self._spawn = spawn

    def stop(self, seconds_max: float = STOP_SECONDS_MAX) -> None:
        """SIGTERM, then SIGKILL after `seconds_max`; return when it is gone. Harmless when not running."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            self._signal_group(signal.SIGCONT)  # one that is paused would not see it
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds_max)
        self.kill()

    def kill(self) -> None:
        """SIGKILL it and everything it started; return when it is gone."""
        if self._process is not None:
            self._signal_group(signal.SIGKILL)
            self._exit_status = self._process.wait()
            self._process = None  # another process may soon get its id

    def pause(self) -> None:
        """Send SIGSTOP: the process stays alive with open connections, and does not react."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> None:
        # A child leads a process group of its own, which exists until the last of its workers has ended.
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return


class Service(Child):
    """One of the two services, with the address it listens on."""

    def __init__(
        self,
        name: str,
        env: Mapping[str, str],
        *,
        port: int,
        host: str = "127.0.0.1",
        log: Path | None = None,
    ) -> None:
        """`env` is the whole environment, but for HOST and PORT."""
        super().__init__(
            name,
            [sys.executable, "main.py"],
            {**env, "HOST": host, "PORT": str(port)},
            cwd=ROOT / name,
            log=log,
        )
        self.host = host
        self.port = port
        self.url = f"http://{host}:{port}"

    def run_module(self, module: str) -> None:
        """From the next start on, run `python -m module` in place of the service's main.py."""
        self._command, self._cwd = [sys.executable, "-m", module], ROOT

    def wait_ready(self, seconds_max: float = READY_SECONDS_MAX) -> None:
        """Return when `/readyz` answers 200.

        Raises ServiceError when that takes longer or the process ends before, with the reason it gave.
        """
        deadline = time.monotonic() + seconds_max
        reason = "it was not started"
        while self.pid is not None:
            status, reason = self._probe()
            if status == http.HTTPStatus.OK:
                return
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} was not ready within {seconds_max:.0f} seconds: {reason}.")
            time.sleep(POLL_SECONDS)
        if self.exit_status is not None:
            reason = f"it ended with status {self.exit_status}{self._last_log_line()}"
        raise ServiceError(f"{self.name} is not ready: {reason}.")

    def restart(self) -> None:
        """Stop in order, start again, and wait until ready."""
        self.stop()
        self.start()
        self.wait_ready()

    def _probe(self) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PROBE_SECONDS_MAX)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            body = json.loads(response.read())
            return response.status, str(body.get("reason") or body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, f"/readyz does not answer ({error})"
        finally:
            connection.close()

    def _last_log_line(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log else []
        return f", after {lines[-1].strip()!r}" if lines else ""


def registration_service(
    env: Mapping[str, str],
    *,
    port: int,
    database: Mapping[str, str],
    service_token: str,
    log: Path | None = None,
) -> Service:
    """The private service. `database` holds the writer's DB_* variables; `env` what else it shall read."""
    own = {**database, "SERVICE_TOKEN": service_token}
    return Service(REGISTRATION_API, {"ENVIRONMENT": "development", **env, **own}, port=port, log=log)


def statistics_service(
    env: Mapping[str, str],
    *,
    port: int,
    database: Mapping[str, str],
    service_token: str,
    device_api_url: str,
    workers: int = 1,
    log: Path | None = None,
) -> Service:
    """The public service. `database` holds the reader's DB_* variables; `env` what else it shall read."""
    own = {
        **database,
        "SERVICE_TOKEN": service_token,
        "DEVICE_API_URL": device_api_url,
        "WORKERS": str(workers),
    }
    return Service(STATISTICS_API, {"ENVIRONMENT": "development", **env, **own}, port=port, log=log)
