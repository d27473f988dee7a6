"""Starts services as forks of a process that has imported their program already and has done nothing else.

Most of the processor time of a start is imports, which are the same every time. What runs is still the delivered
program in a process of its own, with its own environment, session and exit status. Each service has a preparation of
its own, so that none finds a module loaded that it has not imported itself.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from signal import SIGTERM
from typing import IO, Any

from local.child_process import spawn
from local.database import base_environment
from local.services import REGISTRATION_API, ROOT, STATISTICS_API, Process

SMALL = "small"
# What a service imports before it listens.
_PROGRAMS = {
    SMALL: ("servicekit.service.applications", "servicekit.service.health"),  # tests/servicekit/small_service.py
    STATISTICS_API: ("statistics_api.serving", "statistics_api.app"),
    REGISTRATION_API: ("device_registration_api.serving", "device_registration_api.app"),
}
_SERVER = ("servicekit.service.server", "uvicorn.lifespan.on", "uvloop")
# What the interpreter and the dynamic linker read themselves, before any import: such a service needs a real start.
_READ_AT_START = ("COVERAGE_", "LD_", "MALLOC_", "PYTHON")
_MESSAGE_BYTES_MAX = 100_000
_POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1


class Preparation:
    """A process that has imported the program of one service. Used by several threads."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: IO[bytes] | None) -> Process:
        """Start `python main.py` or `python -m MODULE` of the service, as `local.child_process.spawn` would."""
        # multiprocessing, which starts workers, has noted the folder of the preparation when it was imported.
        has_workers = env.get("WORKERS", "1") != "1"
        if output is None or has_workers or any(name.startswith(_READ_AT_START) for name in env):
            return spawn(command, env=env, cwd=cwd, output=output)
        request = {"arguments": list(command[1:]), "env": dict(env), "cwd": str(cwd)}
        return _Forked(self, self.ask(request, output.fileno()))

    def ask(self, request: Mapping[str, Any], *descriptors: int) -> Any:  # noqa: ANN401 - a process id, or a status
        """The answer to one message; the process is started before the first."""
        with self._lock:
            connection = self._socket or self._start()
            socket.send_fds(connection, [json.dumps(request).encode()], descriptors)
            return json.loads(connection.recv(_MESSAGE_BYTES_MAX))

    def close(self) -> None:
        """End it; whatever it has started and nobody has stopped gets SIGTERM."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.wait()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with closing(theirs):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.prepared_process", self._service, str(theirs.fileno())],
                env=base_environment(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours
        return ours


class _Forked:
    """What `subprocess.Popen` is to other children: the parent of this one is asked."""

    def __init__(self, parent: Preparation, pid: int) -> None:
        self.pid = pid
        self._parent = parent
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status (negative: by that signal), or None while it is alive."""
        if self._status is None:
            self._status = self._parent.ask({"wait": self.pid})
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """The same when it has ended. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if timeout is not None and deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a prepared process", timeout)
            time.sleep(_POLL_SECONDS)
        return status

    def terminate(self) -> None:
        """SIGTERM, unless its end is known."""
        if self.poll() is None:
            os.kill(self.pid, SIGTERM)


def _next_program(connection: socket.socket) -> Mapping[str, Any] | None:
    """Answer until the tests end (None), or, in a fork, return what it shall run."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES_MAX, 1)
        if not message:
            return None
        request: dict[str, Any] = json.loads(message)
        if "wait" in request:
            pid, status = os.waitpid(request["wait"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif answer := _fork():
            os.close(descriptors[0])
        else:
            connection.close()
            os.dup2(descriptors[0], 1)
            os.dup2(descriptors[0], 2)
            os.close(descriptors[0])
            return request
        connection.send(json.dumps(answer).encode())


def _fork() -> int:
    """As os.fork; the child leads a session of its own before its parent goes on, and so before anyone signals it."""
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, SIGTERM)
        if os.getppid() != parent:  # it has ended before the line above
            sys.exit(1)
    os.close(writing)
    if pid:
        os.read(reading, 1)  # the end of the pipe
    os.close(reading)
    return pid


def _become(program: Mapping[str, Any]) -> None:
    """Be as a new interpreter with this command, this environment and this folder, and run it."""
    os.environ.clear()
    os.environ.update(program["env"])
    time.tzset()
    os.chdir(program["cwd"])
    sys.path[0] = program["cwd"]
    match program["arguments"]:
        case ["-m", module]:
            sys.argv = [module]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [script]:
            sys.argv = [script]
            runpy.run_path(script, run_name="__main__")


def main() -> None:
    """Import the program of a service, and start it as often as the tests ask for it."""
    service, descriptor = sys.argv[1:]
    for module in (*_SERVER, *_PROGRAMS[service]):
        importlib.import_module(module)
    # Each start collects what is no longer used; in a fork that would visit, and so copy, all that was imported.
    gc.collect()
    gc.freeze()
    program = _next_program(socket.socket(fileno=int(descriptor)))
    if program is not None:
        _become(program)


if __name__ == "__main__":
    main()
