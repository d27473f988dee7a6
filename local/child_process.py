"""Starts child processes that do not outlive this one."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

# The kernel's "tell the child when its parent dies" means the parent *thread*: children are therefore
# started by one thread that lives as long as this process, whichever thread asks.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: IO[bytes] | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, so that a terminal's Ctrl-C reaches only its starter.

    Should this process die, however it dies, the kernel sends the child `death_signal`. Output goes to
    `output`, or where this process writes to.
    """
    argv = [*_parent_death_signal(death_signal), *command]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - an argument list of our own, no shell
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,
        )

    return _SPAWNER.submit(start).result()


def _parent_death_signal(death_signal: signal.Signals) -> list[str]:
    # setpriv (util-linux, always there on Debian) sets the signal and becomes the command. Python's
    # preexec_fn could do it too, but is not safe beside threads. Without setpriv, only an orderly end works.
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None:
        return []
    return [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--"]
