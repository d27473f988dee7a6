"""A run whose database lives on a small tmpfs: `python -m tests.faults.full_disk FOLDER SEED KIND FAULT…`.

To be started in a mount namespace of its own (`unshare -m` as root, `unshare -Urm` as anybody): the mount is seen by
nobody else, and gone with the process. Exits with 0 when proven, 1 with the complaints, CANNOT_MOUNT when refused.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from random import Random

import psycopg2

from local.services import ROOT
from tests.faults.event_kinds import EventKind, kind_named
from tests.faults.experiment import Fault, plan, run
from tests.faults.proven import assert_proven
from tests.faults.stack import DATABASE, Stack, running_stack
from tests.kinds.served_kinds import WITH_SAMPLE

CANNOT_MOUNT = 77
NAMESPACES = {"as root": ["-m"], "as an ordinary user": ["-U", "-r", "-m"]}
DISK_BYTES = 160 * 1024 * 1024
_WAL_SETTINGS = {"max_wal_size": "64MB", "min_wal_size": "32MB"}
_SMALLEST_BYTES = 4096


@asynccontextmanager
async def _full(stack: Stack, _: Random, *, log: bool) -> AsyncIterator[None]:
    """No byte is left. `log`: the write-ahead log needs a new segment, too, and without one the server gives up."""
    ballast = stack.own_postgres.folder / "ballast"
    _fill(ballast)
    if log:
        await asyncio.to_thread(_use_up_the_log, stack)
    try:
        yield
    finally:
        ballast.unlink()
        await stack.start(DATABASE)  # an operator who has made room; harmless when it is still alive


def _fill(ballast: Path) -> None:
    size, chunk = 0, DISK_BYTES
    with ballast.open("wb") as file:
        while chunk >= _SMALLEST_BYTES:
            try:
                os.posix_fallocate(file.fileno(), size, chunk)
            except OSError:
                chunk //= 2
            else:
                size += chunk


def _use_up_the_log(stack: Stack) -> None:
    with (
        suppress(psycopg2.Error),  # the server ends itself rather than lose what it cannot log
        closing(psycopg2.connect(stack.admin_url)) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        for _ in range(100):
            cursor.execute("SELECT pg_logical_emit_message(true, 'rig', 'x'), pg_switch_wal()")


FULL_DISK_FAULTS = (
    Fault("full disk", 2.5, partial(_full, log=False), frozenset({DATABASE})),
    Fault("full disk, and no room for the log", 2.5, partial(_full, log=True), frozenset({DATABASE})),
)


def prove_in_namespace(who: str, folder: Path, seed: int, kind: EventKind, names: Collection[str]) -> tuple[int, str]:
    """Run `prove` in a child process that may mount; its exit status and what it said. `who` is of NAMESPACES."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return CANNOT_MOUNT, "unshare (util-linux) is not there"
    command = [unshare, *NAMESPACES[who], sys.executable, "-m", "tests.faults.full_disk"]
    arguments = [str(folder), str(seed), kind.name, *names]
    finished = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    said = finished.stdout + finished.stderr
    return (CANNOT_MOUNT if "unshare failed" in finished.stderr else finished.returncode), said


def mount(disk: Path) -> None:
    """Put a small tmpfs on a new folder, or exit with CANNOT_MOUNT and the reason."""
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        print(mounted.stderr.strip())
        sys.exit(CANNOT_MOUNT)


async def prove(folder: Path, disk: Path, seed: int, kind: EventKind, names: Collection[str]) -> None:
    """Those named, each once. Raises AssertionError with the complaints."""
    async with running_stack(
        folder, postgres_settings=_WAL_SETTINGS, postgres_folder=disk / "postgres", programs=WITH_SAMPLE
    ) as stack:
        for fault in (each for each in FULL_DISK_FAULTS if each.name in names):
            finished = await run(stack, plan(fault, seed), seed, kind)
            assert_proven(finished, folder)
            assert finished.verdict is not None
            assert finished.verdict.troubled, f"{fault.name}: nobody noticed"


if __name__ == "__main__":
    _folder, _seed, _kind, *_names = sys.argv[1:]
    _disk = Path(_folder, "disk")
    mount(_disk)
    asyncio.run(prove(Path(_folder), _disk, int(_seed), kind_named(_kind), _names))
