"""A share of one core for some processes, as a smaller machine would have it. Needs root and the cpu controller."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PERIOD_MICROSECONDS = 30_000
# The kernel grants no less than this in a period.
_QUOTA_MICROSECONDS_MIN = 1_000
_CONTROLLERS = Path("/sys/fs/cgroup")


class NoCpuShare(Exception):
    """Processor time cannot be limited here; the message is one sentence for the user of the rig."""


@contextmanager
def cpu_share(pids: Collection[int], share: float) -> Iterator[None]:
    """Let processes, and what they start, use `share` of one core together; all of it again at the end.

    Raises NoCpuShare.
    """
    quota = round(share * PERIOD_MICROSECONDS)
    assert quota >= _QUOTA_MICROSECONDS_MIN, f"{share} of {PERIOD_MICROSECONDS} µs is less than the kernel grants"
    parent = _parent()
    group = parent / f"rig-{os.getpid()}"
    try:
        group.mkdir()
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        _move(pids, group)
    except OSError as error:
        _remove(group, parent)
        raise NoCpuShare(f"processor time cannot be limited here: {error}") from error
    try:
        yield
    finally:
        _remove(group, parent)


def _parent() -> Path:
    """Where a group may be made: version 1 of the controllers has a tree for each, version 2 one for all."""
    if (_CONTROLLERS / "cpu" / "cpu.cfs_quota_us").exists():
        return _CONTROLLERS / "cpu"
    with suppress(OSError):
        if "cpu" in (_CONTROLLERS / "cgroup.controllers").read_text().split():
            (_CONTROLLERS / "cgroup.subtree_control").write_text("+cpu")
            return _CONTROLLERS
    raise NoCpuShare("processor time cannot be limited here: that needs root and the cpu controller")


def _move(pids: Collection[int], group: Path) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(pid))


def _remove(group: Path, parent: Path) -> None:
    if group.exists():
        _move([int(pid) for pid in (group / "cgroup.procs").read_text().split()], parent)
        group.rmdir()
